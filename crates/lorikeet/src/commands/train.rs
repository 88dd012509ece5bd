//! `train`, `plan`, `resume`.

use std::path::{Path, PathBuf};

use lorikeet_protocol::{Command, Event, in_use};
use lorikeet_recipe::{Recipe, lengthen_run};
use lorikeet_session::list_runs;

use crate::args::{Changes, PlanArgs, ResumeArgs, TrainArgs};
use crate::drawing::loss_plot;
use crate::face::{Face, JsonLines, Progress};
use crate::follow::follow;
use crate::trouble::Trouble;

pub(crate) fn train(args: &TrainArgs) -> Result<(), Trouble> {
    let recipe = recipe(&args.recipe, &args.changes)?;
    run(Command::Start { recipe: Box::new(recipe) }, args.json)
}

pub(crate) fn resume(args: &ResumeArgs) -> Result<(), Trouble> {
    if !args.run.join("recipe.toml").is_file() {
        let parent = args.run.parent().filter(|parent| parent.is_dir()).unwrap_or(Path::new("runs"));
        let runs = list_runs(parent);
        let there: Vec<String> = runs.iter().take(5).map(|run| run.display().to_string()).collect();
        let todo = match there.len() {
            0 => "Give the folder of a run: the one that holds recipe.toml and checkpoints".to_owned(),
            _ => format!("Give the folder of a run, such as {}", there.join(", ")),
        };
        let why = format!("there is no run: {}", args.run.display());
        return Err(Trouble::failed("The run cannot be continued", why, todo));
    }
    if let Some(steps) = args.steps {
        if in_use(&args.run) {
            let why = format!("a program works in this run folder: {}", args.run.display());
            return Err(Trouble::failed("The run cannot be made longer", why, "Wait until it is done, or stop it"));
        }
        lengthen_run(&args.run, steps, args.restart_schedule).map_err(|error| {
            let todo = "Give --steps a number above that of the run; --restart-schedule lets a learning rate that has \
                        fallen start again";
            Trouble::failed("The run cannot be made longer", error, todo)
        })?;
    }
    run(Command::ResumeRun { run_dir: args.run.clone() }, args.json)
}

fn run(command: Command, json: bool) -> Result<(), Trouble> {
    let mut face: Box<dyn Face> = if json { Box::new(JsonLines) } else { Box::new(Progress::new()) };
    let end = follow(command, face.as_mut())?;
    if let Event::Finished { run_dir, .. } = end
        && let Some(plot) = plot_run(&run_dir)
        && !json
    {
        println!("Loss plot: {}", plot.display());
    }
    Ok(())
}

/// The loss plot of a run, drawn into its folder. A run without steps has none.
pub(crate) fn plot_run(run_dir: &Path) -> Option<PathBuf> {
    let path = run_dir.join("loss.png");
    match loss_plot::draw(&run_dir.join("metrics.jsonl"), &path) {
        Ok(true) => Some(path),
        Ok(false) => None,
        Err(error) => {
            eprintln!("Warning: the loss plot cannot be drawn ({error}): {}", path.display());
            None
        }
    }
}

pub(crate) fn plan(args: &PlanArgs) -> Result<(), Trouble> {
    let recipe = recipe(&args.recipe, &args.changes)?;
    let plan = lorikeet_trainer::probe(&recipe).map_err(|error| error.failure())?;
    if args.json {
        let json = serde_json::to_string_pretty(&plan)
            .map_err(|error| Trouble::failed("The plan cannot be told", error, "Leave out --json"))?;
        println!("{json}");
    } else {
        print!("{plan}");
    }
    Ok(())
}

pub(crate) fn recipe(path: &Path, changes: &Changes) -> Result<Recipe, Trouble> {
    let mut recipe = Recipe::load(path)?;
    apply(changes, &mut recipe)?;
    Ok(recipe)
}

/// `--set` and `--device`.
pub(crate) fn apply(changes: &Changes, recipe: &mut Recipe) -> Result<(), Trouble> {
    for change in &changes.set {
        let Some((id, value)) = change.split_once('=') else {
            let why = format!("`{change}` is not of the form key=value");
            return Err(Trouble::usage("--set cannot be understood", why, "Write for example --set network.rank=8"));
        };
        recipe.set_text(id, value)?;
    }
    if let Some(device) = &changes.device {
        recipe.set_text("run.device", device)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_go_over_the_recipe() {
        let mut recipe = Recipe::default();
        let set = vec!["network.rank=8".to_owned(), "sample.prompts=a = b".to_owned()];
        apply(&Changes { set, device: Some("cuda:1".to_owned()) }, &mut recipe).unwrap();
        assert_eq!(recipe.get("network.rank").to_string(), "8");
        assert_eq!(recipe.get("sample.prompts").to_string(), "[\"a = b\"]");
        assert_eq!(recipe.get("run.device").to_string(), "\"cuda:1\"");
        let wrong = |set: &str| {
            apply(&Changes { set: vec![set.to_owned()], device: None }, &mut Recipe::default()).unwrap_err()
        };
        assert!(wrong("network.rank").to_string().contains("key=value"));
        assert!(wrong("network.rnak=8").to_string().contains("did you mean `network.rank`"));
        assert_eq!(wrong("network.rank=0").code, 2);
    }
}
