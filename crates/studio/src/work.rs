//! Everything that may wait for a disk or a person, on threads of its own. Answers come back through [`Work::answers`].

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use lorikeet_checkpoint::lora::{self, Checked};
use lorikeet_checkpoint::{Found, LoraFolder, PartFiles};
use lorikeet_dataset::{Dataset, Finding, Folder, Look, ScanOptions, Watch};
use lorikeet_protocol::Event;
use lorikeet_recipe::{Import, Preset, Recipe};

use crate::Elsewhere;
use crate::base::{self, Base};
use crate::choosing::{Choose, Chooser, wait_for};
use crate::comparing::{self, Other};
use crate::drawing::{self, Material};
use crate::edits::{self, FileJob, FilesDone};
use crate::health::Key;
use crate::hub::HubAnswer;
use crate::installs;
use crate::masks::{self, ReadMask};
use crate::pages::Copies;
use crate::run_files::{self, RunEntry};
use crate::run_work::RunAnswer;
use crate::texts;

/// What a dropped path is to the studio.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Dropped {
    Pictures(PathBuf),
    Base(PathBuf),
    Recipe(PathBuf),
    Unknown(PathBuf),
}

pub(crate) enum Answer {
    Scanned {
        ticket: u64,
        result: Result<Dataset, String>,
    },
    Inspected {
        ticket: u64,
        result: Result<Base, String>,
    },
    OtherRead {
        ticket: u64,
        result: Result<Other, String>,
    },
    MaskRead {
        ticket: u64,
        result: Result<ReadMask, String>,
    },
    Looked(Vec<(PathBuf, Look)>),
    Examined {
        key: Key,
        findings: Vec<Finding>,
    },
    Files(FilesDone),
    Example {
        index: usize,
        pictures: Vec<PathBuf>,
    },
    Chosen {
        what: Choose,
        path: Option<PathBuf>,
    },
    Dropped(Vec<Dropped>),
    RecipeRead(Result<Read, String>),
    RecipeSaved(Result<PathBuf, String>),
    Runs(Result<Vec<RunEntry>, String>),
    RunRead {
        path: PathBuf,
        result: Result<Vec<Event>, String>,
    },
    Deleted(Result<PathBuf, String>),
    /// A picture or table.
    Written(Result<PathBuf, String>),
    ExportChecked(Result<Checked, String>),
    /// Bases and parts in the usual places.
    Models(Vec<Found>),
    LoraFolders(Vec<LoraFolder>),
    Copies(Copies),
    /// What there is to draw with.
    Material(Box<Material>),
    NotOpened(String),
    Run(RunAnswer),
    Hub(HubAnswer),
    /// The job has nothing to say.
    Done,
}

/// Settings from a file.
pub(crate) enum Read {
    Recipe(Box<Recipe>),
    /// Of another program.
    Import(Box<Import>),
}

pub(crate) struct Work {
    sender: mpsc::Sender<Answer>,
    receiver: mpsc::Receiver<Answer>,
    outstanding: usize,
    ticket: u64,
    pub(crate) ctx: egui::Context,
}

