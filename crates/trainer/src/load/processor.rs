//! Processor time, from whatever the system tells it by.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// Shares of all processors since the last reading.
pub(super) struct ProcessorReader {
    /// None where the system tells nothing.
    system: Option<System>,
    own: Pid,
}

impl ProcessorReader {
    pub(super) fn new() -> ProcessorReader {
        let mut reader = ProcessorReader { system: System::new().ok(), own: Pid::from_u32(std::process::id()) };
        // A share is that of the time between two looks.
        reader.read();
        reader
    }

    /// By all programs, and by this one, from 0 to 1.
    pub(super) fn read(&mut self) -> (f32, f32) {
        let Some(system) = &mut self.system else { return (0.0, 0.0) };
        system.refresh_cpu_usage();
        let what = ProcessRefreshKind::nothing().with_cpu();
        system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.own]), false, what);
        // A process is counted in hundredths of one processor.
        let own = system.process(self.own).map_or(0.0, sysinfo::Process::cpu_usage) / system.cpus().len().max(1) as f32;
        let share = |percent: f32| if percent.is_finite() { (percent / 100.0).clamp(0.0, 1.0) } else { 0.0 };
        (share(system.global_cpu_usage()), share(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_of_this_process_shows() {
        let mut reader = ProcessorReader::new();
        let mut sum = 1_u64;
        // As much work as the system needs to see any.
        let seen = (0..10_000).map(|_| {
            (0..1_000_000).for_each(|_| sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(7)));
            reader.read()
        });
        let mut seen = seen;
        let seen = seen.find(|(all, own)| *all > 0.0 && *own > 0.0);
        assert!(seen.is_some_and(|(all, own)| all <= 1.0 && own <= 1.0), "{seen:?}");
    }
}
