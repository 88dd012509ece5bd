//! Whole-program tests live in `tests/`: parity with the reference implementations, the rules of ARCHITECTURE.md.
//! Runs through the command line are tested in `crates/lorikeet/tests`.
