//! Kernels written by hand, with the answers that a card would give.

use crate::arithmetic::{Compare, Kind, Relation, Rounding, Word, Words, compare, word};
use crate::block::{Launch, run};
use crate::{memory, ptx};

/// A kernel `k` of a pointer and a number, with these lines in it.
fn text(body: &str) -> String {
    format!(
        ".version 9.5\n.target sm_89\n.address_size 64\n.extern .shared .align 16 .b8 room[];\n\
         .visible .entry k(\n\t.param .u64 k_0,\n\t.param .u32 k_1\n)\n.maxntid 64, 1, 1\n{{\n\
         .reg .pred %p<9>;\n.reg .b16 %rs<9>;\n.reg .f32 %f<99>;\n.reg .b32 %r<99>;\n.reg .b64 %rd<9>;\n\
         ld.param.u64 %rd1, [k_0];\ncvta.to.global.u64 %rd1, %rd1;\nld.param.u32 %r1, [k_1];\nmov.u32 %r2, %tid.x;\n\
         {body}\nret;\n}}\n"
    )
}

/// At the thread's place in the memory: `%rd3`.
const PLACE: &str = "mul.wide.u32 %rd2, %r2, 4;\nadd.s64 %rd3, %rd1, %rd2;\n";

/// Runs the lines with that many threads on memory that holds these words.
fn after(body: &str, threads: u32, words: &[u32], backwards: bool) -> Result<Vec<u32>, String> {
    let kernels = ptx::kernels(&text(body))?;
    let start = memory::take(words.len() * 4, true).ok_or("no memory")?;
    let place = start as *mut u32;
    // SAFETY: just taken with this size.
    unsafe { place.copy_from(words.as_ptr(), words.len()) };
    let parameters = vec![start, words.len() as u64];
    let launch = Launch { grid: [1; 3], block: [threads, 1, 1], shared: 4096, parameters, backwards };
    let done = run(&kernels[0], &launch);
    // SAFETY: as above.
    let found = unsafe { std::slice::from_raw_parts(place, words.len()) }.to_vec();
    assert!(memory::free(start));
    done.map(|()| found)
}

