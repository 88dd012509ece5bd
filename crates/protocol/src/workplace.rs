//! In which process runs work.

use serde::{Deserialize, Serialize};

/// Where a run works. A process of its own may crash, or run out of memory, and the face lives on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workplace {
    /// A process of its own for every run, and for all that computes on a graphics card, whose driver can take its process down;
    /// a thread for what ends soon on the CPU.
    #[default]
    Auto,
    /// A thread of this process.
    Thread,
    /// A child process for everything.
    Child,
}

impl Workplace {
    pub const ALL: [Workplace; 3] = [Workplace::Auto, Workplace::Thread, Workplace::Child];

    pub fn id(self) -> &'static str {
        match self {
            Workplace::Auto => "auto",
            Workplace::Thread => "thread",
            Workplace::Child => "child",
        }
    }

    pub fn from_id(id: &str) -> Option<Workplace> {
        Self::ALL.into_iter().find(|workplace| workplace.id() == id.trim())
    }
}
