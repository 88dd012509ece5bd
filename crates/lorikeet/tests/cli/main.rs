//! The program from outside: what it prints, what it leaves on disk, how it ends.
#![allow(clippy::unwrap_used, reason = "clippy counts only functions marked #[test] as tests")]

mod bad_input;
mod commands;
mod common;
mod runs;
