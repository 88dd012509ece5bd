//! What a run tells about itself at every step.

/// Exponential average with the bias of its start taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SmoothedLoss {
    sum: f64,
    weight: f64,
}

impl SmoothedLoss {
    const DECAY: f64 = 0.97;

    pub(crate) fn add(&mut self, loss: f32) -> f32 {
        self.sum = Self::DECAY * self.sum + (1.0 - Self::DECAY) * f64::from(loss);
        self.weight = Self::DECAY * self.weight + (1.0 - Self::DECAY);
        (self.sum / self.weight) as f32
    }
}

/// Memory of this process that is in RAM.
pub(crate) fn resident_bytes() -> u64 {
    use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
    let pid = Pid::from_u32(std::process::id());
    let Ok(mut system) = System::new() else { return 0 };
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, what);
    system.process(pid).map_or(0, sysinfo::Process::memory)
}
