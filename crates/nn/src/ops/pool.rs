//! Memory of large tensors on the CPU, kept for the next one of the same size: the same sizes come back step after step, and
//! fresh memory costs a page fault for every 4 KiB, which is more than many operations take.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Bytes, DType, Shape, TensorData};
use cubecl_environment::bytes::{AccessError, AccessPolicy, AllocationController, AllocationProperty};

/// Smaller ones are reused by the allocators of all systems.
const SMALLEST: usize = 1 << 18;
/// Numbers that are kept at most, in buffers that nothing uses: 512 MiB.
const MOST: usize = 1 << 27;

/// The oldest first.
static KEPT: Mutex<VecDeque<Vec<f32>>> = Mutex::new(VecDeque::new());

/// Numbers that may be anything, to be written before they are read.
pub(super) fn take(length: usize) -> Vec<f32> {
    let kept = if length < SMALLEST {
        None
    } else {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = kept.iter().rposition(|buffer| buffer.len() == length);
        newest.and_then(|at| kept.remove(at))
    };
    let mut numbers = kept.unwrap_or_else(|| vec![0.0; length]);
    // So that tests see a number that was never written.
    if cfg!(debug_assertions) {
        numbers.fill(f32::NAN);
    }
    numbers
}

/// A tensor of these numbers, whose memory comes back here once nothing uses it.
pub(super) fn tensor(numbers: Vec<f32>, shape: Shape) -> FloatTensor<Flex> {
    let data = if numbers.len() < SMALLEST {
        TensorData::new(numbers, shape)
    } else {
        let length = size_of_val(&numbers[..]);
        // SAFETY: the buffer has so many bytes, all of them set.
        #[allow(unsafe_code, reason = "the way to hand over memory that is to come back")]
        let bytes = unsafe { Bytes::from_controller(Box::new(Lent(numbers)), length) };
        TensorData::from_bytes(bytes, shape, DType::F32)
    };
    Flex::float_from_data(data, &Default::default())
}

/// Gives back to the system what is kept.
pub(crate) fn clear() {
    let kept = std::mem::take(&mut *KEPT.lock().unwrap_or_else(PoisonError::into_inner));
    drop(kept);
}

struct Lent(Vec<f32>);

impl Drop for Lent {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push_back(std::mem::take(&mut self.0));
        let mut sum: usize = kept.iter().map(Vec::len).sum();
        let mut oldest = Vec::new();
        while sum > MOST
            && let Some(buffer) = kept.pop_front()
        {
            sum -= buffer.len();
            oldest.push(buffer);
        }
        // Without the lock: giving memory back takes a while.
        drop(kept);
        drop(oldest);
    }
}

impl AllocationController for Lent {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    #[allow(unsafe_code, reason = "the trait speaks of bytes")]
    unsafe fn memory_mut(&mut self, _: AccessPolicy) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let length = size_of_val(&self.0[..]);
        // SAFETY: the same memory, borrowed alone; the trait has its caller write nothing but numbers.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), length) })
    }

    #[allow(unsafe_code, reason = "the trait speaks of bytes")]
    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        // SAFETY: the same memory, borrowed.
        Ok(unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast(), size_of_val(&self.0[..])) })
    }

    fn capacity(&self) -> usize {
        size_of_val(&self.0[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back() {
        // A length that no other test has.
        let length = SMALLEST + 4321;
        let place = |t: &FloatTensor<Flex>| t.as_slice::<f32>().map(<[f32]>::as_ptr);
        let first = tensor(vec![1.0; length], [length].into());
        let at = place(&first);
        let second = tensor(take(length), [length].into());
        assert_ne!(place(&second), at, "used by two tensors at once");
        // Operations in place work on it, and a clone keeps it.
        let kept = first.clone();
        drop(first);
        let doubled = Flex::float_mul_scalar(kept, 2.0.into());
        assert_eq!(doubled.as_slice::<f32>().map(|values| values[length - 1]), Some(2.0));
        drop((second, doubled));
        let third = tensor(take(length), [length].into());
        let fourth = tensor(take(length), [length].into());
        assert!([place(&third), place(&fourth)].contains(&at), "made anew");
    }

    #[test]
    fn what_is_kept_has_a_limit() {
        for _ in 0..4 {
            drop(tensor(vec![0.0; MOST / 2 - 1], [MOST / 2 - 1].into()));
        }
        let sum = || KEPT.lock().unwrap().iter().map(Vec::len).sum::<usize>();
        assert!(sum() <= MOST);
        // More than all that may be kept is not kept at all.
        drop(tensor(vec![0.0; MOST + 1], [MOST + 1].into()));
        assert!(sum() <= MOST);
    }
}
