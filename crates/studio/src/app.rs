//! The studio's parts put together: what happens between frames, and how a frame is drawn.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;

use egui::{Context, Ui};
use lorikeet_checkpoint::{Found, PartFiles};
use lorikeet_protocol::{Command, Engine, Event};
use lorikeet_recipe::{Import, Recipe, Value};

use crate::actions::Action;
use crate::browse::Browse;
use crate::choosing::{Chooser, native_dialogs};
use crate::closing::Closing;
use crate::commands;
use crate::comparing::Comparing;
use crate::draft::{Draft, Load};
use crate::drawing::Drawing;
use crate::edits::FileJob;
use crate::health::Health;
use crate::history::History;
use crate::hub::HubView;
use crate::kit::{Tone, theme, toast::Toasts};
use crate::log::Level;
use crate::masks::Masks;
use crate::overlay::Overlay;
use crate::pages::{AdvancedView, Compare, ExportForm, FolderCounts, LongerForm, Page, PromptForm, Shapes};
use crate::palette::Palette;
use crate::pictures::Pictures;
use crate::prefs::{self, Prefs};
use crate::queue::QueueView;
use crate::run_files::RunEntry;
use crate::state::{Asked, Message, Phase, State};
use crate::watching::Watched;
use crate::work::Work;
use crate::{StartUp, shell};

/// Seconds without a change before a plan is asked for.
const PROBE_AFTER: f64 = 0.3;
/// The engine may wake the window this often.
const WAKE_EVERY: Duration = Duration::from_millis(100);

/// The studio. In a window through [`crate::run`]; in tests through [`StudioApp::ui`].
pub struct StudioApp {
    pub(crate) engine: Box<dyn Engine>,
    pub(crate) start: StartUp,
    pub(crate) state: State,
    pub(crate) draft: Draft,
    pub(crate) work: Work,
    pub(crate) pictures: Pictures,
    pub(crate) toasts: Toasts,
    pub(crate) prefs: Prefs,
    pub(crate) page: Page,
    pub(crate) chooser: Chooser,
    /// Asked for by what is drawn, done after it is drawn.
    pub(crate) actions: Vec<Action>,
    /// Pictures of the examples, for their tiles.
    pub(crate) examples: Vec<Vec<PathBuf>>,
    pub(crate) runs: Load<Vec<RunEntry>>,
    /// Models found in the usual places.
    pub(crate) models: Load<Vec<Found>>,
    /// The files for parts that the base was looked at with.
    pub(crate) inspected_files: PartFiles,
    pub(crate) export: Option<ExportForm>,
    /// Index of prompt, and step, of the preview shown large.
    pub(crate) enlarged: Option<(usize, u64)>,
    pub(crate) compare: Compare,
    pub(crate) drawing: Drawing,
    pub(crate) prompts: PromptForm,
    pub(crate) confirm_stop: bool,
    /// The run that is to go to the trash.
    pub(crate) confirm_delete: Option<PathBuf>,
    pub(crate) run_search: String,
    /// Where the loss plot is to be saved as a picture, once it is drawn.
    pub(crate) picture_to: Option<PathBuf>,
    pub(crate) advanced: AdvancedView,
    pub(crate) log_scale: bool,
    pub(crate) palette: Option<Palette>,
    /// Settings of another program, not used yet.
    pub(crate) imported: Option<Import>,
    pub(crate) history: History,
    pub(crate) browse: Browse,
    pub(crate) health: Health,
    pub(crate) hub: HubView,
    pub(crate) shapes: Shapes,
    pub(crate) folder_counts: FolderCounts,
    pub(crate) masks: Masks,
    pub(crate) comparing: Comparing,
    /// Of the draft: read in every frame, so kept.
    pub(crate) trigger: String,
    pub(crate) validation: String,
    /// Changes to files that wait for the one that is out.
    pub(crate) files: VecDeque<FileJob>,
    pub(crate) file_job_out: bool,
    /// Training starts once the captions are on the disk.
    pub(crate) train_when_saved: bool,
    pub(crate) was_focused: bool,
    /// Tiles of the grid in the last frame, for tests.
    pub(crate) drawn_tiles: usize,
    /// The page is to be shown from its top in the next frame.
    pub(crate) to_top: bool,
    /// When a plan is to be asked for, in egui's seconds.
    probe_at: Option<f64>,
    pub(crate) closing: Closing,
    pub(crate) queue: QueueView,
    /// Curves of earlier runs on the loss plot.
    pub(crate) overlays: Vec<Overlay>,
    pub(crate) log_level: Level,
    /// The run that is to get more steps.
    pub(crate) longer: Option<LongerForm>,
    /// The run that is shown works in another process.
    pub(crate) watched: Option<Watched>,
    looked_for_work: bool,
}

