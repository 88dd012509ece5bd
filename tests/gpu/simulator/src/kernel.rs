//! A kernel as a list of operations on numbered registers.

use crate::arithmetic::{Compare, Logic, Long, Word};
use crate::matrix::{Fragment, Multiply};

/// A register's number. Constants are registers that a kernel starts with.
pub(crate) type Slot = usize;

/// Registers of 64 bits with a meaning of their own.
pub(crate) const PARAMETERS: Slot = 0;
pub(crate) const SHARED: Slot = 1;

/// Registers of 32 bits that say where a thread is, in this order.
pub(crate) const SPECIAL: [&str; 13] = [
    "%tid.x",
    "%tid.y",
    "%tid.z",
    "%ntid.x",
    "%ntid.y",
    "%ntid.z",
    "%ctaid.x",
    "%ctaid.y",
    "%ctaid.z",
    "%nctaid.x",
    "%nctaid.y",
    "%nctaid.z",
    "%laneid",
];

/// A kernel, ready to run.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) code: Vec<Instruction>,
    /// Bytes of each parameter and where it starts.
    pub(crate) parameters: Vec<(usize, usize)>,
    /// Bytes of shared memory that the kernel itself asks for.
    pub(crate) shared: usize,
    pub(crate) words: usize,
    pub(crate) longs: usize,
    pub(crate) predicates: usize,
    pub(crate) word_constants: Vec<(Slot, u32)>,
    pub(crate) long_constants: Vec<(Slot, u64)>,
}

/// An operation, and the predicate that must hold for a thread to do it (or must not: `true`).
#[derive(Debug)]
pub(crate) struct Instruction {
    pub(crate) guard: Option<(Slot, bool)>,
    pub(crate) op: Op,
    /// Its text, for faults.
    pub(crate) text: Box<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    Global,
    Shared,
    Parameter,
}

/// `[base + offset]`; the base is a register of 64 bits, or of 32 (shared memory).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address {
    pub(crate) base: Slot,
    pub(crate) long: bool,
    pub(crate) offset: i64,
    pub(crate) space: Space,
}

impl Address {
    pub(crate) fn moved(&self, bytes: usize) -> Address {
        Address { offset: self.offset + bytes as i64, ..*self }
    }
}

/// How the other thread is told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Xor,
    Index,
}

#[derive(Debug)]
pub(crate) enum Op {
    /// Words to a word; the mnemonic was looked up in [`crate::arithmetic`].
    Word {
        op: Word,
        to: Slot,
        from: [Slot; 3],
    },
    Long {
        op: Long,
        to: Slot,
        from: [Slot; 2],
    },
    /// Zero-extended.
    Widen {
        to: Slot,
        from: Slot,
    },
    Narrow {
        to: Slot,
        from: Slot,
    },
    MultiplyWide {
        to: Slot,
        from: [Slot; 2],
    },
    /// The lower bits first.
    Pack {
        to: Slot,
        from: [Slot; 2],
    },
    /// Of words one of 64 bits.
    PackLong {
        to: Slot,
        from: [Slot; 2],
    },
    UnpackLong {
        to: [Slot; 2],
        from: Slot,
    },
    Unpack {
        to: [Slot; 2],
        from: Slot,
    },
    Compare {
        op: Compare,
        to: Slot,
        from: [Slot; 2],
    },
    Select {
        to: Slot,
        from: [Slot; 2],
        predicate: Slot,
    },
    Predicate {
        op: Logic,
        to: Slot,
        from: [Slot; 2],
    },
    /// `long`: registers of 64 bits.
    Load {
        to: Vec<Slot>,
        bytes: usize,
        long: bool,
        at: Address,
    },
    Store {
        from: Vec<Slot>,
        bytes: usize,
        long: bool,
        at: Address,
    },
    AtomicAdd {
        to: Slot,
        from: Slot,
        half: bool,
        at: Address,
    },
    LoadMatrix {
        to: Vec<Slot>,
        fragment: Fragment,
        at: Address,
        stride: Slot,
    },
    StoreMatrix {
        from: Vec<Slot>,
        fragment: Fragment,
        at: Address,
        stride: Slot,
    },
    Multiply {
        to: Vec<Slot>,
        from: [Vec<Slot>; 3],
        shape: Multiply,
    },
    /// Of the word `from` that of another thread of the warp; `predicate`: whether there is such a thread.
    Shuffle {
        by: Shuffle,
        to: Slot,
        predicate: Option<Slot>,
        from: [Slot; 3],
        members: Slot,
    },
    /// Which threads of the warp do this.
    Active {
        to: Slot,
    },
    /// Matrices of 8 x 8 numbers of 16 bits; each thread says where a row is.
    LoadEights {
        to: Vec<Slot>,
        at: Address,
        by_columns: bool,
    },
    /// Bytes from one address to another, of which the first are copied and the others become 0.
    Copy {
        to: Address,
        from: Address,
        bytes: usize,
        copied: Slot,
    },
    Branch(usize),
    Barrier,
    WarpBarrier,
    /// Waits for what is done at once here.
    Nothing,
    Exit,
}
