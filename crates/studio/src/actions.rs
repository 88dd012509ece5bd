//! What pages ask for, and how it is done.

use std::path::PathBuf;

use lorikeet_dataset::{CaptionEdit, Fix};
use lorikeet_protocol::{Command, Workplace};
use lorikeet_recipe::{Import, Preset};

use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::closing::Close;
use crate::comparing::CompareAction;
use crate::draft::Load;
use crate::drawing::DrawAction;
use crate::folders::FolderChange;
use crate::hub::HubAction;
use crate::kit::Tone;
use crate::masks::MaskAction;
use crate::pages::{ExportForm, LongerForm, Page};
use crate::palette::Palette;
use crate::prefs::Theme;
use crate::queue::QueueAction;
use crate::run_files::Wish;
use crate::state::{Asked, Phase};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Go(Page),
    Train,
    Pause,
    Resume,
    Stop,
    SaveNow,
    SampleNow,
    /// Previews of these prompts, once.
    SampleThese(Vec<String>),
    /// The prompts of all later previews.
    SetPrompts(Vec<String>),
    /// Goes on with a run from its last save.
    ResumeRun(PathBuf),
    OpenExport,
    /// As the dialog says.
    Export,
    /// Shows a run that is over.
    OpenRun(PathBuf),
    UseRecipeOf(PathBuf),
    DeleteRun(PathBuf),
    Choose(Choose),
    Folders(FolderChange),
    Mask(MaskAction),
    Compare(CompareAction),
    Rescan,
    UseExample(usize),
    UseBase(String),
    SetPreset(Preset),
    /// In the file manager.
    Open(PathBuf),
    ListRuns,
    Theme(Theme),
    Device(String),
    Welcome(bool),
    Enlarge(Option<(usize, u64)>),
    /// Opens or closes the command palette.
    Palette(bool),
    Undo,
    Redo,
    AskStop,
    /// Looks for models in the usual places.
    FindModels,
    /// A file for a part of the base, by id of its setting; empty: that of the base.
    UsePart(&'static str, String),
    /// On the Training page, brought into view.
    ShowSetting(&'static str),
    ResetRecipe,
    UseImport(Box<Import>),
    /// Looks at the folder again without hiding what is known.
    Refresh,
    CheckPictures,
    SelectAll,
    /// By path of the pictures.
    EditCaptions(CaptionEdit, Vec<PathBuf>),
    Workplace(Workplace),
    Queue(QueueAction),
    /// The curve of an earlier run on the loss plot, or none of it.
    Overlay(PathBuf),
    /// Asks how many steps a run that is over is to get.
    AskLonger(PathBuf),
    /// `steps` in all; `restart`: though the learning rate has fallen.
    Lengthen {
        run_dir: PathBuf,
        steps: u64,
        restart: bool,
    },
    /// The recipe of a run with that many steps.
    NewWithSteps {
        run_dir: PathBuf,
        steps: u64,
    },
    /// The window, with the run as it was decided.
    Close(Close),
    /// Shows the run that another process works on.
    Watch(PathBuf),
    Unwatch,
    SetAside(Vec<PathBuf>),
    Mend(Fix, Vec<PathBuf>),
    Drawing(DrawAction),
    /// The exported LoRA into these folders; whether other files of its name are replaced.
    CopyLora(Vec<PathBuf>, bool),
    /// Marks a step of the run, or takes the mark away.
    Favourite(Option<u64>),
    Hub(HubAction),
}

impl StudioApp {
    /// Between two steps, or no longer.
    fn pause(&mut self, pause: bool) {
        match &self.watched {
            Some(watched) => self.work.ask_run(watched.run_dir.clone(), if pause { Wish::Pause } else { Wish::GoOn }),
            None => self.send(if pause { Command::Pause } else { Command::Resume }),
        }
    }

    pub(crate) fn perform(&mut self, action: Action) {
        match action {
            Action::Go(page) => {
                self.to_top = self.page != page;
                self.commit_caption();
                self.commit_mask();
                self.page = page;
                if page == Page::Model && matches!(self.models, Load::Nothing) {
                    self.perform(Action::FindModels);
                }
                if page == Page::Runs && !matches!(self.runs, Load::Loading(_)) {
                    self.perform(Action::ListRuns);
                }
            }
            Action::Train => {
                self.commit_caption();
                self.commit_mask();
                if self.file_job_out {
                    self.train_when_saved = true;
                } else if self.can_train() {
                    let recipe = Box::new(self.outgoing());
                    self.state.starting();
                    self.send(Command::Start { recipe });
                    self.enlarged = None;
                    self.page = Page::Monitor;
                }
            }
            Action::ResumeRun(run_dir) => {
                if !self.state.active() {
                    // The curve of the same run is kept, as it goes on from there.
                    if self.state.run_dir.as_ref() == Some(&run_dir) {
                        self.state.phase = Phase::Starting;
                    } else {
                        self.state.starting();
                    }
                    self.send(Command::ResumeRun { run_dir });
                    self.page = Page::Monitor;
                }
            }
            Action::Pause => self.pause(true),
            Action::Resume => self.pause(false),
            Action::Stop => {
                self.confirm_stop = false;
                if let Some(watched) = &self.watched {
                    self.work.ask_run(watched.run_dir.clone(), Wish::Stop);
                    self.state.phase = Phase::Stopping;
                } else if self.state.active() {
                    self.state.phase = Phase::Stopping;
                    self.send(Command::Stop);
                }
            }
            Action::SaveNow => self.send(Command::SaveNow),
            Action::SampleNow => self.send(Command::SampleNow),
            Action::SampleThese(prompts) => self.send(Command::SamplePrompts { prompts }),
            Action::SetPrompts(prompts) => self.send(Command::SetPrompts { prompts }),
            Action::OpenExport => {
                if let Some(run_dir) = self.state.run_dir.clone() {
                    self.state.export_failure = None;
                    self.export = Some(ExportForm::suggest(
                        &run_dir,
                        &self.draft.name(),
                        &self.trigger,
                        &self.state,
                        self.drawing.favourite(Some(&run_dir)),
                    ));
                    self.work.find_lora_folders(self.start.elsewhere);
                }
            }
            Action::Export => {
                if let (Some(run_dir), Some(form)) = (self.state.run_dir.clone(), &mut self.export) {
                    (form.sent, form.checking, form.checked) = (true, false, None);
                    form.copies.clear();
                    let request = form.request(run_dir);
                    self.state.asking(Asked::Export);
                    self.send(Command::Export(request));
                }
            }
            Action::Choose(what) => self.work.choose(&self.chooser, what),
            Action::Folders(change) => self.change_folders(change),
            Action::Mask(action) => self.mask_action(action),
            Action::Compare(action) => self.compare_action(action),
            Action::Rescan => self.rescan(),
            Action::UseExample(index) => self.use_example(index),
            Action::UseBase(path) => self.use_base(path),
            Action::SetPreset(preset) => self.draft.set_preset(preset),
            Action::Open(path) => self.work.open(path),
            Action::ListRuns => {
                let folder = self.runs_folder();
                if self.runs.ready().is_none() {
                    self.runs = Load::Loading(0);
                }
                self.work.list_runs(folder);
            }
            Action::Theme(theme) => self.prefs.theme = theme,
            Action::Device(device) => {
                self.prefs.device = device;
                self.draft.touch();
            }
            Action::Welcome(show) => self.prefs.welcome = show,
            Action::Enlarge(which) => self.enlarged = which,
            Action::Palette(open) => self.palette = open.then(Palette::default),
            Action::Undo | Action::Redo => {
                let redo = action == Action::Redo;
                if !self.step_mask(redo) {
                    self.step_back(redo);
                }
            }
            Action::FindModels => {
                self.models = Load::Loading(0);
                self.work.find_models(self.start.elsewhere);
            }
            Action::UsePart(id, path) => {
                if path.is_empty() {
                    self.draft.reset(id);
                } else if let Err(error) = self.draft.set_text(id, path) {
                    self.toasts.add(Tone::Error, error);
                }
            }
            Action::AskStop => self.confirm_stop = true,
            Action::ShowSetting(id) => self.show_setting(id),
            Action::OpenRun(path) => {
                if !self.state.active() {
                    self.work.read_run(path);
                }
            }
            Action::UseRecipeOf(path) => self.work.read_recipe(path.join("recipe.toml")),
            Action::DeleteRun(path) => self.work.delete_run(path),
            Action::UseImport(import) => self.use_import(&import),
            Action::ResetRecipe => self.replace_recipe(self.draft.emptied()),
            Action::Refresh => self.refresh(),
            Action::CheckPictures => {
                if let Some(data) = self.draft.data.ready() {
                    self.health.check(data);
                }
                self.page = Page::Dataset;
            }
            Action::SelectAll => {
                if let Some(data) = self.draft.data.ready() {
                    let shown = self.browse.visible(data, self.draft.generation, &self.trigger).to_vec();
                    self.browse.select(shown.into_iter().map(|index| data.images[index].path.clone()));
                }
                self.page = Page::Dataset;
            }
            Action::EditCaptions(edit, pictures) => self.edit_captions(edit, &pictures),
            Action::Workplace(workplace) => {
                self.prefs.workplace = workplace;
                self.engine.set_workplace(workplace);
            }
            Action::Overlay(run_dir) => self.toggle_overlay(run_dir),
            Action::AskLonger(run_dir) => {
                self.longer = Some(LongerForm::new(run_dir.clone()));
                self.work.read_plan(run_dir);
            }
            Action::Lengthen { run_dir, steps, restart } => {
                if !self.state.active() {
                    self.work.lengthen(run_dir, steps, restart);
                }
            }
            Action::NewWithSteps { run_dir, steps } => self.work.recipe_with_steps(run_dir.join("recipe.toml"), steps),
            Action::Queue(action) => self.queue_action(action),
            Action::Close(how) => self.close(how),
            Action::Watch(run_dir) => self.watch(run_dir),
            Action::Unwatch => self.unwatch(),
            Action::SetAside(pictures) => self.set_aside(pictures),
            Action::Mend(fix, pictures) => self.mend(fix, &pictures),
            Action::CopyLora(folders, replace) => {
                if let (Some(lora), false) = (self.state.exported.clone(), folders.is_empty()) {
                    self.work.copy_lora(lora, folders, replace);
                }
            }
            Action::Favourite(step) => {
                if let Some(run_dir) = self.state.run_dir.clone() {
                    self.drawing.mark(run_dir.clone(), step);
                    self.work.write_favourite(run_dir, step);
                }
            }
            Action::Drawing(action) => self.draw_action(action),
            Action::Hub(action) => self.hub_action(action),
        }
    }
}
