//! How busy the processors and the card are, read once a second on a thread of its own.

mod card;
mod processor;

use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use lorikeet_nn::{DeviceKind, device};
use lorikeet_protocol::{Event, Load};

use crate::{Aside, Host};
use card::CardReader;
use processor::ProcessorReader;

/// Time between two readings. One takes some milliseconds of its thread, most of them in the card's driver.
const EVERY: Duration = Duration::from_secs(1);

/// Tells readings as long as it lives.
pub(crate) struct LoadWatch {
    /// Closed at the end.
    stop: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl LoadWatch {
    /// Of a run that computes on this device. Without anybody to tell, or without a thread, nothing is read.
    pub(crate) fn start(kind: DeviceKind, host: &dyn Host) -> LoadWatch {
        match host.aside() {
            Some(tell) => LoadWatch::reading(EVERY, tell, move || {
                let (mut processor, mut card) = (ProcessorReader::new(), CardReader::new(kind));
                move || {
                    let (all, own) = processor.read();
                    Load { processor: all, own_processor: own, card: card.read(), tuned: device::kernels_tuned() }
                }
            }),
            None => LoadWatch { stop: None, thread: None },
        }
    }

    /// `source` is made on the thread: the card's driver takes its time to answer for the first time.
    fn reading<R: FnMut() -> Load>(
        every: Duration,
        tell: Aside,
        source: impl FnOnce() -> R + Send + 'static,
    ) -> LoadWatch {
        let (stop, stopped) = sync_channel(0);
        let thread = Builder::new().name("lorikeet-load".to_owned()).spawn(move || {
            let mut read = source();
            while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                tell(Event::Load(read()));
            }
        });
        LoadWatch { stop: Some(stop), thread: thread.ok() }
    }
}

impl Drop for LoadWatch {
    fn drop(&mut self) {
        self.stop = None;
        // Waited for, so that nothing is told after the run's end. A panic there is one of ours, and costs only readings.
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_are_told_from_a_thread_of_their_own_until_the_run_is_over() {
        let (sender, told) = sync_channel(4);
        // What comes after the first four is for nobody.
        let tell: Aside = Box::new(move |event| sender.try_send((event, std::thread::current().id())).unwrap_or(()));
        let mut count = 0.0;
        let watch = LoadWatch::reading(Duration::ZERO, tell, move || {
            move || {
                count += 1.0;
                Load { processor: count, ..Load::default() }
            }
        });
        for expected in [1.0, 2.0, 3.0] {
            let (event, thread) = told.recv().unwrap();
            assert_eq!(event, Event::Load(Load { processor: expected, ..Load::default() }));
            assert_ne!(thread, std::thread::current().id());
        }
        drop(watch);
        // Ends only because the thread is gone, and its sender with it.
        assert!(told.iter().count() <= 4);
    }
}
