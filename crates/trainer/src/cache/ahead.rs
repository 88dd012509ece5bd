//! Work done ahead of the one who needs it, on threads of its own.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

/// Two, so that a card that encodes twice as fast as one of them decodes need not wait. On the CPU, where encoding takes all
/// cores, more would only hold more pictures in memory.
const THREADS: usize = 2;

/// Results a thread may have waiting, beside the one that it works on.
const WAITING: usize = 1;

/// Runs `make` over `items` a few ahead of `take`, which gets the results in the order of `items`. Dropping the results
/// ends the threads after what they are working on.
pub(super) fn ahead<T: Sync, R: Send, O>(
    items: &[T],
    make: impl Fn(&T) -> R + Sync,
    take: impl FnOnce(Results<R>) -> O,
) -> O {
    thread::scope(|scope| {
        let make = &make;
        let threads = THREADS.min(items.len());
        let receivers = (0..threads)
            .map(|first| {
                let (sender, receiver) = sync_channel(WAITING);
                // Every thread takes its own share in order, so the results need no sorting.
                scope.spawn(move || {
                    for item in items.iter().skip(first).step_by(threads) {
                        if sender.send(make(item)).is_err() {
                            return;
                        }
                    }
                });
                receiver
            })
            .collect();
        take(Results { receivers, next: 0 })
    })
}

/// In the order of the items.
pub(super) struct Results<R> {
    receivers: Vec<Receiver<R>>,
    next: usize,
}

impl<R> Iterator for Results<R> {
    type Item = R;

    fn next(&mut self) -> Option<R> {
        let result = self.receivers.get(self.next)?.recv().ok()?;
        self.next = (self.next + 1) % self.receivers.len();
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn results_come_in_order_and_never_far_ahead() {
        for count in [0, 1, 2, 3, 100] {
            let items: Vec<usize> = (0..count).collect();
            let begun = AtomicUsize::new(0);
            let make = |item: &usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                item * 2
            };
            let got = ahead(&items, make, |results| {
                let mut got = Vec::new();
                for result in results {
                    got.push(result);
                    // Each thread: one being made, and those that wait; the one taken last may make room at once.
                    assert!(begun.load(Ordering::SeqCst) <= got.len() + THREADS * (WAITING + 1));
                }
                got
            });
            assert_eq!(got, items.iter().map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_next_are_made_while_one_is_taken() {
        let (made, next_made) = sync_channel(4);
        let made = |item: &usize| {
            made.send(*item).unwrap();
            *item
        };
        ahead(&[0, 1, 2, 3], made, |mut results| {
            assert_eq!(results.next(), Some(0));
            // Waits for ever if nothing is made until the next is asked for.
            let mut seen: Vec<usize> = (0..4).map(|_| next_made.recv().unwrap()).collect();
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2, 3]);
        });
    }

    #[test]
    fn dropping_the_results_ends_the_threads() {
        let items: Vec<usize> = (0..1000).collect();
        let begun = AtomicUsize::new(0);
        let make = |_: &usize| begun.fetch_add(1, Ordering::SeqCst);
        ahead(&items, make, drop);
        assert!(begun.load(Ordering::SeqCst) <= THREADS * (WAITING + 1));
    }
}
