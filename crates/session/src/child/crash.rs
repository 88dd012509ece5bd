//! The end of a worker's process in words, from how the system tells it.

use std::process::ExitStatus;

use lorikeet_protocol::Failure;

/// What was lost with the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    Run,
    Export,
    Plan,
    Drawing,
}

/// `last_words`: what the process printed last.
pub(super) fn failure(lost: Lost, status: Option<ExitStatus>, last_words: &str) -> Failure {
    let (why, todo) = cause(status.map(how));
    let what = match lost {
        Lost::Run => "Training ended all at once: its process is gone",
        Lost::Export => "The LoRA was not exported: the process that was at it is gone",
        Lost::Plan => "There is no plan: the process that made it is gone",
        Lost::Drawing => "Nothing was drawn: the process that was at it is gone",
    };
    let last = last_words.lines().map(str::trim).rfind(|line| !line.is_empty());
    let why = match last {
        Some(line) => format!("{why}. The last it printed is: {line}"),
        None => why,
    };
    let again = if lost == Lost::Run { "Continue the run from its last save" } else { "Try again" };
    Failure { what: what.to_owned(), why, todo: format!("{again}. {todo}"), last_save: None }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Code(i32),
    Signal(i32),
}

#[cfg(unix)]
fn how(status: ExitStatus) -> How {
    use std::os::unix::process::ExitStatusExt as _;
    status.signal().map_or_else(|| How::Code(status.code().unwrap_or_default()), How::Signal)
}

#[cfg(not(unix))]
fn how(status: ExitStatus) -> How {
    How::Code(status.code().unwrap_or_default())
}

fn cause(how: Option<How>) -> (String, &'static str) {
    const MEMORY: &str = "If memory ran out: close other programs, or set memory.limit, a smaller train.batch, or \
                          memory.weights to stream";
    const DRIVER: &str =
        "If it happens again: update the driver of the graphics card, or train on the CPU (run.device)";
    const OUTSIDE: &str = "Look for who ended it: another user, a task manager, or the system shutting down";
    const UNKNOWN: &str = "If it happens again, please report it with the run's log.txt";
    const FILE: &str = "Look whether the base is there and whole, and its drive connected";
    // Mapped bytes that are no longer there.
    const BUS: i32 = if cfg!(target_os = "macos") { 10 } else { 7 };
    // What 0xC0000005 is as the number that Windows gives.
    const ACCESS_VIOLATION: i32 = 0xC000_0005_u32.cast_signed();
    match how {
        Some(How::Signal(9)) => {
            ("the system or a person killed it (signal 9). Systems do that when memory runs out".to_owned(), MEMORY)
        }
        Some(How::Signal(BUS)) => (
            format!("a file that it read, most likely the base, was cut short or its drive went away (signal {BUS})"),
            FILE,
        ),
        Some(How::Signal(signal @ (4 | 6 | 8 | 11))) => {
            let name = match signal {
                4 => "an instruction that this processor does not know",
                6 => "it gave up itself",
                8 => "an impossible calculation",
                _ => "memory that is not its own",
            };
            (format!("it crashed ({name}, signal {signal}), as faults of a graphics driver look"), DRIVER)
        }
        Some(How::Signal(signal @ (1 | 2 | 3 | 15))) => (format!("it was asked to end (signal {signal})"), OUTSIDE),
        Some(How::Signal(signal)) => (format!("it was ended by signal {signal}"), UNKNOWN),
        Some(How::Code(ACCESS_VIOLATION)) => {
            ("it crashed (memory that is not its own), as faults of a graphics driver look".to_owned(), DRIVER)
        }
        Some(How::Code(0)) => ("it ended without a word".to_owned(), UNKNOWN),
        Some(How::Code(code)) => (format!("it ended with code {code}"), UNKNOWN),
        None => ("the system does not tell how it ended".to_owned(), UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_end_is_told_with_what_to_do() {
        let (why, todo) = cause(Some(How::Signal(9)));
        assert!(why.contains("memory runs out") && todo.contains("memory.limit"), "{why} {todo}");
        let (why, todo) = cause(Some(How::Signal(11)));
        assert!(why.contains("graphics driver") && todo.contains("run.device"), "{why} {todo}");
        let (why, todo) = cause(Some(How::Signal(if cfg!(target_os = "macos") { 10 } else { 7 })));
        assert!(why.contains("was cut short") && todo.contains("the base is there"), "{why} {todo}");
        assert!(cause(Some(How::Signal(15))).0.contains("asked to end"));
        assert!(cause(Some(How::Code(101))).0.contains("code 101"));
    }

    #[test]
    fn the_settings_it_speaks_of_exist() {
        for id in ["memory.limit", "train.batch", "memory.weights", "run.device"] {
            assert!(lorikeet_recipe::setting(id).is_some(), "{id}");
        }
    }

    #[test]
    fn the_last_line_printed_is_told() {
        let failure = failure(Lost::Run, None, "loading\nCUDA_ERROR_ILLEGAL_ADDRESS\n\n");
        assert!(failure.why.ends_with("The last it printed is: CUDA_ERROR_ILLEGAL_ADDRESS"), "{failure}");
        assert!(failure.todo.starts_with("Continue the run"), "{failure}");
    }
}
