//! Closing the window while a run is on.

use crate::format::plural;

pub(crate) const SAVING: &str = "Saving before the window closes";
pub(crate) const SAVING_HELP: &str = "The step that is under way is done first";
pub(crate) const KEEP_OPEN: &str = "Keep the window open";
pub(crate) const TITLE: &str = "Training is going on";
pub(crate) const HELP: &str = "\
    The run can be stopped with a save, and continued later. Or it goes on in the background: the next time this \
    window is opened, it shows the run again";
pub(crate) const HELP_WITHOUT_BACKGROUND: &str =
    "The run is stopped with a save first, and can be continued later from there";
pub(crate) const IN_BACKGROUND: &str = "Go on in the background";

pub(crate) fn queue_goes_on(runs: u64) -> String {
    plural(runs, "The queue (# run) goes on in the background too", "The queue (# runs) goes on in the background too")
}

pub(crate) fn queue_waits(runs: u64) -> String {
    plural(
        runs,
        "The queue (# run) waits until it is started again",
        "The queue (# runs) waits until it is started again",
    )
}
