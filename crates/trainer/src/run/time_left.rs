//! How long a run still takes: its steps, and what is done beside them.

use std::time::Instant;

use lorikeet_recipe::PlanSettings;

/// Seconds that the last of each took; 0 before the first.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Beside {
    pub(super) validation: f64,
    pub(super) previews: f64,
    pub(super) save: f64,
}

impl Beside {
    /// Seconds from the end of `step` on, itself not yet validated, drawn and saved; `pace`: of one step.
    pub(super) fn left(&self, settings: &PlanSettings, step: u64, steps: u64, pace: f64) -> f64 {
        let times = |every: u64| rounds(every, step, steps) as f64;
        pace * (steps - step) as f64
            + self.validation * times(settings.validation.every)
            + self.previews * times(settings.sample.every_steps)
            + self.save * times(settings.save.every)
    }
}

/// How many of the steps from `from` to the last, both counted, are multiples of `every`; the last one always is one.
fn rounds(every: u64, from: u64, steps: u64) -> u64 {
    if every == 0 {
        return 0;
    }
    steps / every - from.saturating_sub(1) / every + u64::from(!steps.is_multiple_of(every))
}

/// Does something, and how many seconds that took.
pub(super) fn timed<T>(job: impl FnOnce() -> T) -> (T, f64) {
    let begun = Instant::now();
    let done = job();
    (done, begun.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;
    use lorikeet_recipe::{Preset, Recipe, example, settings};

    #[test]
    fn the_last_step_is_one_of_them() {
        assert_eq!(rounds(50, 41, 300), 6);
        assert_eq!(rounds(50, 50, 300), 6);
        assert_eq!(rounds(50, 51, 300), 5);
        assert_eq!(rounds(50, 300, 300), 1);
        assert_eq!(rounds(200, 10, 300), 2);
        assert_eq!(rounds(200, 250, 300), 1);
        assert_eq!(rounds(0, 1, 300), 0);
    }

    #[test]
    fn steps_and_what_is_done_beside_them() {
        let mut recipe = Recipe::new(Preset::Style);
        for (id, value) in [("validation.every", "100"), ("sample.every", "50"), ("save.every", "0")] {
            recipe.set_text(id, value).unwrap();
        }
        let mut settings = settings(&recipe, &example::demo_base()).unwrap();
        settings.sample.every_steps = 50;
        let beside = Beside { validation: 3.0, previews: 10.0, save: 1000.0 };
        // 100 steps, validations at 200 and 300, previews at 200, 250 and 300, saves at the end alone.
        assert_eq!(beside.left(&settings, 200, 300, 0.5), 50.0 + 6.0 + 30.0);
    }
}
