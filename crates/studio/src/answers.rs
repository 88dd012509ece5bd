//! What comes of answers from other threads: chosen and dropped files, scans, recipes.

use std::path::PathBuf;
use std::sync::Arc;

use lorikeet_dataset::Dataset;
use lorikeet_protocol::Event;
use lorikeet_recipe::{BUILT_IN, Import, PictureFolder, Recipe};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::comparing::CompareAction;
use crate::draft::{Draft, Load};
use crate::kit::Tone;
use crate::pages::Page;
use crate::state::{Phase, State};
use crate::texts;
use crate::work::{Answer, Dropped, Read};

/// What decides which base it is.
const BASE_IDS: [&str; 4] = ["base.path", "base.vae", "base.text_encoder", "base.text_encoder_2"];

impl StudioApp {
    pub(crate) fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::Scanned { ticket, result } if self.draft.data.awaits(ticket) => {
                self.draft.data = result.map_or_else(Load::Failed, |data| Load::Ready(Arc::new(data)));
                self.draft.generation += 1;
                self.draft.touch();
                self.begin_rounds();
            }
            Answer::Scanned { ticket, result } if self.draft.refreshing == Some(ticket) => {
                self.draft.refreshing = None;
                self.refreshed(result);
            }
            Answer::OtherRead { ticket, result } => self.other_read(ticket, result),
            Answer::MaskRead { ticket, result } => self.mask_read(ticket, result),
            Answer::Looked(looks) => self.health.looked(looks),
            Answer::Examined { key, findings } => self.health.examined(&key, findings),
            Answer::Files(done) => self.files_done(done),
            Answer::Inspected { ticket, result } if self.draft.base.awaits(ticket) => {
                self.draft.base = result.map_or_else(Load::Failed, Load::Ready);
                self.draft.touch();
            }
            // Of a folder or base that is no longer chosen.
            Answer::Scanned { .. } | Answer::Inspected { .. } | Answer::Done => {}
            Answer::Example { index, pictures } => {
                if let Some(slot) = self.examples.get_mut(index) {
                    *slot = pictures;
                }
            }
            Answer::Chosen { what, path: Some(path) } => self.chosen(what, path),
            Answer::Chosen { path: None, .. } => {}
            Answer::Dropped(dropped) => self.dropped(dropped),
            Answer::RecipeRead(Ok(Read::Recipe(recipe))) => self.use_recipe(*recipe),
            Answer::RecipeRead(Ok(Read::Import(import))) => self.imported = Some(*import),
            Answer::RecipeSaved(Ok(path)) => self.toasts.add(Tone::Ok, texts::common::saved(path.display())),
            Answer::RecipeRead(Err(error)) | Answer::RecipeSaved(Err(error)) => self.toasts.add(Tone::Error, error),
            Answer::RunRead { path, result: Ok(told) } => self.look_back(path, told),
            Answer::Deleted(Ok(path)) => {
                if self.state.run_dir.as_ref() == Some(&path) && !self.state.active() {
                    self.state = State::default();
                    self.draft.touch();
                }
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                self.toasts.add(Tone::Ok, texts::runs::in_trash(&name));
                self.perform(Action::ListRuns);
            }
            Answer::Written(Ok(path)) => self.toasts.add(Tone::Ok, texts::common::saved(path.display())),
            Answer::RunRead { result: Err(error), .. } | Answer::Deleted(Err(error)) | Answer::Written(Err(error)) => {
                self.toasts.add(Tone::Error, error);
            }
            Answer::ExportChecked(result) => {
                if let Some(form) = &mut self.export {
                    form.checked = Some(result);
                }
            }
            Answer::LoraFolders(folders) => {
                if let Some(form) = &mut self.export {
                    form.folders = folders.into_iter().map(|folder| (folder, false)).collect();
                }
            }
            Answer::Copies(copies) => {
                if let Some(form) = &mut self.export {
                    form.copies.retain(|(folder, _)| copies.iter().all(|(other, _)| other != folder));
                    form.copies.extend(copies);
                }
            }
            Answer::Material(material) => {
                let sample = self.state.plan.as_ref().map(|plan| plan.settings.sample.clone());
                self.drawing.take(*material, sample.as_ref());
            }
            Answer::Models(found) => self.models = Load::Ready(found),
            Answer::Runs(result) => self.runs = result.map_or_else(Load::Failed, Load::Ready),
            Answer::Run(answer) => self.run_answer(answer),
            Answer::Hub(answer) => self.hub_answer(answer),
            Answer::NotOpened(error) => self.toasts.add(Tone::Warn, error),
        }
    }

    fn chosen(&mut self, what: Choose, path: PathBuf) {
        match what {
            Choose::DatasetFolder => self.add_folder(path),
            Choose::BaseFolder | Choose::BaseFile => self.use_base(path.to_string_lossy().into_owned()),
            Choose::ExportFile(_) => {
                if let Some(form) = &mut self.export {
                    form.to = path.to_string_lossy().into_owned();
                }
            }
            Choose::PlotPicture(_) => self.picture_to = Some(path),
            Choose::PlotTable(_) => {
                if let Some(run_dir) = self.state.run_dir.clone() {
                    self.work.write_csv(run_dir, path);
                }
            }
            Choose::LoraFile => self.drawing.add_file(path),
            Choose::Workflow(picture) => self.work.write_workflow(picture, path),
            Choose::RunsFolder => {
                self.prefs.runs_folder = Some(path);
                self.draft.reset("save.folder");
            }
            Choose::RecipeToCompare => self.perform(Action::Compare(CompareAction::With(path))),
            Choose::RecipeToOpen => self.work.read_recipe(path),
            Choose::RecipeToSave(_) => self.work.save_recipe(self.draft.recipe.clone(), path),
            Choose::SettingFolder(id) | Choose::SettingFile(id) => {
                if let Err(error) = self.draft.set_text(id, path.to_string_lossy()) {
                    self.toasts.add(Tone::Error, error);
                }
            }
        }
    }

    fn dropped(&mut self, dropped: Vec<Dropped>) {
        if self.state.active() {
            self.toasts.add(Tone::Warn, texts::dataset::RUN_GOES_ON);
            return;
        }
        for one in dropped {
            match one {
                Dropped::Pictures(folder) => {
                    self.add_folder(folder);
                    self.page = Page::Dataset;
                }
                Dropped::Base(path) => {
                    self.use_base(path.to_string_lossy().into_owned());
                    self.page = Page::Model;
                }
                Dropped::Recipe(path) => self.work.read_recipe(path),
                Dropped::Unknown(path) => self.toasts.add(Tone::Warn, texts::dataset::dropped_unknown(path.display())),
            }
        }
    }

    /// Instead of those there are.
    pub(crate) fn use_folder(&mut self, folder: PathBuf) {
        // A trigger word or name of an example has nothing to do with another folder.
        if self.draft.example.take().is_some() {
            self.draft.reset("dataset.trigger");
        }
        self.set_folders(&[PictureFolder { path: folder.to_string_lossy().into_owned(), repeats: 1 }]);
    }

    pub(crate) fn rescan(&mut self) {
        self.commit_mask();
        let folders = self.draft.folders();
        self.draft.data = Load::Nothing;
        if !folders.is_empty() {
            self.draft.data = Load::Loading(self.work.scan(folders.clone()));
        }
        self.draft.scanned = folders;
        self.draft.refreshing = None;
        self.browse.clear();
        self.health.clear();
        self.draft.touch();
    }

    /// As [`StudioApp::rescan`], while what is known stays on screen.
    pub(crate) fn refresh(&mut self) {
        let folders = self.draft.folders();
        if !folders.is_empty() && self.draft.data.ready().is_some() {
            self.draft.refreshing = Some(self.work.scan(folders.clone()));
            self.draft.scanned = folders;
        }
    }

    fn refreshed(&mut self, result: Result<Dataset, String>) {
        match result {
            Err(error) => self.draft.data = Load::Failed(error),
            Ok(data) if self.draft.data.ready().is_some_and(|old| **old == data) => return,
            Ok(data) => {
                self.browse.retain(&data);
                self.draft.data = Load::Ready(Arc::new(data));
                self.begin_rounds();
            }
        }
        self.draft.generation += 1;
        self.draft.touch();
    }

    /// Shows a run that is over as if it had just ended.
    fn look_back(&mut self, path: PathBuf, told: Vec<Event>) {
        if self.state.active() {
            return;
        }
        self.state = State::default();
        told.into_iter().for_each(|event| self.state.apply(event));
        if self.state.active() {
            self.state.phase = Phase::Failed(crate::run_files::interrupted(&self.state));
        }
        self.state.run_dir = Some(path);
        // What happened then is no news.
        self.state.take_messages();
        self.draft.touch();
        self.perform(Action::Go(Page::Monitor));
    }

    /// What was not in the other program's file stays as it is here: base, pictures and names.
    pub(crate) fn use_import(&mut self, import: &Import) {
        let mut recipe = self.draft.emptied();
        // Its folders are all there are.
        if import.recipe.is_set("dataset.folder") {
            recipe.set_folders(&[]).ok();
        }
        for (id, value) in import.recipe.typed() {
            // It held in the recipe it comes from.
            recipe.set(id, value.clone()).ok();
        }
        self.replace_recipe(recipe);
        self.page = Page::Training;
    }

    /// Undo and redo; a folder or base that changes with it is looked at again.
    pub(crate) fn replace_recipe(&mut self, recipe: Recipe) {
        let of = |recipe: &Recipe, ids: &[&str]| ids.iter().map(|id| recipe.get(id)).collect::<Vec<_>>();
        let changed = |ids: &[&str]| of(&recipe, ids) != of(&self.draft.recipe, ids);
        let paths = |recipe: &Recipe| recipe.folders().into_iter().map(|folder| folder.path).collect::<Vec<_>>();
        // Other repeats of the same folders are noticed before the next plan.
        let (folder, base) = (paths(&recipe) != paths(&self.draft.recipe), changed(&BASE_IDS));
        self.draft.recipe = recipe;
        self.draft.typed.clear();
        self.draft.example = None;
        self.draft.touch();
        if folder {
            self.rescan();
        }
        if base {
            self.use_base(self.draft.text("base.path"));
        }
    }

    pub(crate) fn use_base(&mut self, path: String) {
        if path == BUILT_IN[0].name {
            self.draft.reset("base.path");
        } else if let Err(error) = self.draft.set_text("base.path", path) {
            self.toasts.add(Tone::Error, error);
            return;
        }
        if self.draft.is_demo() && self.start.demo_base.as_os_str().is_empty() {
            let told = texts::model::DEMO_IS_MISSING;
            self.draft.base = Load::Failed(told.to_owned());
            return;
        }
        let (path, files) = self.draft.base_files(&self.start.demo_base);
        let ticket = self.work.inspect(path, files);
        self.inspected_files = self.draft.part_files();
        self.draft.base = Load::Loading(ticket);
    }

    pub(crate) fn use_example(&mut self, index: usize) {
        let Some(example) = self.start.examples.get(index).cloned() else { return };
        self.draft.example = None;
        self.draft.set_preset(example.preset);
        self.use_folder(example.folder);
        self.draft.example = Some(index);
        if let Err(error) = self.draft.set_text("dataset.trigger", example.trigger) {
            self.toasts.add(Tone::Error, error);
        }
    }

    pub(crate) fn use_recipe(&mut self, recipe: Recipe) {
        self.draft = Draft::new(recipe, self.draft.generation + 1);
        self.use_base(self.draft.text("base.path"));
        self.rescan();
        self.draft.touch();
        self.page = Page::Training;
    }
}
