//! The threads of a warp, which run together.
//!
//! Threads that went different ways go on one way at a time, those that are furthest behind first, and meet again where their ways do.

use crate::arithmetic::{Logic, Longs, Words, compare, long, word};
use crate::block::Launch;
use crate::kernel::{Address, Kernel, Op, PARAMETERS, SHARED, SPECIAL, Shuffle};
use crate::matrix;
use crate::memory::{Memory, atomic_add, read, read_long, write, write_long};

pub(crate) struct Warp {
    words: Vec<Words>,
    longs: Vec<Longs>,
    pub(crate) predicates: Vec<u32>,
    /// The next instruction of each thread.
    at: [usize; 32],
    /// A bit for each thread that has not ended, for each at a barrier of the block, and for each that waits for others of its warp.
    pub(crate) live: u32,
    pub(crate) waiting: u32,
    pub(crate) parked: u32,
    /// The number of its first thread in the block.
    first: u32,
}

impl Warp {
    pub(crate) fn new(kernel: &Kernel, launch: &Launch, first: u32) -> Warp {
        let mut words = vec![[0; 32]; kernel.words];
        let mut longs = vec![[0; 32]; kernel.longs];
        for (slot, value) in &kernel.word_constants {
            words[*slot] = [*value; 32];
        }
        for (slot, value) in &kernel.long_constants {
            longs[*slot] = [*value; 32];
        }
        longs[PARAMETERS] = [launch.parameters.as_ptr() as u64; 32];
        let [x, y, _] = launch.block;
        let thread = |lane| first + lane as u32;
        words[0] = std::array::from_fn(|lane| thread(lane) % x);
        words[1] = std::array::from_fn(|lane| thread(lane) / x % y);
        words[2] = std::array::from_fn(|lane| thread(lane) / (x * y));
        for axis in 0..3 {
            words[3 + axis] = [launch.block[axis]; 32];
            words[9 + axis] = [launch.grid[axis]; 32];
        }
        words[SPECIAL.len() - 1] = std::array::from_fn(|lane| lane as u32);
        let predicates = vec![0; kernel.predicates];
        Warp { words, longs, predicates, at: [0; 32], live: 0, waiting: 0, parked: 0, first }
    }

    pub(crate) fn begin(&mut self, threads: u32, place: [u32; 3], shared: u64) {
        let count = (threads - self.first).min(32);
        self.live = u32::MAX >> (32 - count);
        (self.waiting, self.parked, self.at) = (0, 0, [0; 32]);
        for (axis, at) in place.into_iter().enumerate() {
            self.words[6 + axis] = [at; 32];
        }
        self.longs[SHARED] = [shared; 32];
    }

    /// Where the threads furthest behind are, which they are, the nearest place where others are, and whether there is nobody left to
    /// wait for; [`None`] when none can go on.
    pub(crate) fn choose(&mut self) -> Option<(usize, u32, usize, bool)> {
        let ready = self.live & !self.waiting;
        let alone = ready & !self.parked == 0;
        let behind = if alone { ready } else { ready & !self.parked };
        let at = lanes(behind).map(|lane| self.at[lane]).min()?;
        let active = lanes(ready).filter(|lane| self.at[*lane] == at).fold(0, |mask, lane| mask | 1 << lane);
        let others = lanes(ready & !active).map(|lane| self.at[lane]);
        let ahead = others.filter(|other| *other > at).min().unwrap_or(usize::MAX);
        self.parked &= !active;
        Some((at, active, ahead, alone))
    }

    /// Whether threads that are to take part have not come yet.
    pub(crate) fn missing(&self, members: usize, active: u32) -> bool {
        let asked = lanes(active).fold(0, |mask, lane| mask | self.words[members][lane]);
        asked & self.live & !self.waiting & !active != 0
    }

    pub(crate) fn leave(&mut self, threads: u32, at: usize) {
        for lane in lanes(threads) {
            self.at[lane] = at;
        }
    }

    fn set(&mut self, slot: usize, mask: u32, value: &Words) {
        blend(&mut self.words[slot], mask, value);
    }

