//! Runs a kernel: blocks on all cores, the warps of a block in turns from barrier to barrier.

use std::sync::Mutex;

use rayon::prelude::*;

use crate::kernel::{Instruction, Kernel, Op};
use crate::memory::{Borders, Memory, UNWRITTEN};
use crate::warp::Warp;

/// How a kernel is launched.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    /// Bytes of shared memory beside the kernel's own.
    pub(crate) shared: usize,
    pub(crate) parameters: Vec<u64>,
    /// Warps of a block run from the last to the first. What depends on their order lacks a barrier.
    pub(crate) backwards: bool,
}

/// # Errors
/// The first fault: what was done where.
pub(crate) fn run(kernel: &Kernel, launch: &Launch) -> Result<(), String> {
    let borders = Borders::now();
    let [x, y, z] = launch.grid.map(|size| size as usize);
    let fault = Mutex::new(None);
    (0..x * y * z)
        .into_par_iter()
        .with_min_len(1)
        .try_for_each_init(
            || Block::new(kernel, launch, &borders),
            |block, index| {
                let place = [index % x, index / x % y, index / (x * y)].map(|at| at as u32);
                block.run(place).map_err(|found| {
                    if let Ok(mut fault) = fault.lock() {
                        fault.get_or_insert(found);
                    }
                })
            },
        )
        .map_err(|()| fault.into_inner().ok().flatten().unwrap_or_default())
}

struct Block<'a> {
    kernel: &'a Kernel,
    launch: &'a Launch,
    borders: &'a Borders,
    /// In pieces of 16 bytes, so that every number in it is aligned.
    shared: Vec<u128>,
    warps: Vec<Warp>,
    last: (u64, u64),
}

impl<'a> Block<'a> {
    fn new(kernel: &'a Kernel, launch: &'a Launch, borders: &'a Borders) -> Block<'a> {
        let threads: u32 = launch.block.iter().product();
        let warps = (0..threads.div_ceil(32)).map(|warp| Warp::new(kernel, launch, warp * 32)).collect();
        let shared = vec![0; (kernel.shared + launch.shared).div_ceil(16)];
        Block { kernel, launch, borders, shared, warps, last: (0, 0) }
    }

    fn run(&mut self, place: [u32; 3]) -> Result<(), String> {
        self.shared.fill(u128::from_ne_bytes([UNWRITTEN; 16]));
        let threads: u32 = self.launch.block.iter().product();
        let shared = self.shared.as_mut_ptr() as u64;
        for warp in &mut self.warps {
            warp.begin(threads, place, shared);
        }
        loop {
            let mut warps: Vec<usize> = (0..self.warps.len()).collect();
            if self.launch.backwards {
                warps.reverse();
            }
            for index in warps {
                self.go_on(index)?;
            }
            if self.warps.iter().all(|warp| warp.live == 0) {
                return Ok(());
            }
            // All that have not ended are at the barrier.
            for warp in &mut self.warps {
                warp.waiting = 0;
            }
        }
    }

    /// Until every thread of the warp has ended or is at a barrier.
    fn go_on(&mut self, index: usize) -> Result<(), String> {
        let code = &self.kernel.code;
        let mut memory = Memory {
            borders: self.borders,
            last: self.last,
            shared: self.shared.as_mut_ptr() as u64,
            shared_bytes: self.kernel.shared + self.launch.shared,
            parameters: self.launch.parameters.as_ptr() as u64,
            parameter_bytes: self.launch.parameters.len() * 8,
        };
        let warp = &mut self.warps[index];
        while let Some((mut at, mut active, ahead, alone)) = warp.choose() {
            loop {
                let Instruction { guard, op, .. } = &code[at];
                let mask = match guard {
                    None => active,
                    Some((predicate, false)) => active & warp.predicates[*predicate],
                    Some((predicate, true)) => active & !warp.predicates[*predicate],
                };
                match op {
                    Op::Branch(target) if mask == active => at = *target,
                    Op::Branch(_) if mask == 0 => at += 1,
                    Op::Branch(target) => {
                        warp.leave(mask, *target);
                        warp.leave(active & !mask, at + 1);
                        break;
                    }
                    Op::Exit => {
                        warp.live &= !mask;
                        active &= !mask;
                        if active == 0 {
                            break;
                        }
                        at += 1;
                    }
                    Op::Barrier => {
                        warp.leave(active, at + 1);
                        warp.waiting |= active;
                        break;
                    }
                    Op::WarpBarrier
                    | Op::LoadEights { .. }
                    | Op::LoadMatrix { .. }
                    | Op::StoreMatrix { .. }
                    | Op::Multiply { .. }
                        if active != warp.live & !warp.waiting && !alone =>
                    {
                        warp.leave(active, at);
                        warp.parked |= active;
                        break;
                    }
                    Op::Shuffle { members, .. } if !alone && warp.missing(*members, active) => {
                        warp.leave(active, at);
                        warp.parked |= active;
                        break;
                    }
                    op => {
                        if mask != 0 {
                            warp.execute(op, mask, &mut memory)
                                .map_err(|fault| format!("{}: {fault}: {}", self.kernel.name, code[at].text))?;
                        }
                        at += 1;
                    }
                }
                if at >= ahead || alone {
                    warp.leave(active, at);
                    break;
                }
            }
        }
        self.last = memory.last;
        Ok(())
    }
}
