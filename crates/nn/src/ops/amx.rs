//! Products in f32 by the matrix unit of processors with AMX, which multiplies tiles of bf16 and adds up in f32.
//!
//! A number in f32 is the sum of three in bf16, 8 bits each, and a product of two numbers the sum of the products of their parts;
//! those below 2^-24 of the whole are left out (Henry, Tang and Heinecke 2019, "Leveraging the bfloat16 artificial intelligence
//! datatype for higher-precision computations"). A matrix whose numbers are bf16 in its file is one part, one of f16 or 8-bit
//! codes two. One in f32 would be three, whose six products are hardly faster than f32's own.
//!
//! The unit takes numbers below 2^-126 for zero, so that a number loses what its parts have below that. An infinity, a NaN, or a
//! number that bf16 rounds to infinity (above 3.396e38, where f32 ends at 3.403e38) gives results that are no number, as inf - inf
//! is none.

use std::arch::asm;
use std::arch::x86_64::{
    __cpuid, __cpuid_count, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_add_epi32, _mm512_and_si512,
    _mm512_castps_si512, _mm512_castsi512_ps, _mm512_mask_blend_epi16, _mm512_maskz_loadu_ps, _mm512_set1_epi32,
    _mm512_shuffle_i32x4, _mm512_srli_epi32, _mm512_storeu_si512, _mm512_sub_ps, _mm512_unpackhi_epi32,
    _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};
use std::marker::PhantomData;
use std::sync::OnceLock;

use super::amx_product::{EDGE, PARTS, Tile};

/// Whether this processor has the unit and the system lets this process use it, which is asked for once.
pub(super) fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        // Bits of leaf 7: AMX-BF16 and AMX-TILE (Intel's manual, volume 2, CPUID). The standard library tells AVX-512's only where
        // the system keeps its registers.
        let tiles = __cpuid(0).eax >= 7 && {
            let bits = __cpuid_count(7, 0).edx;
            bits >> 22 & 1 == 1 && bits >> 24 & 1 == 1
        };
        tiles && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && permitted()
    })
}

/// Linux keeps the tiles of a process only after it asked for it (Documentation/arch/x86/xstate.rst).
fn permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XFEATURE_XTILEDATA: usize = 18;
    let result: isize;
    // SAFETY: the call changes nothing but what the system keeps for this process; it destroys rcx and r11.
    #[allow(unsafe_code, reason = "the standard library has no such call")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// The unit, set up for tiles of 16 rows of 64 bytes on this thread.
pub(super) struct Unit {
    /// Only this thread's unit is set up.
    thread: PhantomData<*const ()>,
}

