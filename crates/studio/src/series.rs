//! The loss curve of a run of any length in bounded memory.

use lorikeet_protocol::Step;

/// More points are merged in pairs. Four times what a wide window has pixels, so nothing visible is lost.
const MOST: usize = 16_384;

/// Neighbouring steps taken together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The last step of the group.
    pub step: u64,
    pub low: f32,
    pub high: f32,
    pub smoothed: f32,
}

#[derive(Clone, Debug, Default)]
pub struct Series {
    points: Vec<Point>,
    /// Steps in a point, as far as points have been merged; 0 and 1: one.
    group: u64,
    in_last: u64,
}

impl Series {
    pub fn is_empty(&self) -> bool {
        self.points.is_empty()
    }

    pub fn points(&self) -> &[Point] {
        &self.points
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Steps arrive in order; a step that is not finite is left out, as there is no place for it in a plot.
    pub fn push(&mut self, step: &Step) {
        if !step.loss.is_finite() || !step.smoothed.is_finite() {
            return;
        }
        // A step that comes again is one that a resumed run does again.
        if self.points.last().is_some_and(|last| last.step >= step.step) {
            self.cut_after(step.step.saturating_sub(1));
        }
        let point = Point { step: step.step, low: step.loss, high: step.loss, smoothed: step.smoothed };
        match self.points.last_mut() {
            Some(last) if self.in_last < self.group => {
                *last = merged(*last, point);
                self.in_last += 1;
            }
            _ => {
                self.points.push(point);
                self.in_last = 1;
            }
        }
        if self.points.len() > MOST {
            self.points =
                self.points.chunks(2).map(|pair| pair.iter().copied().reduce(merged).unwrap_or(pair[0])).collect();
            self.group = self.group.max(1) * 2;
            self.in_last = self.group;
        }
    }

    /// Forgets what a resumed run does again.
    pub fn cut_after(&mut self, step: u64) {
        self.points.retain(|point| point.step <= step);
        self.in_last = self.group;
    }

    /// At most `most` points, each with the lowest and highest loss of its group.
    pub fn downsampled(&self, most: usize) -> Vec<Point> {
        let most = most.max(1);
        let size = self.points.len().div_ceil(most).max(1);
        self.points.chunks(size).filter_map(|group| group.iter().copied().reduce(merged)).collect()
    }
}

fn merged(a: Point, b: Point) -> Point {
    Point { step: b.step, low: a.low.min(b.low), high: a.high.max(b.high), smoothed: b.smoothed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: u64, loss: f32) -> Step {
        Step { step, loss, smoothed: loss, ..Default::default() }
    }

    #[test]
    fn a_long_run_keeps_its_spikes_its_end_and_a_bounded_size() {
        let mut series = Series::default();
        for i in 1..=200_000u64 {
            series.push(&step(i, if i == 77_777 { 9.0 } else { 0.1 }));
        }
        assert!(series.points().len() <= MOST);
        assert_eq!(series.points().last().map(|p| p.step), Some(200_000));
        let drawn = series.downsampled(800);
        assert!(drawn.len() <= 800);
        assert_eq!(drawn.iter().map(|p| p.high).fold(0.0, f32::max), 9.0);
        assert!(drawn.windows(2).all(|pair| pair[0].step < pair[1].step));
    }

    #[test]
    fn resuming_forgets_later_steps_and_numbers_that_are_none_are_left_out() {
        let mut series = Series::default();
        for i in 1..=10 {
            series.push(&step(i, 0.5));
        }
        series.push(&step(11, f32::NAN));
        series.cut_after(4);
        series.push(&step(5, 0.25));
        assert_eq!(series.points().iter().map(|p| p.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        assert_eq!(series.points()[4].high, 0.25);
    }
}
