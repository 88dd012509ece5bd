//! Memory that an operation needs for itself, kept for the next one on the same thread: fresh memory costs a page fault
//! for every 4 KiB.

use std::cell::RefCell;

thread_local! {
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Lends `f` numbers that may hold anything.
pub(super) fn with_scratch<R>(length: usize, f: impl FnOnce(&mut [f32]) -> R) -> R {
    // Taken out, so that a call inside `f` finds an empty one instead of a borrowed one.
    let mut scratch = SCRATCH.take();
    if scratch.len() < length {
        // Not grown in place: that would copy what nobody wants.
        scratch = vec![0.0; length];
    }
    let result = f(&mut scratch[..length]);
    SCRATCH.set(scratch);
    result
}
