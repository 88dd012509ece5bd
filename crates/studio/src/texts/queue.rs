//! The queue, on the Runs page.

use std::fmt::Display;

use crate::format::plural;

pub(crate) const TITLE: &str = "Queue";
pub(crate) const FORGET_ENDED: &str = "Forget the ended runs of the queue";

pub(crate) const ELSEWHERE: &str = "Another program works this queue in the background";

pub(crate) fn done(run: &str) -> String {
    format!("{run} is done")
}

pub(crate) fn stopped(run: &str) -> String {
    format!("{run} was stopped and saved")
}

pub(crate) fn failed(run: &str, what: &str) -> String {
    format!("{run} failed. {what}")
}

pub(crate) fn interrupted(run: &str) -> String {
    format!("{run} was interrupted. It goes on first when the queue is started")
}

pub(crate) fn is_on(run: &str) -> String {
    format!("{run} is on")
}

pub(crate) fn to_go_after(runs: u64) -> String {
    plural(
        runs,
        "# run to go, one after another, after the one that is on",
        "# runs to go, one after another, after the one that is on",
    )
}

pub(crate) fn to_go(runs: u64) -> String {
    plural(runs, "# run to go", "# runs to go")
}

pub(crate) fn wait(runs: u64) -> String {
    plural(runs, "# run waits until the queue is started", "# runs wait until the queue is started")
}

pub(crate) fn drag(run: &str) -> String {
    format!("Drag {run} to another place")
}

pub(crate) fn take_out(run: &str) -> String {
    format!("Take {run} out of the queue")
}

pub(crate) fn edit(run: &str) -> String {
    format!("Take {run} out and change its recipe")
}

pub(crate) fn move_down(run: &str) -> String {
    format!("Move {run} down")
}

pub(crate) fn move_up(run: &str) -> String {
    format!("Move {run} up")
}

// Messages

pub(crate) const ADDED_GOING: &str = "Added to the queue, which goes on after this run";
pub(crate) const ADDED: &str = "Added to the queue. Start it on the Runs page";

pub(crate) fn failed_goes_on(run: &str) -> String {
    format!("{run} failed; the queue goes on with the next run")
}

pub(crate) fn unreadable(runs: u64, path: impl Display) -> String {
    plural(
        runs,
        "# queued run cannot be read by this version. They stay in the file and are not done: {path}",
        "# queued runs cannot be read by this version. They stay in the file and are not done: {path}",
    )
    .replace("{path}", &path.to_string())
}
