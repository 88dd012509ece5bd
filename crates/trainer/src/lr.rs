//! Learning-rate schedules.

use lorikeet_recipe::Schedule;

/// What to multiply the learning rate by at `step` (from 0) of `steps`, after a linear `warmup` from 0
/// (transformers `get_scheduler`).
pub fn factor(schedule: Schedule, step: u64, steps: u64, warmup: u64) -> f64 {
    if step < warmup {
        return (step + 1) as f64 / (warmup + 1) as f64;
    }
    let progress = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
    match schedule {
        Schedule::Constant => 1.0,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos()),
        Schedule::Linear => (1.0 - progress).max(0.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_rise_then_fall() {
        let at = |schedule, step| factor(schedule, step, 110, 10);
        assert!((at(Schedule::Constant, 4) - 5.0 / 11.0).abs() < 1e-12);
        for schedule in [Schedule::Constant, Schedule::Cosine, Schedule::Linear] {
            assert_eq!(at(schedule, 10), 1.0);
        }
        assert_eq!(at(Schedule::Constant, 109), 1.0);
        assert!((at(Schedule::Cosine, 60) - 0.5).abs() < 1e-12);
        assert!((at(Schedule::Linear, 35) - 0.75).abs() < 1e-12);
        assert!(at(Schedule::Cosine, 109) > 0.0 && at(Schedule::Cosine, 109) < 1e-3);
    }

    #[test]
    fn a_run_of_warm_up_only_is_finite() {
        assert!(factor(Schedule::Cosine, 5, 3, 10).is_finite());
    }
}