    pub(crate) fn execute(&mut self, op: &Op, mask: u32, memory: &mut Memory) -> Result<(), String> {
        match op {
            Op::Word { op, to, from: [a, b, c] } => {
                let value = word(*op, &self.words[*a], &self.words[*b], &self.words[*c]);
                self.set(*to, mask, &value);
            }
            Op::Long { op, to, from: [a, b] } => {
                let value = long(*op, &self.longs[*a], &self.longs[*b]);
                blend(&mut self.longs[*to], mask, &value);
            }
            Op::Widen { to, from } => {
                let value = self.words[*from].map(u64::from);
                blend(&mut self.longs[*to], mask, &value);
            }
            Op::Narrow { to, from } => {
                let value = self.longs[*from].map(|long| long as u32);
                self.set(*to, mask, &value);
            }
            Op::MultiplyWide { to, from: [a, b] } => {
                let (a, b) = (&self.words[*a], &self.words[*b]);
                let value: Longs = std::array::from_fn(|lane| u64::from(a[lane]) * u64::from(b[lane]));
                blend(&mut self.longs[*to], mask, &value);
            }
            Op::Pack { to, from: [low, high] } => {
                let (low, high) = (&self.words[*low], &self.words[*high]);
                let value = std::array::from_fn(|lane| low[lane] & 0xFFFF | high[lane] << 16);
                self.set(*to, mask, &value);
            }
            Op::PackLong { to, from: [low, high] } => {
                let (low, high) = (&self.words[*low], &self.words[*high]);
                let value: Longs = std::array::from_fn(|lane| u64::from(low[lane]) | u64::from(high[lane]) << 32);
                blend(&mut self.longs[*to], mask, &value);
            }
            Op::UnpackLong { to: [low, high], from } => {
                let packed = self.longs[*from];
                self.set(*low, mask, &packed.map(|bits| bits as u32));
                self.set(*high, mask, &packed.map(|bits| (bits >> 32) as u32));
            }
            Op::Unpack { to: [low, high], from } => {
                let packed = self.words[*from];
                self.set(*low, mask, &packed.map(|bits| bits & 0xFFFF));
                self.set(*high, mask, &packed.map(|bits| bits >> 16));
            }
            Op::Compare { op, to, from: [a, b] } => {
                let holds = compare(*op, &self.words[*a], &self.words[*b]);
                self.predicates[*to] = self.predicates[*to] & !mask | holds & mask;
            }
            Op::Select { to, from: [a, b], predicate } => {
                let mut value = self.words[*b];
                blend(&mut value, self.predicates[*predicate], &self.words[*a]);
                self.set(*to, mask, &value);
            }
            Op::Predicate { op, to, from: [a, b] } => {
                let (a, b) = (self.predicates[*a], self.predicates[*b]);
                let value = match op {
                    Logic::Move => a,
                    Logic::And => a & b,
                    Logic::Or => a | b,
                    Logic::Xor => a ^ b,
                    Logic::Not => !a,
                    Logic::One => u32::MAX,
                };
                self.predicates[*to] = self.predicates[*to] & !mask | value & mask;
            }
            Op::Load { to, bytes, long, at } => {
                for lane in lanes(mask) {
                    let address = self.place(memory, lane, at, bytes * to.len())?;
                    for (index, slot) in to.iter().enumerate() {
                        let from = address + (index * bytes) as u64;
                        if *long {
                            self.longs[*slot][lane] = read_long(from);
                        } else {
                            self.words[*slot][lane] = read(from, *bytes);
                        }
                    }
                }
            }
            Op::Store { from, bytes, long, at } => {
                for lane in lanes(mask) {
                    let address = self.place(memory, lane, at, bytes * from.len())?;
                    for (index, slot) in from.iter().enumerate() {
                        let to = address + (index * bytes) as u64;
                        if *long {
                            write_long(to, self.longs[*slot][lane]);
                        } else {
                            write(to, *bytes, self.words[*slot][lane]);
                        }
                    }
                }
            }
            Op::AtomicAdd { to, from, half, at } => {
                for lane in lanes(mask) {
                    let address = self.place(memory, lane, at, if *half { 2 } else { 4 })?;
                    self.words[*to][lane] = atomic_add(address, *half, self.words[*from][lane]);
                }
            }
            Op::LoadMatrix { to, fragment, at, stride } => {
                let lane = self.whole(mask)?;
                let stride = self.words[*stride][lane] as usize;
                let bytes = fragment.number.bytes();
                let mut numbers = vec![0; fragment.len()];
                for (place, number) in numbers.iter_mut().enumerate() {
                    let from = at.moved(fragment.offset(place, stride) * bytes);
                    *number = read(self.place(memory, lane, &from, bytes)?, bytes);
                }
                let mut registers = vec![[0; 32]; to.len()];
                fragment.spread(&numbers, &mut registers);
                for (slot, register) in to.iter().zip(registers) {
                    self.words[*slot] = register;
                }
            }
            Op::StoreMatrix { from, fragment, at, stride } => {
                let lane = self.whole(mask)?;
                let stride = self.words[*stride][lane] as usize;
                let bytes = fragment.number.bytes();
                let registers: Vec<Words> = from.iter().map(|slot| self.words[*slot]).collect();
                for (place, number) in matrix::gather(fragment.number, fragment.len(), &registers).iter().enumerate() {
                    let to = at.moved(fragment.offset(place, stride) * bytes);
                    write(self.place(memory, lane, &to, bytes)?, bytes, *number);
                }
            }
            Op::Multiply { to, from, shape } => {
                self.whole(mask)?;
                let [a, b, c] =
                    from.each_ref().map(|slots| slots.iter().map(|slot| self.words[*slot]).collect::<Vec<_>>());
                let product = shape.product(&a, &b, &c).filter(|product| product.len() == to.len());
                for (slot, register) in to.iter().zip(product.ok_or("not as many registers as the matrices have")?) {
                    self.words[*slot] = register;
                }
            }
            Op::Shuffle { by, to, predicate, from: [a, b, c], .. } => {
                let (mut value, mut found) = (self.words[*to], 0);
                for lane in lanes(mask) {
                    let (other, inside) = other(*by, lane as u32, self.words[*b][lane], self.words[*c][lane]);
                    let other = if inside { other as usize % 32 } else { lane };
                    value[lane] = self.words[*a][other];
                    found |= u32::from(inside) << lane;
                }
                self.words[*to] = value;
                if let Some(slot) = predicate {
                    self.predicates[*slot] = self.predicates[*slot] & !mask | found;
                }
            }
            Op::Active { to } => self.set(*to, mask, &[mask; 32]),
            Op::LoadEights { to, at, by_columns } => {
                self.whole(mask)?;
                for (index, slot) in to.iter().enumerate() {
                    let mut matrix = [[0; 8]; 8];
                    for (row, numbers) in matrix.iter_mut().enumerate() {
                        let from = self.place(memory, 8 * index + row, at, 16)?;
                        for (column, number) in numbers.iter_mut().enumerate() {
                            *number = read(from + 2 * column as u64, 2) as u16;
                        }
                    }
                    self.words[*slot] = matrix::eight_by_eight(&matrix, *by_columns);
                }
            }
            Op::Copy { to, from, bytes, copied } => {
                for lane in lanes(mask) {
                    let copied = (self.words[*copied][lane] as usize).min(*bytes);
                    let to = self.place(memory, lane, to, *bytes)?;
                    // What is not copied need not be there.
                    let from = if copied == 0 { 0 } else { self.place(memory, lane, from, copied)? };
                    for at in 0..*bytes as u64 {
                        let byte = if at < copied as u64 { read(from + at, 1) } else { 0 };
                        write(to + at, 1, byte);
                    }
                }
            }
            Op::WarpBarrier | Op::Nothing => {}
            Op::Branch(_) | Op::Barrier | Op::Exit => return Err("no operation on numbers".to_owned()),
        }
        Ok(())
    }

