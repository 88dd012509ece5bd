//! Reading weights from their file before they are needed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use crate::RawTensor;

/// Bytes of a memory page, or less: touching one byte in so many reads all of them.
const PAGE: usize = 4096;
/// Bytes between two looks at whether something newer is asked for.
const PIECE: usize = 1 << 20;

/// A thread that touches the pages of mapped weights, so that they are in memory when the thread of the tensors comes to
/// them. It copies and converts nothing: the pages are the system's, which takes them back when memory is short, so being
/// ahead costs no memory of this program, and a number cannot come out differently for it.
///
/// A newer request ends an older one, as the model is at the older one's segment by then: at most one segment is read ahead.
pub struct Prefetch {
    /// Until the end.
    requests: Option<SyncSender<(u64, Vec<RawTensor>)>>,
    newest: Arc<AtomicU64>,
    thread: Option<JoinHandle<u64>>,
}

impl Prefetch {
    /// # Errors
    /// When the system has no thread left.
    pub fn start() -> io::Result<Self> {
        let (requests, asked) = sync_channel::<(u64, Vec<RawTensor>)>(1);
        let newest = Arc::new(AtomicU64::new(0));
        let latest = newest.clone();
        let thread = Builder::new().name("lorikeet-prefetch".to_owned()).spawn(move || {
            let mut read = 0;
            for (number, weights) in asked {
                for piece in
                    weights.iter().flat_map(|weight| &weight.pieces).flat_map(|rows| rows.bytes().chunks(PIECE))
                {
                    if latest.load(Ordering::Relaxed) != number {
                        break;
                    }
                    piece.iter().step_by(PAGE).for_each(|byte| _ = std::hint::black_box(*byte));
                    read += piece.len() as u64;
                }
            }
            read
        })?;
        Ok(Self { requests: Some(requests), newest, thread: Some(thread) })
    }

    /// Asks for the weights of the next segment. Returns at once, or when an older request has ended its piece.
    pub fn read(&self, weights: Vec<RawTensor>) {
        let number = self.newest.fetch_add(1, Ordering::Relaxed) + 1;
        // The thread lives as long as `self`; without it weights are read when they are needed.
        if let Some(requests) = &self.requests {
            requests.send((number, weights)).ok();
        }
    }

    /// Waits for what was asked for last, and ends. Returns how many bytes were read ahead in all.
    pub fn finish(mut self) -> u64 {
        self.requests = None;
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or(0)
    }
}

impl Drop for Prefetch {
    /// Ends what is being read.
    fn drop(&mut self) {
        self.newest.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RawFormat;

    fn weight(bytes: usize) -> RawTensor {
        let owner = Arc::new(vec![0u8; bytes + 10]);
        RawTensor::new(RawFormat::F16, owner, 10..bytes + 10)
    }

    #[test]
    fn the_newest_request_is_read_to_its_end() {
        let prefetch = Prefetch::start().unwrap();
        prefetch.read(vec![weight(3 * PIECE + 7), weight(100)]);
        assert_eq!(prefetch.finish(), 3 * PIECE as u64 + 107);

        let prefetch = Prefetch::start().unwrap();
        prefetch.read(vec![weight(64 * PIECE)]);
        prefetch.read(vec![weight(PIECE)]);
        let read = prefetch.finish();
        assert!((PIECE as u64..=65 * PIECE as u64).contains(&read), "{read}");
    }
}
