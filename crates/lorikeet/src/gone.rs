//! Words for the end that a mapped file makes of a program that reads bytes which are no longer there.

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

const WORDS: &str = "A file that is being read, most likely the base, was cut short or its drive went away, so the program ends here. \
    What was saved is kept: put the file back, and resume the run.\n";

/// Has the program say so before it ends.
pub(crate) fn tell() {
    // Once: the instruction that failed runs again, and then ends the program as it would have.
    let action = SigAction::new(SigHandler::Handler(say), SaFlags::SA_RESETHAND, SigSet::empty());
    // SAFETY: the handler calls nothing but `write`.
    #[allow(unsafe_code, reason = "a handler may run between any two instructions")]
    let set = unsafe { sigaction(Signal::SIGBUS, &action) };
    // Without it the program ends all the same, without words.
    set.ok();
}

extern "C" fn say(_: libc::c_int) {
    // SAFETY: the words are there as long as the program.
    #[allow(unsafe_code, reason = "the one call that a handler may make")]
    unsafe {
        libc::write(libc::STDERR_FILENO, WORDS.as_ptr().cast(), WORDS.len());
    }
}
