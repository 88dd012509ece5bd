//! The program from outside: what it prints, what it leaves on disk, how it ends.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod bad_input;
mod commands;
mod common;
mod queue;
mod runs;
mod worker;
