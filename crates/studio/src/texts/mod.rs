//! Every text that a person reads in the studio, a file for each page. A translator works in this folder alone.
//!
//! A fixed text is a constant. One with values is a function that takes them as they are and writes the whole sentence, so
//! that another language can put them in another order; numbers come out of [`format`](crate::format), and one that
//! decides between singular and plural goes through [`plural`](crate::format::plural). What other crates say (settings,
//! errors, the doctor) is said there.

pub(crate) mod closing;
pub(crate) mod commands;
pub(crate) mod common;
pub(crate) mod compare;
pub(crate) mod dataset;
pub(crate) mod dialogs;
pub(crate) mod draw;
pub(crate) mod export;
pub(crate) mod hub;
pub(crate) mod import;
pub(crate) mod model;
pub(crate) mod monitor;
pub(crate) mod queue;
pub(crate) mod recipes;
pub(crate) mod runs;
pub(crate) mod samples;
pub(crate) mod settings;
pub(crate) mod shell;
pub(crate) mod training;
pub(crate) mod units;
pub(crate) mod welcome;

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests;