fn numbers(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[test]
fn threads_beyond_the_end_do_nothing() {
    let body = format!("setp.ge.u32 %p1, %r2, %r1;\n@%p1 bra END;\n{PLACE}st.global.u32 [%rd3], 7;\nEND:");
    assert_eq!(after(&body, 64, &[0; 40], false).unwrap(), [7; 40]);
}

#[test]
fn ways_that_part_meet_again() {
    // Thread i counts to i % 5 in a loop of its own, then all read what their neighbour counted.
    let body = format!(
        "{PLACE}rem.u32 %r3, %r2, 5;\nmov.u32 %r4, 0;\nLOOP:\nsetp.ge.u32 %p1, %r4, %r3;\n@%p1 bra DONE;\n\
         add.s32 %r4, %r4, 1;\nbra.uni LOOP;\nDONE:\nadd.s32 %r5, %r2, 1;\n\
         shfl.sync.idx.b32 %r6|%p2, %r4, %r5, 31, -1;\nst.global.u32 [%rd3], %r6;"
    );
    let expected: Vec<_> = (0..32).map(|i| (i + 1) % 32 % 5).collect();
    assert_eq!(after(&body, 32, &[0; 32], false).unwrap(), expected);
}

/// As compilers divide small numbers: i / 5 is i * 52429 >> 18.
#[test]
fn numbers_of_16_bits() {
    let body = format!(
        "{PLACE}add.s32 %r3, %r2, 65531;\ncvt.u16.u32 %rs1, %r3;\nadd.s16 %rs1, %rs1, 5;\nmul.wide.u16 %r4, %rs1, -13107;\n\
         shr.u32 %r5, %r4, 18;\ncvt.u16.u32 %rs2, %r5;\nmul.lo.s16 %rs3, %rs2, 5;\nsub.s16 %rs4, %rs1, %rs3;\n\
         cvt.u32.u16 %r6, %rs4;\nst.global.u32 [%rd3], %r6;"
    );
    let expected: Vec<_> = numbers(64).into_iter().map(|i| i % 5).collect();
    assert_eq!(after(&body, 64, &[0; 64], false).unwrap(), expected);
}

/// What compute capability 9.0 has for bf16, and 12.0 for moving: 1.5 * 3 - 0.5 + 0.25 in the lower half of two words at once.
#[test]
fn numbers_of_newer_cards() {
    let body = format!(
        "{PLACE}mov.b16 %rs1, 0x3FC0;\nmov.b16 %rs2, 0x4040;\nmov.b16 %rs3, 0x3F00;\nmov.b16 %rs4, 0x3E80;\nmul.bf16 %rs5, %rs1, %rs2;\n\
         sub.bf16 %rs5, %rs5, %rs3;\nadd.bf16 %rs5, %rs5, %rs4;\ncvt.f32.bf16 %f1, %rs5;\nmov.b32 %r3, %f1;\nmov.b64 %rd4, {{%r2, %r3}};\n\
         setp.ne.u32 %p1, %r2, 0;\n@%p1 bra END;\nst.global.v2.b64 [%rd3], {{%rd4, %rd4}};\nld.global.v2.b64 {{%rd5, %rd6}}, [%rd3];\n\
         min.u64 %rd5, %rd5, 7;\nmov.b64 {{%r4, %r5}}, %rd6;\nadd.s32 %r5, %r5, 1;\nmov.b64 %rd6, {{%r4, %r5}};\nst.global.v2.b64 [%rd3], {{%rd5, %rd6}};\nEND:"
    );
    let number = 4.25f32.to_bits();
    assert_eq!(after(&body, 32, &[0; 4], false).unwrap(), [7, 0, 0, number + 1]);
}

#[test]
fn a_barrier_is_between_what_warps_write_and_read() {
    let reverse = |barrier: &str| {
        format!(
            "{PLACE}ld.global.u32 %r3, [%rd3];\nmov.u32 %r4, room;\nshl.b32 %r5, %r2, 2;\nadd.s32 %r6, %r4, %r5;\n\
             st.shared.u32 [%r6], %r3;\n{barrier}\nmov.u32 %r7, 63;\nsub.s32 %r7, %r7, %r2;\nshl.b32 %r7, %r7, 2;\n\
             add.s32 %r7, %r4, %r7;\nld.shared.u32 %r8, [%r7];\nst.global.u32 [%rd3], %r8;"
        )
    };
    let expected: Vec<_> = numbers(64).into_iter().rev().collect();
    for backwards in [false, true] {
        assert_eq!(after(&reverse("bar.sync 0;"), 64, &numbers(64), backwards).unwrap(), expected);
    }
    // Without it the first warp to run reads what nobody has written.
    let [forwards, backwards] = [false, true].map(|order| after(&reverse(""), 64, &numbers(64), order).unwrap());
    assert_eq!((forwards[0], backwards[63]), (u32::MAX, u32::MAX));
    assert_ne!(forwards, backwards);
}

#[test]
fn matrices_are_multiplied_with_the_bits_that_tensor_cores_read() {
    // a [16, 8] times b [8, 16], both in memory by rows.
    let list = |kind: &str, first: usize, count: usize| {
        (first..first + count).map(|i| format!("%{kind}{i}")).collect::<Vec<_>>().join(", ")
    };
    let (a, b, d) = (list("r", 10, 4), list("r", 20, 4), list("f", 10, 8));
    let zeros: String = (10..18).map(|i| format!("mov.f32 %f{i}, 0f00000000;\n")).collect();
    let body = format!(
        "{zeros}wmma.load.a.sync.aligned.row.m16n16k8.tf32 {{{a}}}, [%rd1], 8;\n\
         wmma.load.b.sync.aligned.row.m16n16k8.tf32 {{{b}}}, [%rd1+512], 16;\n\
         wmma.mma.sync.aligned.row.row.m16n16k8.f32.tf32.tf32.f32 {{{d}}}, {{{a}}}, {{{b}}}, {{{d}}};\n\
         wmma.store.d.sync.aligned.row.m16n16k8.f32 [%rd1+1024], {{{d}}}, 16;"
    );
    let value = |i: usize| (i as f32 * 0.37).sin();
    let mut words = vec![0; 512];
    for (i, word) in words.iter_mut().enumerate().take(256) {
        *word = value(i).to_bits();
    }
    let found = after(&body, 32, &words, false).unwrap();
    let short = |i: usize| f32::from_bits(value(i).to_bits() & !0x1FFF);
    for (row, column) in [(0, 0), (3, 11), (15, 15)] {
        let expected: f32 = (0..8).map(|k| short(row * 8 + k) * short(128 + k * 16 + column)).sum();
        let found = f32::from_bits(found[256 + row * 16 + column]);
        assert!((found - expected).abs() < 1e-6, "{row}, {column}: {found}, not {expected}");
    }
    // Half a warp cannot.
    let part = format!("setp.ge.u32 %p1, %r2, 16;\n@%p1 bra END;\n{body}\nEND:");
    assert!(after(&part, 32, &words, false).unwrap_err().contains("only the threads 0xffff"));
}

#[test]
fn fragments_lie_where_mma_and_ldmatrix_say() {
    // a [16, 16] and b [16, 8] in bf16 go to shared memory by copies of 16 bytes; d [16, 8] is stored as mma leaves it.
    let body = "\
        mov.u32 %r3, room;\nshl.b32 %r4, %r2, 4;\nadd.s32 %r5, %r3, %r4;\nmul.wide.u32 %rd2, %r4, 1;\nadd.s64 %rd3, %rd1, %rd2;\n\
        setp.lt.u32 %p1, %r2, 16;\nselp.b32 %r6, 16, 0, %p1;\n\
        cp.async.cg.shared::cta.global [%r5], [%rd3], 16, 16;\n\
        cp.async.ca.shared::cta.global [%r5+512], [%rd3+512], 16, %r6;\ncp.async.commit_group;\ncp.async.wait_group 0;\nbar.sync 0;\n\
        and.b32 %r7, %r2, 15;\nshl.b32 %r8, %r7, 5;\nshr.u32 %r9, %r2, 4;\nshl.b32 %r9, %r9, 4;\nadd.s32 %r8, %r8, %r9;\n\
        add.s32 %r8, %r8, %r3;\nldmatrix.sync.aligned.m8n8.x4.shared::cta.b16 {%r10, %r11, %r12, %r13}, [%r8];\n\
        shl.b32 %r7, %r7, 4;\nadd.s32 %r7, %r7, %r3;\nldmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16 {%r20, %r21}, [%r7+512];\n\
        mov.f32 %f1, 0f00000000;\nmma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f10, %f11, %f12, %f13}, \
        {%r10, %r11, %r12, %r13}, {%r20, %r21}, {%f1, %f1, %f1, %f1};\n\
        mul.wide.u32 %rd4, %r2, 8;\nadd.s64 %rd5, %rd1, %rd4;\n\
        st.global.v2.f32 [%rd5+768], {%f10, %f11};\nst.global.v2.f32 [%rd5+1024], {%f12, %f13};";
    let value = |i: usize| ((i * 7 % 23) as f32 - 11.0) / 4.0;
    let brain = |i: usize| value(i).to_bits() >> 16;
    let mut words = vec![0; 192 + 128];
    for (i, word) in words.iter_mut().enumerate().take(192) {
        *word = brain(2 * i) | brain(2 * i + 1) << 16;
    }
    let found = after(body, 32, &words, false).unwrap();
    for (row, column) in (0..16).flat_map(|row| (0..8).map(move |column| (row, column))) {
        let expected: f32 = (0..16).map(|k| value(row * 16 + k) * value(256 + k * 8 + column)).sum();
        assert_eq!(f32::from_bits(found[192 + row * 8 + column]), expected, "{row}, {column}");
    }
}

#[test]
fn a_copy_of_fewer_bytes_leaves_noughts_and_threads_add_one_after_the_other() {
    // 16 bytes of which 4 are copied, read back through a generic address; then every thread adds 1.5 to the first number.
    let body = "\
        mov.u32 %r3, room;\nmov.u32 %r4, 4;\nsetp.ne.s32 %p1, %r2, 0;\n@%p1 bra WAIT;\n\
        cp.async.ca.shared::cta.global [%r3], [%rd1+16], 16, %r4;\nWAIT:\nbar.sync 0;\n\
        cvt.u64.u32 %rd2, %r3;\ncvta.shared.u64 %rd2, %rd2;\nld.v4.u32 {%r5, %r6, %r7, %r8}, [%rd2];\n\
        @%p1 bra ADD;\nst.global.v4.u32 [%rd1+16], {%r5, %r6, %r7, %r8};\nADD:\n\
        mov.f32 %f1, 0f3FC00000;\natom.relaxed.add.f32 %f2, [%rd1], %f1;";
    let found = after(body, 64, &[0, 0, 0, 0, 5, 6, 7, 8], false).unwrap();
    assert_eq!(found[4..], [5, 0, 0, 0]);
    assert_eq!(f32::from_bits(found[0]), 96.0);
}

#[test]
fn what_a_card_would_refuse_is_told_with_its_operation() {
    let beyond = format!("{PLACE}st.global.u32 [%rd3+4], %r2;");
    let fault = after(&beyond, 32, &[0; 32], false).unwrap_err();
    assert!(fault.contains("k: 4 bytes at") && fault.contains("not of its memory: st.global.u32"), "{fault}");
    let crooked = format!("{PLACE}ld.global.v2.f32 {{%f1, %f2}}, [%rd3];");
    assert!(after(&crooked, 32, &[0; 33], false).unwrap_err().contains("not aligned"));
    let unknown = after("frobnicate.u32 %r1, %r2;", 32, &[0], false).unwrap_err();
    assert_eq!(unknown, "frobnicate.u32 %r1, %r2");
}

#[test]
fn numbers_are_rounded_as_asked() {
    let one = |op, a: u32| word(op, &[a; 32], &[0; 32], &[0; 32])[5];
    let float = |op, a: u32| f32::from_bits(one(op, a));
    // 2^24 + 1 lies between two floats.
    for (rounding, expected) in [
        (Rounding::Nearest, 16_777_216.0),
        (Rounding::Zero, 16_777_216.0),
        (Rounding::Down, 16_777_216.0),
        (Rounding::Up, 16_777_218.0),
    ] {
        assert_eq!(float(Word::ToFloatFromSigned(rounding), 16_777_217), expected);
    }
    assert_eq!(float(Word::ToFloatFromSigned(Rounding::Down), -16_777_217_i32 as u32), -16_777_218.0);
    // A tie goes away from zero.
    assert_eq!(one(Word::ToTensorFloat, 0x3F80_1000), 0x3F80_2000);
    assert_eq!(one(Word::ToTensorFloat, 0x3F80_0FFF), 0x3F80_0000);
    assert_eq!(one(Word::ToBrain, 0x3F80_8000), 0x3F80);
    assert_eq!(float(Word::Saturate, f32::NAN.to_bits()), 0.0);
    let (a, b): (Words, Words) = ([f32::NAN.to_bits(); 32], [1.0_f32.to_bits(); 32]);
    let holds = |relation| compare(Compare { relation, kind: Kind::Float }, &a, &b);
    assert_eq!([Relation::NotEqual, Relation::Less, Relation::GreaterOrEqual].map(holds), [0; 3]);
    assert_eq!([Relation::NotEqualUnordered, Relation::LessUnordered].map(holds), [u32::MAX; 2]);
}