impl Work {
    #[expect(clippy::disallowed_methods, reason = "one answer for each question, and the window asks few")]
    pub(crate) fn new(ctx: &egui::Context) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver, outstanding: 0, ticket: 0, ctx: ctx.clone() }
    }

    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        let answers: Vec<_> = self.receiver.try_iter().collect();
        // Pictures of the screen are not counted: whether one comes is up to the window.
        self.outstanding = self.outstanding.saturating_sub(answers.len());
        answers
    }

    /// Waits for one answer; none when nothing is under way. For tests, which have no frame loop to come back in.
    pub(crate) fn wait(&mut self) -> Option<Answer> {
        if self.outstanding == 0 {
            return None;
        }
        let answer = self.receiver.recv().ok();
        self.outstanding -= usize::from(answer.is_some());
        answer
    }

    /// For threads that tell how far they are.
    pub(crate) fn context(&self) -> egui::Context {
        self.ctx.clone()
    }

    pub(crate) fn spawn(&mut self, job: impl FnOnce() -> Answer + Send + 'static) {
        let (sender, ctx) = (self.sender.clone(), self.ctx.clone());
        let spawned = thread::Builder::new().name("studio work".to_owned()).spawn(move || {
            // The window may be closed meanwhile; then nobody wants the answer.
            sender.send(job()).ok();
            ctx.request_repaint();
        });
        self.outstanding += usize::from(spawned.is_ok());
    }

    /// The ticket tells this answer from those of earlier calls.
    pub(crate) fn scan(&mut self, folders: Vec<Folder>) -> u64 {
        self.ticket += 1;
        let ticket = self.ticket;
        self.spawn(move || Answer::Scanned {
            ticket,
            result: lorikeet_dataset::scan_folders(&folders, "").map_err(|error| error.to_string()),
        });
        ticket
    }

    pub(crate) fn inspect(&mut self, path: PathBuf, files: PartFiles) -> u64 {
        self.ticket += 1;
        let ticket = self.ticket;
        self.spawn(move || Answer::Inspected { ticket, result: base::inspect(&path, &files) });
        ticket
    }

    /// A recipe to compare with.
    pub(crate) fn read_other(&mut self, path: PathBuf) -> u64 {
        self.ticket += 1;
        let ticket = self.ticket;
        self.spawn(move || Answer::OtherRead { ticket, result: comparing::read(&path) });
        ticket
    }

    /// The mask of a picture of that size, at the size it is painted in.
    pub(crate) fn read_mask(&mut self, picture: PathBuf, size: (u32, u32)) -> u64 {
        self.ticket += 1;
        let ticket = self.ticket;
        self.spawn(move || Answer::MaskRead { ticket, result: masks::read(&picture, size) });
        ticket
    }

    /// Decodes pictures for the doctor.
    pub(crate) fn look(&mut self, pictures: Vec<PathBuf>, edge: u32) {
        self.spawn(move || Answer::Looked(lorikeet_dataset::look_at_all(pictures, edge)));
    }

    /// Thinks a dataset over.
    pub(crate) fn examine(&mut self, data: Arc<Dataset>, looks: Arc<HashMap<PathBuf, Look>>, key: Key) {
        self.spawn(move || {
            let held = (!key.validation.is_empty())
                .then(|| lorikeet_dataset::scan(Path::new(&key.validation), &ScanOptions::default()).ok())
                .flatten();
            let looks = with_looks(&looks, held.as_ref(), key.rules.width);
            let watch = Watch { rules: &key.rules, trigger: &key.trigger, validation: held.as_ref(), looks: &looks };
            let findings = lorikeet_dataset::examine(&data, &watch);
            Answer::Examined { key, findings }
        });
    }

    /// Changes files. One at a time: the caller waits for the answer.
    pub(crate) fn files(&mut self, job: FileJob, roots: Dataset) {
        self.spawn(move || Answer::Files(edits::run(job, &roots)));
    }

    /// The first pictures of an example, for its tile.
    pub(crate) fn example(&mut self, index: usize, folder: PathBuf) {
        self.spawn(move || {
            let pictures = lorikeet_dataset::scan(&folder, &ScanOptions::default())
                .map(|data| data.images.into_iter().map(|picture| picture.path).collect())
                .unwrap_or_default();
            Answer::Example { index, pictures }
        });
    }

    pub(crate) fn choose(&mut self, chooser: &Chooser, what: Choose) {
        let choice = chooser(&what);
        self.spawn(move || Answer::Chosen { path: wait_for(choice), what });
    }

    /// All that was dropped at once, in its order.
    pub(crate) fn dropped(&mut self, paths: Vec<PathBuf>) {
        self.spawn(move || {
            let mut dropped: Vec<Dropped> = Vec::new();
            for one in paths.into_iter().map(classify) {
                // Many pictures of one folder are that folder, once.
                if !dropped.contains(&one) {
                    dropped.push(one);
                }
            }
            Answer::Dropped(dropped)
        });
    }

    pub(crate) fn read_recipe(&mut self, path: PathBuf) {
        self.spawn(move || Answer::RecipeRead(read_recipe(&path)));
    }

    pub(crate) fn save_recipe(&mut self, recipe: Recipe, path: PathBuf) {
        self.spawn(move || Answer::RecipeSaved(recipe.save(&path).map(|()| path).map_err(|error| error.to_string())));
    }

    /// Reads an exported file back as other programs do.
    pub(crate) fn check_export(&mut self, path: PathBuf) {
        self.spawn(move || Answer::ExportChecked(lora::check(&path).map_err(|error| error.to_string())));
    }

    /// Saves what is on screen within a rectangle, in points. The picture comes with the next frame.
    pub(crate) fn save_picture(&mut self, rect: egui::Rect, to: PathBuf) {
        let (sender, ctx, scale) = (self.sender.clone(), self.ctx.clone(), self.ctx.pixels_per_point());
        self.ctx.request_screenshot(move |screen| {
            let picture = screen.region(&rect, Some(scale));
            // On a thread of its own: packing takes longer than a frame.
            let written = thread::Builder::new().name("studio work".to_owned()).spawn(move || {
                sender.send(Answer::Written(write_png(&picture, to))).ok();
                ctx.request_repaint();
            });
            drop(written);
        });
    }

    /// Looks for models where other programs keep them.
    pub(crate) fn find_models(&mut self, elsewhere: Elsewhere) {
        self.spawn(move || Answer::Models((elsewhere.models)()));
    }

    /// Looks for the folders of other programs.
    pub(crate) fn find_lora_folders(&mut self, elsewhere: Elsewhere) {
        self.spawn(move || Answer::LoraFolders((elsewhere.lora_folders)()));
    }

    pub(crate) fn copy_lora(&mut self, lora: PathBuf, folders: Vec<PathBuf>, replace: bool) {
        self.spawn(move || {
            let copy = |folder: PathBuf| (installs::place(&lora, &folder, replace), folder);
            Answer::Copies(folders.into_iter().map(copy).map(|(result, folder)| (folder, result)).collect())
        });
    }

    pub(crate) fn write_favourite(&mut self, run_dir: PathBuf, step: Option<u64>) {
        self.spawn(move || match drawing::write_favourite(&run_dir, step) {
            Ok(()) => Answer::Done,
            Err(error) => Answer::Written(Err(error)),
        });
    }

    /// Saves and drawings of a run, or drawings without one.
    pub(crate) fn read_material(&mut self, run_dir: Option<PathBuf>, fallback: PathBuf) {
        self.spawn(move || Answer::Material(Box::new(drawing::material(run_dir, &fallback))));
    }

    /// The settings of a picture as a workflow.
    pub(crate) fn write_workflow(&mut self, picture: PathBuf, to: PathBuf) {
        self.spawn(move || Answer::Written(drawing::write_workflow(&picture, to)));
    }

    pub(crate) fn list_runs(&mut self, folder: PathBuf) {
        self.spawn(move || Answer::Runs(run_files::list(&folder)));
    }

    /// Shows a folder, or the folder of a file, in the system's file manager.
    pub(crate) fn open(&mut self, path: PathBuf) {
        self.spawn(move || {
            let folder = if path.is_file() { path.parent().unwrap_or(&path) } else { &path };
            match open::that_detached(folder) {
                Ok(()) => Answer::Done,
                Err(error) => Answer::NotOpened(texts::monitor::no_file_manager(error, folder.display())),
            }
        });
    }
}

