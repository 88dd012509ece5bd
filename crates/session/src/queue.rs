//! Events between the worker and a face that may be slow.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lorikeet_protocol::Event;

/// Steps and readings of the load that may wait. A face that draws 60 times a second never has that many waiting.
const WAITING_STEPS: usize = 256;

type Wake = Box<dyn Fn() + Send + Sync>;

/// Keeps every event but steps and readings: when [`WAITING_STEPS`] wait, the oldest of them makes room. Nothing else a run tells
/// comes often enough to need a bound: previews, saves and stages are some for each hundred steps. Pushing never waits.
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    wake: Mutex<Option<Wake>>,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    droppable: usize,
}

impl EventQueue {
    pub(crate) fn new() -> EventQueue {
        EventQueue { waiting: Mutex::new(Waiting::default()), wake: Mutex::new(None) }
    }

    pub(crate) fn push(&self, event: Event) {
        {
            let mut waiting = lock(&self.waiting);
            if event.may_drop() {
                if waiting.droppable == WAITING_STEPS {
                    if let Some(oldest) = waiting.events.iter().position(Event::may_drop) {
                        waiting.events.remove(oldest);
                    }
                } else {
                    waiting.droppable += 1;
                }
            }
            waiting.events.push_back(event);
        }
        if let Some(wake) = lock(&self.wake).as_ref() {
            wake();
        }
    }

    /// All events since the last call, in order.
    pub(crate) fn take(&self) -> VecDeque<Event> {
        std::mem::take(&mut *lock(&self.waiting)).events
    }

    pub(crate) fn set_wake(&self, wake: Wake) {
        *lock(&self.wake) = Some(wake);
    }
}

/// A panic elsewhere leaves queue and waker whole: each change to them is one call.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lorikeet_protocol::Step;

    fn step(step: u64) -> Event {
        Event::Step(Step { step, ..Default::default() })
    }

    fn warning(number: u64) -> Event {
        Event::Warning { message: number.to_string() }
    }

    #[test]
    fn old_steps_make_room_and_nothing_else_does() {
        let queue = EventQueue::new();
        for number in 1..=2_000 {
            queue.push(step(number));
            if number % 2 == 0 {
                queue.push(warning(number));
            }
        }
        let events = queue.take();
        let steps: Vec<u64> =
            events.iter().filter_map(|e| if let Event::Step(s) = e { Some(s.step) } else { None }).collect();
        assert_eq!(steps, (2_000 - WAITING_STEPS as u64 + 1..=2_000).collect::<Vec<_>>());
        let warnings: Vec<&Event> = events.iter().filter(|e| !e.may_drop()).collect();
        assert_eq!(warnings.len(), 1_000);
        assert_eq!(warnings[0], &warning(2));
        assert!(queue.take().is_empty());
    }

    #[test]
    fn a_taken_queue_has_room_again() {
        let queue = EventQueue::new();
        (0..300).for_each(|number| queue.push(step(number)));
        assert_eq!(queue.take().len(), WAITING_STEPS);
        (0..WAITING_STEPS as u64).for_each(|number| queue.push(step(number)));
        assert_eq!(queue.take().front(), Some(&step(0)));
    }
}