impl Unit {
    /// Nothing where the unit is not [`available`].
    pub(super) fn new() -> Option<Self> {
        #[repr(C, align(64))]
        struct Configuration {
            palette: u8,
            start_row: u8,
            reserved: [u8; 14],
            row_bytes: [u16; 16],
            rows: [u8; 16],
        }
        // Tiles 0 to 7; there are no others.
        const fn each<T: Copy, const N: usize>(value: T, none: T) -> [T; N] {
            let mut all = [none; N];
            let mut i = 0;
            while i < 8 {
                all[i] = value;
                i += 1;
            }
            all
        }
        static CONFIGURATION: Configuration =
            Configuration { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: each(64, 0), rows: each(16, 0) };
        if !available() {
            return None;
        }
        // SAFETY: the processor has the instruction, and the configuration is one that it takes.
        #[allow(unsafe_code, reason = "an instruction that the standard library does not have")]
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const CONFIGURATION, options(nostack, readonly));
        }
        Some(Self { thread: PhantomData })
    }

    /// `out` `[2, 2]` tiles of f32 becomes the product, or it is added to it if `add`. `left` `[steps, PARTS, 2]` tiles, whose rows are
    /// rows of the left matrix; `right` `[steps, parts, 2]` tiles, whose columns are columns of the right one.
    ///
    /// # Panics
    /// When a matrix has not the tiles that the others ask for.
    #[inline]
    pub(super) fn multiply(&self, out: &mut [Tile; 4], left: &[Tile], right: &[Tile], parts: usize, add: bool) {
        let steps = left.len() / (2 * PARTS);
        assert!(steps > 0 && left.len() == steps * 2 * PARTS && right.len() == steps * 2 * parts);
        let kernel = match parts {
            1 => one_part,
            2 => two_parts,
            _ => unreachable!("no kernel takes so many parts"),
        };
        // SAFETY: the unit is set up, as `self` shows, and the assertion has as many tiles as the kernel reads.
        #[allow(unsafe_code, reason = "instructions that the standard library does not have")]
        unsafe {
            kernel(out.as_mut_ptr(), left.as_ptr(), right.as_ptr(), steps, add);
        }
    }

    /// Row `row` of every second tile becomes a part in bf16 of two times 16 numbers, side by side; missing ones are zero. Parts are rounded,
    /// halves up; of the last one what it has no room for is cut off.
    #[inline(always)]
    pub(super) fn split<const P: usize>(&self, low: &[f32], high: &[f32], tiles: &mut [Tile], row: usize) {
        // SAFETY: the unit comes with AVX-512.
        #[allow(unsafe_code, reason = "the compiler does not know the processor")]
        unsafe {
            split::<P>(low, high, tiles, row);
        }
    }

    /// Has the processor fetch the first `n` numbers.
    #[inline(always)]
    pub(super) fn fetch(&self, numbers: &[f32], n: usize) {
        for line in numbers[..n.min(numbers.len())].chunks(EDGE) {
            // SAFETY: a hint, which reads nothing.
            #[allow(unsafe_code, reason = "an instruction of the processor")]
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast());
            }
        }
    }

    /// As 16 x 16 words.
    #[inline(always)]
    pub(super) fn transpose(&self, tile: &mut Tile) {
        // SAFETY: the unit comes with AVX-512. A tile has the size of 16 registers, whose bits may be anything.
        #[allow(unsafe_code, reason = "the compiler does not know the processor")]
        unsafe {
            let rows: &mut [__m512i; EDGE] = &mut *(&raw mut *tile).cast();
            transpose(rows);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn split<const P: usize>(low: &[f32], high: &[f32], tiles: &mut [Tile], row: usize) {
    let (half, upper) = (_mm512_set1_epi32(0x8000), _mm512_set1_epi32(-0x1_0000));
    let mut rest = [low, high].map(|numbers| {
        let mask = if numbers.len() < EDGE { (1 << numbers.len()) - 1 } else { u16::MAX };
        // SAFETY: the mask has no more than the slice.
        #[allow(unsafe_code, reason = "an instruction of the processor")]
        unsafe {
            _mm512_maskz_loadu_ps(mask, numbers.as_ptr())
        }
    });
    for part in 0..P {
        let mut parts = rest.map(|x| _mm512_castps_si512(x));
        if part + 1 < P {
            for (part, rest) in parts.iter_mut().zip(&mut rest) {
                *part = _mm512_and_si512(_mm512_add_epi32(*part, half), upper);
                *rest = _mm512_sub_ps(*rest, _mm512_castsi512_ps(*part));
            }
        }
        let words = _mm512_mask_blend_epi16(0xaaaa_aaaa, _mm512_srli_epi32::<16>(parts[0]), parts[1]);
        // SAFETY: a row of a tile has these 64 bytes.
        #[allow(unsafe_code, reason = "an instruction of the processor")]
        unsafe {
            _mm512_storeu_si512((&raw mut tiles[part * 2].0[row]).cast(), words);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn transpose(rows: &mut [__m512i; EDGE]) {
    let r = *rows;
    let mut s = r;
    for i in 0..EDGE / 2 {
        s[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        s[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    let mut r = s;
    for i in 0..EDGE / 4 {
        r[4 * i] = _mm512_unpacklo_epi64(s[4 * i], s[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(s[4 * i], s[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(s[4 * i + 1], s[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(s[4 * i + 1], s[4 * i + 3]);
    }
    // Now register 4 i + j has, in its quarter q, column 4 q + j of rows 4 i to 4 i + 3.
    for j in 0..EDGE / 4 {
        let [a, b, c, d] = [r[j], r[4 + j], r[8 + j], r[12 + j]];
        let even = [_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d)];
        let odd = [_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d)];
        rows[j] = _mm512_shuffle_i32x4::<0x88>(even[0], even[1]);
        rows[4 + j] = _mm512_shuffle_i32x4::<0x88>(odd[0], odd[1]);
        rows[8 + j] = _mm512_shuffle_i32x4::<0xdd>(even[0], even[1]);
        rows[12 + j] = _mm512_shuffle_i32x4::<0xdd>(odd[0], odd[1]);
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // SAFETY: it was set up by this thread, and nothing of its tiles is wanted any more.
        #[allow(unsafe_code, reason = "an instruction that the standard library does not have")]
        unsafe {
            asm!("tilerelease", options(nostack, nomem));
        }
    }
}

/// Loads a tile of the left or right matrix: part of the number, and which of the two.
macro_rules! load {
    (left $part:literal 0) => {
        concat!("tileloadd tmm4, [{left} + {row}*1 + ", $part, "*2048]")
    };
    (left $part:literal 1) => {
        concat!("tileloadd tmm5, [{left} + {row}*1 + ", $part, "*2048 + 1024]")
    };
    (right $part:literal 0) => {
        concat!("tileloadd tmm6, [{right} + {row}*1 + ", $part, "*2048]")
    };
    (right $part:literal 1) => {
        concat!("tileloadd tmm7, [{right} + {row}*1 + ", $part, "*2048 + 1024]")
    };
}

/// Multiplies left tile i with right tile j.
#[rustfmt::skip]
macro_rules! tdp {
    (0 0) => { "tdpbf16ps tmm0, tmm4, tmm6" };
    (0 1) => { "tdpbf16ps tmm1, tmm4, tmm7" };
    (1 0) => { "tdpbf16ps tmm2, tmm5, tmm6" };
    (1 1) => { "tdpbf16ps tmm3, tmm5, tmm7" };
}

/// A kernel whose step is these instructions. Accumulators are tiles 0 to 3, left tiles 4 and 5, right ones 6 and 7.
macro_rules! kernel {
    ($name:ident, $parts:literal, $($instruction:expr),* $(,)?) => {
        /// # Safety
        /// Only while a [`Unit`] lives on this thread, with 4, `steps * 2 * PARTS` and `steps * 2 * parts` tiles.
        #[allow(unsafe_code, reason = "instructions that the standard library does not have")]
        unsafe fn $name(out: *mut Tile, left: *const Tile, right: *const Tile, steps: usize, add: bool) {
            // SAFETY: the caller promises the unit, and the memory that the addresses reach.
            unsafe {
                asm!(
                    "test {add:e}, {add:e}",
                    "jnz 2f",
                    "tilezero tmm0",
                    "tilezero tmm1",
                    "tilezero tmm2",
                    "tilezero tmm3",
                    "jmp 3f",
                    "2:",
                    "tileloadd tmm0, [{out} + {row}*1]",
                    "tileloadd tmm1, [{out} + {row}*1 + 1024]",
                    "tileloadd tmm2, [{out} + {row}*1 + 2048]",
                    "tileloadd tmm3, [{out} + {row}*1 + 3072]",
                    "3:",
                    $($instruction,)*
                    concat!("add {left}, 3*2048"),
                    concat!("add {right}, ", $parts, "*2048"),
                    "dec {steps}",
                    "jnz 3b",
                    "tilestored [{out} + {row}*1], tmm0",
                    "tilestored [{out} + {row}*1 + 1024], tmm1",
                    "tilestored [{out} + {row}*1 + 2048], tmm2",
                    "tilestored [{out} + {row}*1 + 3072], tmm3",
                    add = in(reg) u32::from(add),
                    out = in(reg) out,
                    row = in(reg) 64usize,
                    left = inout(reg) left => _,
                    right = inout(reg) right => _,
                    steps = inout(reg) steps => _,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    };
}

// Smaller products first. A tile stays for the next product where it can, and is loaded anew while the other of its kind is used.
kernel!(
    one_part,
    1,
    load!(left 2 0),
    load!(right 0 0),
    load!(right 0 1),
    load!(left 2 1),
    tdp!(0 0),
    tdp!(0 1),
    tdp!(1 0),
    tdp!(1 1),
    load!(left 1 0),
    tdp!(0 0),
    tdp!(0 1),
    load!(left 1 1),
    tdp!(1 0),
    tdp!(1 1),
    load!(left 0 0),
    tdp!(0 0),
    tdp!(0 1),
    load!(left 0 1),
    tdp!(1 0),
    tdp!(1 1),
);

kernel!(
    two_parts,
    2,
    load!(left 2 0),
    load!(right 0 0),
    load!(right 0 1),
    load!(left 2 1),
    tdp!(0 0),
    tdp!(0 1),
    tdp!(1 0),
    tdp!(1 1),
    load!(left 1 0),
    tdp!(0 0),
    tdp!(0 1),
    load!(left 1 1),
    tdp!(1 0),
    tdp!(1 1),
    load!(right 1 0),
    tdp!(0 0),
    tdp!(1 0),
    load!(right 1 1),
    tdp!(0 1),
    tdp!(1 1),
    load!(left 0 0),
    tdp!(0 0),
    tdp!(0 1),
    load!(left 0 1),
    tdp!(1 0),
    tdp!(1 1),
    load!(right 0 0),
    tdp!(0 0),
    tdp!(1 0),
    load!(right 0 1),
    tdp!(0 1),
    tdp!(1 1),
);