impl StudioApp {
    /// Sets fonts and themes of `ctx`, chooses the demo base and the first example.
    pub fn new(ctx: &Context, mut engine: Box<dyn Engine>, start: StartUp) -> Self {
        theme::install(ctx);
        let waking = ctx.clone();
        engine.set_waker(Box::new(move || waking.request_repaint_after(WAKE_EVERY)));
        let cache = directories::ProjectDirs::from("", "", "lorikeet").map(|dirs| dirs.cache_dir().join("thumbnails"));
        let mut app = Self {
            engine,
            state: State::default(),
            draft: Draft::default(),
            work: Work::new(ctx),
            pictures: Pictures::new(ctx, cache),
            toasts: Toasts::default(),
            prefs: Prefs::default(),
            page: Page::Dataset,
            chooser: native_dialogs(),
            actions: Vec::new(),
            examples: vec![Vec::new(); start.examples.len()],
            runs: Load::Nothing,
            models: Load::Nothing,
            inspected_files: PartFiles::default(),
            export: None,
            enlarged: None,
            compare: Compare::default(),
            drawing: Drawing::default(),
            prompts: PromptForm::default(),
            confirm_stop: false,
            confirm_delete: None,
            run_search: String::new(),
            picture_to: None,
            advanced: AdvancedView::default(),
            log_scale: false,
            palette: None,
            imported: None,
            history: History::default(),
            browse: Browse::default(),
            health: Health::default(),
            hub: HubView::new(start.hub.clone()),
            shapes: Shapes::default(),
            folder_counts: FolderCounts::default(),
            masks: Masks::default(),
            comparing: Comparing::default(),
            trigger: String::new(),
            validation: String::new(),
            files: VecDeque::new(),
            file_job_out: false,
            train_when_saved: false,
            was_focused: true,
            drawn_tiles: 0,
            to_top: false,
            probe_at: None,
            closing: Closing::No,
            queue: QueueView::default(),
            longer: None,
            overlays: Vec::new(),
            log_level: Level::Info,
            watched: None,
            looked_for_work: false,
            start,
        };
        for (index, example) in app.start.examples.iter().enumerate() {
            app.work.example(index, example.folder.clone());
        }
        app.use_base("demo".to_owned());
        if !app.start.examples.is_empty() {
            app.use_example(0);
        }
        app.history = History::start(&app.draft.recipe);
        app
    }

    /// Replaces the system's dialogs, for tests and for machines without any.
    #[must_use]
    pub fn with_dialogs(mut self, chooser: Chooser) -> Self {
        self.chooser = chooser;
        self
    }

    /// What events have told so far.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The recipe as it would be started.
    pub fn recipe(&self) -> Recipe {
        self.outgoing()
    }

    pub fn page(&self) -> Page {
        self.page
    }

    pub fn go(&mut self, page: Page) {
        self.perform(Action::Go(page));
    }

    /// What was remembered from the last time.
    pub(crate) fn restore(&mut self, storage: Option<&dyn eframe::Storage>) {
        if let Some(prefs) = storage.and_then(|storage| eframe::get_value(storage, prefs::KEY)) {
            self.prefs = prefs;
            self.engine.set_workplace(self.prefs.workplace);
        }
    }

    /// A whole frame: what happened since the last, then drawing.
    pub fn ui(&mut self, ui: &mut Ui) {
        self.between_frames(ui.ctx());
        self.draw(ui);
    }

    fn between_frames(&mut self, ctx: &Context) {
        let wanted = self.prefs.theme.into();
        if ctx.options(|options| options.theme_preference) != wanted {
            ctx.set_theme(wanted);
        }
        if !std::mem::replace(&mut self.looked_for_work, true) {
            self.work.find_working(self.runs_folder());
        }
        let mut events = Vec::new();
        self.engine.poll(&mut |event| events.push(event));
        for event in events {
            self.event(event);
        }
        for answer in self.work.answers() {
            self.answer(answer);
        }
        self.follow();
        self.watch_closing(ctx);
        self.advance_queue();
        let dropped = ctx.input(|i| i.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect::<Vec<_>>());
        if !dropped.is_empty() {
            self.work.dropped(dropped);
        }
        if let Some(action) = commands::pressed(self, ctx) {
            self.perform(action);
        }
        self.watch_focus(ctx);
        if self.page == Page::Samples {
            self.follow_drawings();
        }
        self.probe(ctx);
        self.rounds();
    }

