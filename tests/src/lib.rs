//! Whole-program tests live in `tests/`: parity with the reference implementations, the rules of ARCHITECTURE.md.
//! Runs through the command line are tested in `crates/lorikeet/tests`.

use std::error::Error;
use std::process::ExitCode;

/// Runs a tool of this package on its arguments; what went wrong is told in words.
pub fn tool(run: impl FnOnce(&[String]) -> Result<(), Box<dyn Error>>) -> ExitCode {
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