    /// Where a thread's address is in this process.
    fn place(&self, memory: &mut Memory, lane: usize, at: &Address, bytes: usize) -> Result<u64, String> {
        let base = if at.long { self.longs[at.base][lane] } else { u64::from(self.words[at.base][lane]) };
        memory.place(at, base, bytes)
    }

    /// A thread, for what all threads of a warp do as one.
    fn whole(&self, mask: u32) -> Result<usize, String> {
        if mask == u32::MAX { Ok(0) } else { Err(format!("only the threads {mask:#x} of a warp")) }
    }
}

/// The thread that a shuffle reads from, and whether it is one of the segment (PTX ISA, `shfl.sync`).
fn other(by: Shuffle, lane: u32, step: u32, clamp: u32) -> (u32, bool) {
    let (segment, clamp, step) = (clamp >> 8 & 31, clamp & 31, step & 31);
    let most = lane & segment | clamp & !segment;
    match by {
        Shuffle::Up => (lane.wrapping_sub(step), lane as i32 - step as i32 >= most as i32),
        Shuffle::Down => (lane + step, lane + step <= most),
        Shuffle::Xor => (lane ^ step, lane ^ step <= most),
        Shuffle::Index => {
            let index = lane & segment | step & !segment;
            (index, index <= most)
        }
    }
}

/// The threads of a mask.
fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        let lane = rest.trailing_zeros();
        rest &= rest.wrapping_sub(1);
        (lane < 32).then_some(lane as usize)
    })
}

fn blend<T: Copy>(to: &mut [T; 32], mask: u32, value: &[T; 32]) {
    if mask == u32::MAX {
        *to = *value;
    } else {
        for lane in 0..32 {
            if mask >> lane & 1 == 1 {
                to[lane] = value[lane];
            }
        }
    }
}
