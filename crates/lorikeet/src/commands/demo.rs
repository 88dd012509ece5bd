//! `demo`: an example from folder to LoRA, with a look at what came of it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use image::ImageError;
use lorikeet_protocol::{Command, DrawRequest, Event, LoraUse, ToDraw};
use lorikeet_recipe::{Preset, Recipe, Value};

use super::train::{apply, plot_run};
use crate::args::DemoArgs;
use crate::drawing::chroma::mean_chroma;
use crate::drawing::sheet::{self, Pair};
use crate::face::{Face, Progress, change, duration};
use crate::follow::{Terminal, follow};
use crate::shipped::{self, EXAMPLES, ShippedExample};
use crate::trouble::Trouble;

/// Held-out ink pictures, which a source tree has and an installed program may not.
const HELD_OUT: &str = "tests/fixtures/ink-heldout";

pub(crate) fn demo(args: &DemoArgs) -> Result<(), Trouble> {
    let started = Instant::now();
    let named = EXAMPLES.iter().find(|example| example.folder == args.example);
    let example = named.ok_or_else(|| {
        let names: Vec<_> = EXAMPLES.iter().map(|example| example.folder).collect();
        Trouble::usage("There is no such example", &args.example, format!("Choose one of {}", names.join(", ")))
    })?;
    let recipe = recipe(args, example)?;
    let mut face = Watching { progress: Progress::new(), validation: None };
    let end = follow(Command::Start { recipe: Box::new(recipe.clone()) }, &mut face)?;
    let Event::Finished { run_dir, lora, .. } = end else { return Ok(()) };
    let plot = plot_run(&run_dir);
    let Some(lora) = lora else {
        println!("Stopped before there was a LoRA. The run folder is {}", run_dir.display());
        return Ok(());
    };

    println!("Drawing {} pictures, by the base and with the LoRA", example.prompts.len());
    let folder = run_dir.join("sheet");
    let base = draw(&recipe, example, &[], &folder.join("base"))?;
    let whole = LoraUse { path: lora.clone(), strength: 1.0, name: String::new() };
    let with_lora = draw(&recipe, example, &[whole], &folder.join("lora"))?;
    let sheet = run_dir.join("sheet.png");
    let (of_base, of_lora) = look(example, &base, &with_lora, &sheet).map_err(|error| {
        Trouble::failed("The sheet cannot be drawn", error, "Make room on the disk; the LoRA itself is ready")
    })?;

    println!();
    println!("LoRA             {}", lora.display());
    println!("Previews         {}", run_dir.join("samples").display());
    println!("Sheet            {}", sheet.display());
    if let Some(plot) = plot {
        println!("Loss plot        {}", plot.display());
    }
    if let Some((base_loss, loss)) = face.validation {
        println!("Validation loss  {base_loss:.4} (base) -> {loss:.4} ({:+.1} %)", change(loss, base_loss));
    }
    if example.preset == Preset::Style {
        println!("Chroma           {of_base:.3} (base) -> {of_lora:.3} (0 is grey; ink has none)");
    }
    println!("Time             {}", duration(started.elapsed().as_secs_f64()));
    Ok(())
}

fn recipe(args: &DemoArgs, example: &ShippedExample) -> Result<Recipe, Trouble> {
    let Some(folder) = shipped::example(example) else {
        let todo = "Put the folder datasets-example beside the program, or run it from the source tree";
        return Err(Trouble::failed("The demo cannot start", "its pictures are missing", todo));
    };
    let mut recipe = Recipe::new(example.preset);
    let mut set = |id, path: &Path| recipe.set(id, Value::Text(path.to_string_lossy().into_owned()));
    set("dataset.folder", &folder)?;
    set("save.folder", &args.out)?;
    if let Some(held_out) = shipped::find(HELD_OUT).filter(|_| example.preset == Preset::Style) {
        set("dataset.validation_folder", &held_out)?;
    }
    recipe.set("dataset.trigger", Value::Text(example.trigger.to_owned()))?;
    recipe.set("save.name", Value::Text(example.folder.to_owned()))?;
    if let Some(steps) = args.steps {
        recipe.set_text("train.steps", &steps.to_string())?;
    }
    apply(&args.changes, &mut recipe)?;
    Ok(recipe)
}

fn draw(recipe: &Recipe, example: &ShippedExample, loras: &[LoraUse], out_dir: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let text = |id| if let Value::Text(text) = recipe.get(id) { text } else { String::new() };
    let cfg = if let Value::Float(cfg) = recipe.get("sample.cfg") { Some(cfg) } else { None };
    let picture =
        |&prompt: &&str| ToDraw { prompt: prompt.to_owned(), loras: loras.to_vec(), seed: 1, cfg, ..ToDraw::default() };
    let request = DrawRequest {
        base: text("base.path"),
        device: text("run.device"),
        pictures: example.prompts.iter().map(picture).collect(),
        out_dir: out_dir.to_owned(),
        ..DrawRequest::default()
    };
    let mut terminal = Terminal::new(Box::new(Progress::new()));
    Ok(lorikeet_trainer::draw(&request, &mut terminal).map_err(|error| error.failure())?)
}

/// Draws the sheet, and tells the mean chroma of both rows of pictures.
fn look(example: &ShippedExample, base: &[PathBuf], lora: &[PathBuf], sheet: &Path) -> Result<(f64, f64), ImageError> {
    let pairs: Vec<Pair> = base
        .iter()
        .zip(lora)
        .zip(example.prompts)
        .map(|((base, lora), &prompt)| Pair { label: prompt.to_owned(), base: base.clone(), lora: lora.clone() })
        .collect();
    sheet::draw(example.sheet_title, &pairs, sheet)?;
    Ok((mean_chroma(base)?, mean_chroma(lora)?))
}

/// Shows everything and keeps the validation loss.
struct Watching {
    progress: Progress,
    /// The base's and the last, of a step after it.
    validation: Option<(f32, f32)>,
}

impl Face for Watching {
    fn event(&mut self, event: &Event) {
        if let Event::Validation { step: 1.., loss, base_loss, .. } = event {
            self.validation = Some((*base_loss, *loss));
        }
        self.progress.event(event);
    }

    fn note(&mut self, message: &str) {
        self.progress.note(message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unseen_is_not_among_the_pictures() {
        let folder = shipped::example(&EXAMPLES[0]).unwrap();
        let captions: String = std::fs::read_dir(folder)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "txt"))
            .map(|entry| std::fs::read_to_string(entry.path()).unwrap())
            .collect();
        assert!(captions.contains("bicycle, ink style"));
        for prompt in EXAMPLES[0].prompts {
            assert!(!captions.contains(prompt), "{prompt}");
        }
    }
}