fn write_png(picture: &egui::ColorImage, to: PathBuf) -> Result<PathBuf, String> {
    let told = |error: &dyn std::fmt::Display| texts::monitor::picture_unwritable(error, to.display());
    let file = fs::File::create(&to).map_err(|error| told(&error))?;
    let [width, height] = picture.size.map(|side| side as u32);
    let mut encoder = png::Encoder::new(std::io::BufWriter::new(file), width, height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    let bytes: Vec<u8> = picture.pixels.iter().flat_map(|pixel| pixel.to_array()).collect();
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&bytes)).map_err(|error| told(&error))?;
    Ok(to)
}

/// Validation pictures are few and looked at with the others, once those are.
fn with_looks<'a>(
    looks: &'a HashMap<PathBuf, Look>,
    held: Option<&Dataset>,
    edge: u32,
) -> std::borrow::Cow<'a, HashMap<PathBuf, Look>> {
    let Some(held) = held.filter(|_| !looks.is_empty()) else { return std::borrow::Cow::Borrowed(looks) };
    let unknown = held.images.iter().map(|picture| picture.path.clone()).filter(|path| !looks.contains_key(path));
    let mut all = looks.clone();
    all.extend(lorikeet_dataset::look_at_all(unknown.collect(), edge));
    std::borrow::Cow::Owned(all)
}

/// A recipe of ours, or else what another trainer saved.
pub(crate) fn read_recipe(path: &Path) -> Result<Read, String> {
    let error = match Recipe::load(path) {
        Ok(recipe) => return Ok(Read::Recipe(Box::new(recipe))),
        Err(error) => error,
    };
    match lorikeet_recipe::import(path, Preset::default()) {
        Ok(import) => Ok(Read::Import(Box::new(import))),
        // A JSON file is never a recipe of ours, so what the import says of it is what counts.
        Err(import) if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("json")) => Err(import.to_string()),
        Err(_) => Err(error.to_string()),
    }
}

fn classify(path: PathBuf) -> Dropped {
    let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    if path.is_dir() {
        if path.join("model_index.json").is_file() { Dropped::Base(path) } else { Dropped::Pictures(path) }
    } else {
        match extension.as_str() {
            "safetensors" | "ckpt" | "gguf" | "pt" | "bin" => Dropped::Base(path),
            "toml" | "json" => Dropped::Recipe(path),
            "png" | "jpg" | "jpeg" | "webp" | "bmp" | "txt" | "caption" => match path.parent() {
                Some(folder) => Dropped::Pictures(folder.to_owned()),
                None => Dropped::Unknown(path),
            },
            _ => Dropped::Unknown(path),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_path_is_taken_for_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("10_cat");
        let base = folder.path().join("base");
        fs::create_dir_all(&pictures).unwrap();
        fs::create_dir_all(&base).unwrap();
        fs::write(base.join("model_index.json"), "{}").unwrap();
        assert_eq!(classify(pictures.clone()), Dropped::Pictures(pictures.clone()));
        assert_eq!(classify(base.clone()), Dropped::Base(base));
        assert_eq!(classify(pictures.join("a.PNG")), Dropped::Pictures(pictures));
        assert_eq!(classify("m.safetensors".into()), Dropped::Base("m.safetensors".into()));
        assert_eq!(classify("r.toml".into()), Dropped::Recipe("r.toml".into()));
        assert_eq!(classify("notes.docx".into()), Dropped::Unknown("notes.docx".into()));
    }
}
