//! The subcommands.

pub(crate) mod demo;
pub(crate) mod download;
pub(crate) mod files;
pub(crate) mod queue;
pub(crate) mod sample;
pub(crate) mod settings;
pub(crate) mod studio;
pub(crate) mod train;
pub(crate) mod wish;
pub(crate) mod worker;
