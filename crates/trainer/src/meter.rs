//! What a run tells about itself at every step, and its memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

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

/// Watches the memory that this process has for itself, on a thread of its own, so that a peak within a step is seen.
pub(crate) struct Gauge {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    /// The most since the start, and since it was last asked for.
    peak: AtomicU64,
    recent: AtomicU64,
    stop: AtomicBool,
}

impl Seen {
    fn look(&self) -> u64 {
        let now = own_bytes();
        self.peak.fetch_max(now, Ordering::Relaxed);
        self.recent.fetch_max(now, Ordering::Relaxed);
        now
    }
}

impl Gauge {
    /// Time between two looks; one takes about 0.1 ms.
    const EVERY: Duration = Duration::from_millis(50);

    pub(crate) fn start() -> Self {
        let seen = Arc::new(Seen::default());
        let thread = Builder::new().name("lorikeet-gauge".to_owned());
        let on_thread = seen.clone();
        let watch = move || {
            while !on_thread.stop.load(Ordering::Relaxed) {
                on_thread.look();
                std::thread::park_timeout(Self::EVERY);
            }
        };
        // Without the thread it still looks when it is asked.
        Self { seen, thread: thread.spawn(watch).ok() }
    }

    /// Bytes now.
    pub(crate) fn look(&self) -> u64 {
        self.seen.look()
    }

    /// The most since the start.
    pub(crate) fn peak(&self) -> u64 {
        self.seen.look();
        self.seen.peak.load(Ordering::Relaxed)
    }

    /// The most since the last call.
    pub(crate) fn take_recent(&self) -> u64 {
        self.seen.look();
        self.seen.recent.swap(0, Ordering::Relaxed)
    }
}

impl Drop for Gauge {
    fn drop(&mut self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }
}

/// Memory of this process that no file stands behind, so that the system cannot take it back. Where the system does not
/// tell it apart, all that is in RAM.
fn own_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kibibytes = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.map_or_else(resident_bytes, |kibibytes| kibibytes << 10)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_seen() {
        let gauge = Gauge::start();
        let before = gauge.look();
        // Much more than the tests beside this one take and give back meanwhile.
        let taken = vec![1u8; 1 << 30];
        let least = before + (1 << 29);
        std::hint::black_box(&taken);
        assert!(gauge.look() >= least);
        drop(taken);
        assert!(gauge.peak() >= least);
        assert!(gauge.take_recent() >= least);
    }
}
