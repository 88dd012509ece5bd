//! The card's memory: that of this process, with its borders watched.

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{LazyLock, PoisonError, RwLock};

use half::f16;

use crate::kernel::{Address, Space};

static TAKEN: LazyLock<RwLock<BTreeMap<u64, usize>>> = LazyLock::new(RwLock::default);

/// What memory holds that nobody wrote: no number in any format of floats.
pub(crate) const UNWRITTEN: u8 = 0xFF;

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes.max(1), 256).ok()
}

/// Memory of its own; [`None`] when there is none. `filled`: with [`UNWRITTEN`], for what kernels read.
pub(crate) fn take(bytes: usize, filled: bool) -> Option<u64> {
    let layout = layout(bytes)?;
    // SAFETY: the size is not 0.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        return None;
    }
    if filled {
        // SAFETY: just allocated with this size.
        unsafe { start.write_bytes(UNWRITTEN, layout.size()) };
    }
    TAKEN.write().unwrap_or_else(PoisonError::into_inner).insert(start as u64, bytes);
    Some(start as u64)
}

/// Gives back what [`take`] gave; `false` for any other address.
pub(crate) fn free(start: u64) -> bool {
    let Some(bytes) = TAKEN.write().unwrap_or_else(PoisonError::into_inner).remove(&start) else { return false };
    let Some(layout) = layout(bytes) else { return false };
    // SAFETY: `take` allocated it with this layout, and it is no longer in the table.
    unsafe { dealloc(start as *mut u8, layout) };
    true
}

/// What may be read and written during a launch.
#[derive(Debug, Clone)]
pub(crate) struct Borders(Vec<(u64, u64)>);

impl Borders {
    pub(crate) fn now() -> Borders {
        let taken = TAKEN.read().unwrap_or_else(PoisonError::into_inner);
        Borders(taken.iter().map(|(start, bytes)| (*start, start + *bytes as u64)).collect())
    }

    /// Whether all of it is inside of one piece of memory. `last` is the piece found last.
    pub(crate) fn hold(&self, address: u64, bytes: usize, last: &mut (u64, u64)) -> bool {
        let end = address.wrapping_add(bytes as u64);
        if address >= last.0 && end <= last.1 {
            return true;
        }
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let Some(piece) = after.checked_sub(1).map(|before| self.0[before]) else { return false };
        *last = piece;
        address >= piece.0 && end <= piece.1 && end >= address
    }
}

/// What a thread can reach.
pub(crate) struct Memory<'a> {
    pub(crate) borders: &'a Borders,
    /// The piece of memory that was found last.
    pub(crate) last: (u64, u64),
    pub(crate) shared: u64,
    pub(crate) shared_bytes: usize,
    pub(crate) parameters: u64,
    pub(crate) parameter_bytes: usize,
}

impl Memory<'_> {
    /// Where an address is in this process; `base` is what its register holds.
    ///
    /// # Errors
    /// It is beyond what was taken, or not aligned.
    pub(crate) fn place(&mut self, at: &Address, base: u64, bytes: usize) -> Result<u64, String> {
        let mut address = base.wrapping_add_signed(at.offset);
        if at.space == Space::Shared && !at.long {
            address = address.wrapping_add(self.shared);
        }
        let inside = |start: u64, length: usize| address >= start && address + bytes as u64 <= start + length as u64;
        let held = match at.space {
            Space::Parameter => inside(self.parameters, self.parameter_bytes),
            Space::Shared => inside(self.shared, self.shared_bytes),
            // A generic address may be one of shared memory.
            Space::Global => {
                self.borders.hold(address, bytes, &mut self.last)
                    || inside(self.shared, self.shared_bytes)
                    || inside(self.parameters, self.parameter_bytes)
            }
        };
        if !held {
            return Err(format!("{bytes} bytes at {address:#x} are not of its memory"));
        }
        let aligned = bytes.next_power_of_two().min(16) as u64;
        if !address.is_multiple_of(aligned) {
            return Err(format!("{bytes} bytes at {address:#x} are not aligned"));
        }
        Ok(address)
    }
}

// SAFETY of the four below: `Memory::place` gave the address, so it is inside of memory that lives as long as the launch, and aligned.
// Threads of different blocks that write the same place race on a card too.

pub(crate) fn read(address: u64, bytes: usize) -> u32 {
    unsafe {
        match bytes {
            1 => u32::from((address as *const u8).read()),
            2 => u32::from((address as *const u16).read()),
            _ => (address as *const u32).read(),
        }
    }
}

pub(crate) fn read_long(address: u64) -> u64 {
    unsafe { (address as *const u64).read() }
}

pub(crate) fn write_long(address: u64, value: u64) {
    unsafe { (address as *mut u64).write(value) }
}

pub(crate) fn write(address: u64, bytes: usize, value: u32) {
    unsafe {
        match bytes {
            1 => (address as *mut u8).write(value as u8),
            2 => (address as *mut u16).write(value as u16),
            _ => (address as *mut u32).write(value),
        }
    }
}

/// Returns what was there.
pub(crate) fn atomic_add(address: u64, half: bool, value: u32) -> u32 {
    if half {
        let place = unsafe { AtomicU16::from_ptr(address as *mut u16) };
        let add = |old| Some((f16::from_bits(old) + f16::from_bits(value as u16)).to_bits());
        place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).map_or(0, u32::from)
    } else {
        let place = unsafe { AtomicU32::from_ptr(address as *mut u32) };
        let add = |old| Some((f32::from_bits(old) + f32::from_bits(value)).to_bits());
        place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).unwrap_or(0)
    }
}
