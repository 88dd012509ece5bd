//! What run folders tell: a list of them, one read back, its numbers as a table.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use lorikeet_protocol::{Event, Failure, LOAD_FILE, Load, PAUSE_FILE, STOP_FILE, Step, in_use};
use lorikeet_recipe::Plan;

use crate::state::State;
use crate::texts;

/// A run folder in the list of runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RunEntry {
    pub path: PathBuf,
    pub name: String,
    pub modified: SystemTime,
    /// Of the newest save.
    pub saved_step: Option<u64>,
    pub steps: Option<u64>,
    /// The LoRA lies in the folder.
    pub lora: Option<PathBuf>,
    /// `Style · demo base`, as far as the plan tells.
    pub about: String,
    /// The newest previews, the first prompt first.
    pub pictures: Vec<PathBuf>,
    /// The lowest validation loss with its step.
    pub best: Option<(u64, f32)>,
    /// Of all files in the folder.
    pub bytes: u64,
    /// A program works on it now.
    pub working: bool,
}

/// Previews shown in the list.
const PICTURES: usize = 4;

pub(crate) fn list(folder: &Path) -> Result<Vec<RunEntry>, String> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(texts::runs::folder_unreadable(error, folder.display()));
        }
    };
    let mut runs: Vec<_> = entries.flatten().filter_map(|entry| entry_of(&entry.path())).collect();
    runs.sort_by(|a, b| b.modified.cmp(&a.modified).then_with(|| b.name.cmp(&a.name)));
    Ok(runs)
}

fn entry_of(path: &Path) -> Option<RunEntry> {
    let recipe = path.join("recipe.toml");
    if !recipe.is_file() {
        return None;
    }
    let newest = |path: &Path| fs::metadata(path).and_then(|facts| facts.modified()).ok();
    let modified = newest(&path.join("metrics.jsonl")).or_else(|| newest(&recipe))?;
    let saved_step = fs::read_dir(path.join("checkpoints"))
        .ok()
        .and_then(|saves| saves.flatten().filter_map(|save| number_in(&save.file_name().to_string_lossy())).max());
    let plan = fs::read(path.join("plan.json"))
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .unwrap_or_default();
    let lora = fs::read_dir(path)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    let preset = plan["settings"]["preset"].as_str().and_then(lorikeet_recipe::Preset::from_id);
    let about = [preset.map(|preset| preset.label().to_owned()), plan["base"].as_str().map(str::to_owned)];
    let mut samples = Vec::new();
    let mut last = 0;
    for event in events(path) {
        if let Event::Sample(sample) = event {
            last = last.max(sample.step);
            samples.push(sample);
        }
    }
    samples.retain(|sample| sample.step == last);
    samples.sort_by_key(|sample| sample.prompt_index);
    let best = validations(path).min_by(|a, b| a.1.total_cmp(&b.1));
    Some(RunEntry {
        path: path.to_owned(),
        name: path.file_name()?.to_string_lossy().into_owned(),
        modified,
        saved_step,
        steps: plan["steps"].as_u64(),
        lora,
        about: about.into_iter().flatten().collect::<Vec<_>>().join(" · "),
        pictures: samples.into_iter().take(PICTURES).map(|sample| inside(path, sample.path)).collect(),
        best,
        bytes: bytes_in(path),
        working: in_use(path),
    })
}

/// The step in a name such as `step-000250`; unfinished saves have other endings.
fn number_in(name: &str) -> Option<u64> {
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().ok()
}

/// A run folder may have been moved with its previews.
pub(crate) fn inside(folder: &Path, picture: PathBuf) -> PathBuf {
    let here = picture.file_name().map(|name| folder.join("samples").join(name));
    here.filter(|here| !picture.is_file() && here.is_file()).unwrap_or(picture)
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => bytes_in(&entry.path()),
        Ok(kind) if kind.is_file() => entry.metadata().map_or(0, |facts| facts.len()),
        _ => 0,
    };
    entries.map(size).sum()
}

