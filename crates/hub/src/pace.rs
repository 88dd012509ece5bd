//! How fast a download is, and how long it still takes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Long enough to be calm, short enough to notice a change.
const WINDOW: Duration = Duration::from_secs(8);
/// Before that a speed says nothing.
const LEAST: Duration = Duration::from_millis(500);

/// Speed over the last few seconds.
#[derive(Clone, Debug, Default)]
pub struct Pace {
    seen: VecDeque<(Instant, u64)>,
}

impl Pace {
    /// Notes how much is done.
    pub fn note(&mut self, now: Instant, done: u64) {
        // What was on the disk already is no speed.
        if self.seen.back().is_some_and(|(_, before)| *before > done) {
            self.seen.clear();
        }
        self.seen.push_back((now, done));
        while self.seen.len() > 2 && self.seen.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.seen.pop_front();
        }
    }

    /// Bytes a second.
    pub fn speed(&self) -> Option<f64> {
        let ((first, from), (last, to)) = (self.seen.front()?, self.seen.back()?);
        let time = last.duration_since(*first);
        (time >= LEAST).then(|| (to - from) as f64 / time.as_secs_f64())
    }

    /// Seconds until all of `total` is there.
    pub fn seconds_left(&self, total: u64) -> Option<f64> {
        let (_, done) = self.seen.back()?;
        let speed = self.speed().filter(|speed| *speed > 0.0)?;
        Some(total.saturating_sub(*done) as f64 / speed)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        pace.note(at(0), 1_000);
        assert_eq!(pace.speed(), None);
        pace.note(at(2), 3_000);
        assert_eq!(pace.speed(), Some(1_000.0));
        assert_eq!(pace.seconds_left(8_000), Some(5.0));
        for second in 3..30 {
            pace.note(at(second), 3_000);
        }
        assert_eq!(pace.speed(), Some(0.0));
        assert_eq!(pace.seconds_left(8_000), None);
    }
}
