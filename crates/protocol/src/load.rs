//! How busy the machine is while a run goes on.

use serde::{Deserialize, Serialize};

/// A reading of all programs together, taken about once a second. Shares are from 0 to 1.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// Of all processors, and of that the part of the run's own process.
    pub processor: f32,
    pub own_processor: f32,
    /// The graphics card that the run computes on, where its driver tells of it.
    pub card: Option<CardLoad>,
    /// Kernels that were tuned so far: of each kind several are tried the first time a card meets a shape, which makes the first
    /// steps slow. 0 where that was done in an earlier run, and on the CPU.
    pub tuned: u64,
}

/// A graphics card. What its driver does not tell is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct CardLoad {
    pub name: String,
    /// Share of the time in which it computed anything.
    pub busy: Option<f32>,
    pub memory: Option<CardMemory>,
    pub celsius: Option<u32>,
    pub watts: Option<f32>,
    /// Up to which it may go.
    pub watts_limit: Option<f32>,
}

/// Memory on a card, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardMemory {
    pub total: u64,
    /// By all programs.
    pub used: u64,
    /// By the run's process; the driver of Windows does not tell it apart.
    pub own: Option<u64>,
}

impl CardMemory {
    /// What other programs have, where it is known.
    pub fn of_others(&self) -> Option<u64> {
        self.own.map(|own| self.used.saturating_sub(own))
    }
}
