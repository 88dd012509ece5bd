//! More steps for a run that is over.

use std::fs;
use std::path::Path;

use crate::error::RecipeError;
use crate::plan::{Plan, Schedule};
use crate::recipe::Recipe;
use crate::setting::Value;

/// What more steps mean to a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Longer {
    /// It becomes what it would be if it had been that long from the start.
    Same,
    /// Its learning rate has fallen with the end in sight. It jumps to `rate` and falls again, which a run of that length
    /// from the start does not.
    Restarts { schedule: Schedule, rate: f64 },
}

/// What going on to `steps` in all means to a run that was planned so.
pub fn longer(plan: &Plan, steps: u64) -> Longer {
    let train = &plan.settings.train;
    let done = plan.steps.saturating_sub(train.warmup) as f64;
    let progress = done / steps.saturating_sub(train.warmup).max(1) as f64;
    let factor = match train.schedule {
        Schedule::Constant => return Longer::Same,
        Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos()),
        Schedule::Linear => (1.0 - progress).max(0.0),
    };
    Longer::Restarts { schedule: train.schedule, rate: factor * train.learning_rate }
}

/// Gives the run in this folder `steps` in all: resuming it then does those it lacks. Warm-up stays as it was.
///
/// # Errors
/// When the run is that long already, when its learning rate would restart and `restart` is false, and when its files
/// cannot be read or written.
pub fn lengthen_run(run_dir: &Path, steps: u64, restart: bool) -> Result<(), RecipeError> {
    let file = run_dir.join("recipe.toml");
    let mut recipe = Recipe::load(&file)?;
    let path = run_dir.join("plan.json");
    let text = fs::read_to_string(&path).map_err(|source| RecipeError::Read { path: path.clone(), source })?;
    let plan: Plan = serde_json::from_str(&text)
        .map_err(|error| RecipeError::InFile { path, source: Box::new(RecipeError::Json(error.to_string())) })?;
    if steps <= plan.steps {
        return Err(RecipeError::NotLonger { steps, planned: plan.steps });
    }
    if let (Longer::Restarts { schedule, rate }, false) = (longer(&plan, steps), restart) {
        return Err(RecipeError::ScheduleRestarts { schedule: schedule.name(), done: plan.steps, steps, rate });
    }
    let whole = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    recipe.set("train.steps", whole(steps))?;
    // A short run cuts its warm-up, which a longer one would not.
    recipe.set("train.warmup", whole(plan.settings.train.warmup))?;
    recipe.save(&file)
}

impl Schedule {
    /// As in a recipe.
    pub fn name(self) -> &'static str {
        match self {
            Schedule::Constant => "constant",
            Schedule::Cosine => "cosine",
            Schedule::Linear => "linear",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example;
    use crate::setting::Preset;

    fn run(settings: &[(&str, &str)]) -> (tempfile::TempDir, Plan) {
        let mut recipe = Recipe::new(Preset::Style);
        recipe.set_text("dataset.folder", "pictures").unwrap();
        settings.iter().for_each(|(id, value)| recipe.set_text(id, value).unwrap());
        let plan =
            crate::plan(&recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        recipe.save(&folder.path().join("recipe.toml")).unwrap();
        fs::write(folder.path().join("plan.json"), serde_json::to_string(&plan).unwrap()).unwrap();
        (folder, plan)
    }

    #[test]
    fn a_constant_rate_goes_on_and_the_warm_up_stays() {
        let (folder, plan) = run(&[("train.steps", "8"), ("train.schedule", "constant")]);
        assert_eq!((plan.settings.train.warmup, longer(&plan, 80)), (0, Longer::Same));
        lengthen_run(folder.path(), 80, false).unwrap();
        let recipe = Recipe::load(&folder.path().join("recipe.toml")).unwrap();
        assert_eq!((recipe.get("train.steps"), recipe.get("train.warmup")), (Value::Int(80), Value::Int(0)));
        let error = lengthen_run(folder.path(), 8, false).unwrap_err();
        assert!(error.to_string().contains("8 steps already"), "{error}");
    }

    #[test]
    fn a_rate_that_has_fallen_is_not_raised_unasked() {
        let (folder, plan) =
            run(&[("train.steps", "400"), ("train.schedule", "cosine"), ("train.learning_rate", "1e-4")]);
        let Longer::Restarts { rate, .. } = longer(&plan, 790) else { panic!("a cosine falls") };
        assert!((rate - 0.5e-4).abs() < 1e-9, "{rate}");
        let error = lengthen_run(folder.path(), 790, false).unwrap_err().to_string();
        assert!(error.contains("cosine") && error.contains("5.0e-5"), "{error}");
        lengthen_run(folder.path(), 790, true).unwrap();
    }

    #[test]
    fn a_folder_without_a_plan_is_said_to_have_none() {
        let (folder, _) = run(&[]);
        fs::remove_file(folder.path().join("plan.json")).unwrap();
        assert!(lengthen_run(folder.path(), 800, true).unwrap_err().to_string().contains("plan.json"));
    }
}