/// All but steps, as they were told. Lines that a kill cut short are left out.
fn events(folder: &Path) -> Vec<Event> {
    let text = fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn steps(folder: &Path) -> Vec<Step> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn validations(folder: &Path) -> impl Iterator<Item = (u64, f32)> {
    events(folder).into_iter().filter_map(|event| match event {
        Event::Validation { step, loss, .. } if loss.is_finite() && step > 0 => Some((step, loss)),
        _ => None,
    })
}

pub(crate) fn plan(folder: &Path) -> Option<Plan> {
    fs::read(folder.join("plan.json")).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// How busy the machine is, as the program that works on the run read it last.
pub(crate) fn load(folder: &Path) -> Option<Load> {
    fs::read(folder.join(LOAD_FILE)).ok().and_then(|text| serde_json::from_slice(&text).ok())
}

/// How a run ended that did not say so.
pub(crate) fn interrupted(state: &State) -> Failure {
    Failure {
        what: texts::runs::INTERRUPTED.to_owned(),
        why: texts::runs::INTERRUPTED_WHY.to_owned(),
        todo: texts::runs::INTERRUPTED_TODO.to_owned(),
        last_save: state.saves.values().next_back().cloned(),
    }
}

/// The newest run that a program works on now.
pub(crate) fn working(folder: &Path) -> Option<PathBuf> {
    let runs = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    let working = runs.filter(|run| run.join("recipe.toml").is_file() && in_use(run));
    working.max_by_key(|run| fs::metadata(run).and_then(|facts| facts.modified()).ok())
}

/// What a run of another program is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// With a save.
    Stop,
    Pause,
    GoOn,
}

/// Asks the program that works on a run, which looks after each step.
pub(crate) fn ask(folder: &Path, wish: Wish) -> Result<(), String> {
    let name = if wish == Wish::Stop { STOP_FILE } else { PAUSE_FILE };
    let file = folder.join(name);
    let done = if wish == Wish::GoOn { fs::remove_file(&file) } else { fs::write(&file, "") };
    done.map_err(|error| match wish {
        Wish::Stop => texts::runs::cannot_ask_to_stop(error, file.display()),
        Wish::Pause => texts::runs::cannot_ask_to_pause(error, file.display()),
        Wish::GoOn => texts::runs::cannot_ask_to_go_on(error, file.display()),
    })
}

/// What a run told, to be looked at again: its plan, its steps, then all else.
pub(crate) fn told(folder: &Path) -> Result<Vec<Event>, String> {
    let all = events(folder);
    if all.is_empty() {
        return Err(texts::runs::nothing_written(folder.display()));
    }
    let mut told = vec![Event::Started { run_dir: folder.to_owned(), resumed_at: 0 }];
    told.extend(plan(folder).map(|plan| Event::Planned { plan: Box::new(plan) }));
    told.extend(steps(folder).into_iter().map(Event::Step));
    told.extend(all.into_iter().filter_map(|event| match event {
        // What was going on then is over.
        Event::Started { .. } | Event::Stage { .. } | Event::Paused { .. } | Event::Resumed { .. } => None,
        Event::Sample(mut sample) => {
            sample.path = inside(folder, sample.path);
            Some(Event::Sample(sample))
        }
        event => Some(event),
    }));
    Ok(told)
}

/// The numbers of a run for a spreadsheet. Returns where they are.
pub(crate) fn write_csv(folder: &Path, to: PathBuf) -> Result<PathBuf, String> {
    let mut text =
        String::from("step,epoch,loss,smoothed,learning_rate,grad_norm,seconds,memory_bytes,validation_loss\n");
    let mut held: std::collections::BTreeMap<u64, f32> = validations(folder).collect();
    for step in steps(folder) {
        let validation = held.remove(&step.step).map(|loss| loss.to_string()).unwrap_or_default();
        text.push_str(&format!(
            "{},{},{},{},{:e},{},{},{},{validation}\n",
            step.step,
            step.epoch,
            step.loss,
            step.smoothed,
            step.learning_rate,
            step.grad_norm,
            step.seconds,
            step.memory_bytes
        ));
    }
    fs::write(&to, text).map_err(|error| texts::runs::table_unwritable(error, to.display()))?;
    Ok(to)
}

/// To the system's trash, from where it can be got back.
pub(crate) fn delete(folder: &Path) -> Result<(), String> {
    trash::delete(folder).map_err(|error| texts::runs::cannot_delete(error, folder.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn run(folder: &Path) -> PathBuf {
        let run = folder.join("ink");
        for save in ["step-000100", "step-000250", "step-000300.part"] {
            fs::create_dir_all(run.join("checkpoints").join(save)).unwrap();
        }
        fs::create_dir_all(run.join("samples")).unwrap();
        fs::write(run.join("samples/b.png"), "").unwrap();
        fs::write(run.join("recipe.toml"), "").unwrap();
        fs::write(run.join("plan.json"), r#"{"steps": 400, "base": "demo base", "settings": {"preset": "style"}}"#)
            .unwrap();
        fs::write(
            run.join("metrics.jsonl"),
            "{\"step\":1,\"steps\":400,\"epoch\":1,\"epochs\":9,\"loss\":0.5,\"smoothed\":0.5,\"learning_rate\":0.0002,\
             \"grad_norm\":1.0,\"seconds\":0.25,\"seconds_left\":9.0,\"memory_bytes\":7,\"device_memory_bytes\":null}\n\
             {\"step\":1,\"validation_loss\":0.25,\"base_loss\":0.3}\n{\"step\":2,\"ste",
        )
        .unwrap();
        let sample = |step: u64| {
            format!(
                "{{\"event\":\"sample\",\"step\":{step},\"epoch\":1,\"prompt_index\":0,\"prompt\":\"a cat\",\"seed\":1,\"path\":\"/gone/{}.png\"}}\n",
                if step == 0 { "a" } else { "b" }
            )
        };
        let validation = "{\"event\":\"validation\",\"step\":1,\"loss\":0.25,\"base_loss\":0.3}\n";
        fs::write(run.join("events.jsonl"), sample(0) + validation + &sample(250) + "{\"event\":\"sav").unwrap();
        run
    }

    #[test]
    fn runs_are_folders_with_a_recipe_and_tell_of_themselves() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(list(&folder.path().join("not there yet")), Ok(Vec::new()));
        let path = run(folder.path());
        fs::create_dir_all(folder.path().join("something else")).unwrap();
        let runs = list(folder.path()).unwrap();
        assert_eq!(runs.len(), 1);
        let found = &runs[0];
        assert_eq!((found.name.as_str(), found.saved_step, found.steps), ("ink", Some(250), Some(400)));
        assert_eq!((found.lora.as_ref(), found.best), (None, Some((1, 0.25))));
        assert_eq!(found.about, "Style · demo base");
        assert_eq!(found.pictures, [path.join("samples/b.png")], "where the folder is now");
        assert!(found.bytes > 500);
    }

    #[test]
    fn a_run_is_read_back_and_written_as_a_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = run(folder.path());
        let told = told(&path).unwrap();
        assert!(matches!(&told[0], Event::Started { resumed_at: 0, .. }));
        assert_eq!(told.iter().filter(|event| matches!(event, Event::Sample(_))).count(), 2);
        assert_eq!(told.iter().filter(|event| matches!(event, Event::Step(_))).count(), 1);
        let table = write_csv(&path, folder.path().join("ink.csv")).unwrap();
        let text = fs::read_to_string(table).unwrap();
        assert_eq!(text.lines().nth(1), Some("1,1,0.5,0.5,2e-4,1,0.25,7,0.25"));
        assert!(self::told(folder.path()).is_err());
    }
}