    fn draw(&mut self, ui: &mut Ui) {
        self.pictures.begin_frame();
        shell::show(self, ui);
        self.toasts.show(ui.ctx());
        for action in std::mem::take(&mut self.actions) {
            self.perform(action);
            // What an action changed is to be seen at once.
            ui.ctx().request_repaint();
        }
    }

    pub(crate) fn can_train(&self) -> bool {
        !self.state.active() && self.draft.missing().is_none()
    }

    pub(crate) fn send(&mut self, command: Command) {
        self.engine.send(command);
    }

    /// Where the next run will be.
    pub(crate) fn runs_folder(&self) -> PathBuf {
        if self.draft.recipe.is_set("save.folder") {
            return PathBuf::from(self.draft.text("save.folder"));
        }
        self.prefs.runs_folder.clone().unwrap_or_else(|| self.start.runs_folder.clone())
    }

    /// The draft with what Settings and the program's start say where nothing was typed.
    pub(crate) fn outgoing(&self) -> Recipe {
        let mut recipe = self.draft.recipe.clone();
        let folder = self.runs_folder().to_string_lossy().into_owned();
        let fill = [
            ("run.device", self.prefs.device.clone(), self.prefs.device != "auto"),
            ("save.folder", folder.clone(), !folder.is_empty()),
        ];
        for (id, value, wanted) in fill {
            if wanted && !recipe.is_set(id) {
                // A value that does not hold is left to the default, which the plan then tells.
                recipe.set(id, Value::Text(value)).ok();
            }
        }
        recipe
    }

    /// Asks for a plan once the draft has been still for a moment.
    fn probe(&mut self, ctx: &Context) {
        let now = ctx.input(|i| i.time);
        if self.draft.take_changed() {
            self.probe_at = Some(now + PROBE_AFTER);
            self.history.note(&self.draft.recipe, now);
            self.trigger = self.draft.text("dataset.trigger");
            self.validation = self.draft.text("dataset.validation_folder");
            if self.draft.part_files() != self.inspected_files {
                self.use_base(self.draft.text("base.path"));
            }
        }
        let Some(at) = self.probe_at else { return };
        if self.state.active() || self.draft.missing().is_some() {
            // The answers that are awaited mark the draft as changed again.
            if self.draft.missing().is_some() && !self.state.active() {
                self.state.plan = None;
                self.state.plan_failure = None;
                self.probe_at = None;
            }
        } else if now >= at {
            self.probe_at = None;
            if self.draft.repeats_changed() {
                self.refresh();
            }
            self.state.asking(Asked::Plan);
            self.send(Command::Probe { recipe: Box::new(self.outgoing()) });
        } else {
            ctx.request_repaint_after(Duration::from_secs_f64(at - now));
        }
    }

    pub(crate) fn event(&mut self, event: Event) {
        let Some(event) = self.drawing.event(event, self.state.active()) else {
            let notes = self.drawing.take_notes();
            notes.iter().for_each(|note| self.toasts.add(Tone::Warn, crate::pages::sentence(note)));
            return;
        };
        let ended = matches!(event, Event::Finished { .. } | Event::Failed(_));
        let began = if let Event::Started { run_dir, .. } = &event { Some(run_dir.clone()) } else { None };
        let was_active = self.state.active();
        let was_stopping = self.state.phase == Phase::Stopping;
        self.state.apply(event);
        if let Some(run_dir) = began {
            self.queue_run_began(run_dir);
        }
        if ended && was_active && !self.state.active() {
            self.confirm_stop = false;
            self.queue_run_ended(was_stopping);
            // Where it says how the run ended.
            self.to_top = true;
            // Settings changed during the run have no plan yet.
            self.draft.touch();
            if !matches!(self.runs, Load::Nothing) {
                self.perform(Action::ListRuns);
            }
        }
        if let (Some(path), Some(form)) = (&self.state.exported, &mut self.export)
            && form.sent
            && !std::mem::replace(&mut form.checking, true)
        {
            self.work.check_export(path.clone());
            let folders = form.chosen_folders();
            self.actions.push(Action::CopyLora(folders, false));
        }
        for message in self.state.take_messages() {
            match message {
                Message::Good(text) => self.toasts.add(Tone::Ok, text),
                Message::Warning(text) => self.toasts.add(Tone::Warn, crate::pages::sentence(&text)),
                Message::Bad(text) => self.toasts.add(Tone::Error, crate::pages::sentence(&text)),
            }
        }
    }
}

impl eframe::App for StudioApp {
    fn logic(&mut self, ctx: &Context, _frame: &mut eframe::Frame) {
        self.between_frames(ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _frame: &mut eframe::Frame) {
        self.draw(ui);
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.last_words();
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        eframe::set_value(storage, prefs::KEY, &self.prefs);
    }
}
