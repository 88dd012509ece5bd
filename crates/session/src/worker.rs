//! The thread behind a [`crate::ThreadEngine`].

use std::any::Any;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::Duration;

use lorikeet_protocol::{Command, Event, Failure, LOAD_FILE, Load};
use lorikeet_recipe::{Recipe, Value, built_in};

use crate::error::SessionError;
use crate::folder::{RunFolder, run_name};
use crate::jobs::{Aside, Done, Host, Jobs};
use crate::queue::EventQueue;
use crate::recorder::Recorder;
use crate::wishes::Wishes;

/// How often a run that waits looks into its folder.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(crate) struct Worker {
    /// The face went and wants the run to go on: the closed channel is no [`Command::Stop`].
    left: Arc<AtomicBool>,
    pub(crate) commands: Receiver<Command>,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) jobs: Box<dyn Jobs>,
    /// What came during a drawing and has to wait for its end.
    pub(crate) deferred: RefCell<VecDeque<Command>>,
}

impl Worker {
    pub(crate) fn new(commands: Receiver<Command>, events: Arc<EventQueue>, jobs: Box<dyn Jobs>) -> Worker {
        Worker { commands, events, jobs, left: Arc::default(), deferred: RefCell::default() }
    }

    pub(crate) fn with_left(self, left: Arc<AtomicBool>) -> Worker {
        Worker { left, ..self }
    }

    /// Until the face is gone.
    pub(crate) fn work(self) {
        while let Some(command) = self.next() {
            match command {
                Command::Start { recipe } => self.start(&recipe),
                Command::ResumeRun { run_dir } => self.resume(&run_dir),
                Command::Probe { .. } | Command::Export(_) => self.quick(command),
                Command::Draw(request) => self.draw(&request),
                Command::Pause
                | Command::Resume
                | Command::Stop
                | Command::SaveNow
                | Command::SampleNow
                | Command::SamplePrompts { .. }
                | Command::SetPrompts { .. } => {
                    self.warn("No run is on, so there is nothing to pause, stop, save or draw");
                }
            }
        }
    }

    /// `None`: the face is gone.
    fn next(&self) -> Option<Command> {
        let deferred = self.deferred.borrow_mut().pop_front();
        deferred.or_else(|| self.commands.recv().ok())
    }

    fn start(&self, recipe: &Recipe) {
        // Before a folder is made: what cannot be planned leaves nothing behind.
        let planned = guarded(None, || self.jobs.probe(recipe));
        if let Err(failure) = planned {
            return self.events.push(Event::Failed(failure));
        }
        let recipe = with_absolute_paths(recipe);
        let parent = PathBuf::from(text(&recipe, "save.folder"));
        let folder = match RunFolder::create(&parent, &run_name(&recipe)) {
            Ok(folder) => folder,
            Err(error) => return self.events.push(Event::Failed(error.failure())),
        };
        if let Err(error) = recipe.save(&folder.path().join("recipe.toml")) {
            let failure = Failure {
                what: "The run cannot be kept".to_owned(),
                why: error.to_string(),
                todo: "Choose an output folder on a disk with room (save.folder)".to_owned(),
                last_save: None,
            };
            folder.discard();
            return self.events.push(Event::Failed(failure));
        }
        self.run(folder, |folder, host| self.jobs.train(&recipe, folder, host));
    }

    fn resume(&self, run_dir: &Path) {
        match RunFolder::open(run_dir) {
            Ok(folder) => self.run(folder, |folder, host| self.jobs.resume(folder, host)),
            Err(error) => self.events.push(Event::Failed(error.failure())),
        }
    }

    fn run(&self, folder: RunFolder, job: impl FnOnce(&Path, &mut dyn Host) -> Result<Done, Failure>) {
        let recorder = match Recorder::open(folder.path()) {
            Ok(recorder) => recorder,
            Err(source) => {
                let error = SessionError::Write { path: folder.path().to_owned(), source };
                return self.events.push(Event::Failed(error.failure()));
            }
        };
        let log = recorder.log_path();
        let wishes = Wishes::new(folder.path());
        let mut host = RunHost { worker: self, recorder, last_save: None, face_gone: false, wishes };
        let end = guarded(Some(&log), || job(folder.path(), &mut host));
        fs::remove_file(folder.path().join(LOAD_FILE)).ok();
        host.wishes.forget();
        host.event(match end {
            Ok(done) => {
                Event::Finished { run_dir: done.run_dir, step: done.step, lora: done.lora, seconds: done.seconds }
            }
            Err(mut failure) => {
                failure.last_save =
                    failure.last_save.or_else(|| host.last_save.clone()).or_else(|| last_save(folder.path()));
                Event::Failed(failure)
            }
        });
    }

    /// Probe and Export.
    pub(crate) fn quick(&self, command: Command) {
        let answer = guarded(None, || match command {
            Command::Probe { recipe } => {
                self.jobs.probe(&recipe).map(|plan| Some(Event::Planned { plan: Box::new(plan) }))
            }
            Command::Export(request) => {
                let exported = self.jobs.export(&request)?;
                Ok(Some(Event::Exported { path: exported.path, modules: exported.modules }))
            }
            _ => Ok(None),
        });
        match answer {
            Ok(Some(event)) => self.events.push(event),
            Ok(None) => {}
            Err(failure) => self.events.push(Event::Failed(failure)),
        }
    }

    pub(crate) fn warn(&self, message: &str) {
        self.events.push(Event::Warning { message: message.to_owned() });
    }
}

/// What the trainer sees of the face and the run folder.
struct RunHost<'a> {
    worker: &'a Worker,
    recorder: Recorder,
    last_save: Option<PathBuf>,
    face_gone: bool,
    wishes: Wishes,
}

impl RunHost<'_> {
    /// What is for the run itself; the rest is answered here.
    fn for_the_run(&self, command: Command) -> Option<Command> {
        match command {
            Command::Start { .. } | Command::ResumeRun { .. } => {
                self.worker.warn("A run is on already. Stop it first, or wait until it is done");
                None
            }
            Command::Probe { .. } | Command::Export(_) => {
                self.worker.quick(command);
                None
            }
            Command::Draw(request) => {
                self.worker.refuse(&request);
                None
            }
            command => Some(command),
        }
    }
}

impl Host for RunHost<'_> {
    fn event(&mut self, event: Event) {
        if let Event::Saved { path, .. } = &event {
            self.last_save = Some(path.clone());
        }
        if let Some(message) = self.recorder.record(&event) {
            self.worker.warn(&message);
        }
        self.worker.events.push(event);
    }

    fn command(&mut self) -> Option<Command> {
        loop {
            match self.worker.commands.try_recv() {
                Ok(command) => match self.for_the_run(command) {
                    Some(command) => {
                        self.wishes.note(&command);
                        return Some(command);
                    }
                    None => continue,
                },
                Err(TryRecvError::Empty) => return self.wishes.look(),
                Err(TryRecvError::Disconnected) if self.worker.left.load(Ordering::Acquire) => {
                    return self.wishes.look();
                }
                Err(TryRecvError::Disconnected) if std::mem::replace(&mut self.face_gone, true) => return None,
                Err(TryRecvError::Disconnected) => return Some(Command::Stop),
            }
        }
    }

    fn aside(&self) -> Option<Aside> {
        let (events, file) = (self.worker.events.clone(), self.wishes.run_dir().join(LOAD_FILE));
        Some(Box::new(move |event| {
            if let Event::Load(load) = &event {
                // For who looks on from another program. One that cannot be written is missed by nobody else.
                keep(load, &file).ok();
            }
            events.push(event);
        }))
    }

    fn wait(&mut self) -> Option<Command> {
        loop {
            match self.worker.commands.recv_timeout(LOOK_EVERY) {
                Ok(command) => {
                    if let Some(command) = self.for_the_run(command) {
                        self.wishes.note(&command);
                        return Some(command);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) if self.worker.left.load(Ordering::Acquire) => {
                    std::thread::park_timeout(LOOK_EVERY);
                }
                Err(RecvTimeoutError::Disconnected) => return None,
            }
            if let Some(command) = self.wishes.look_while_paused() {
                return Some(command);
            }
        }
    }
}

/// Beside its place first, so that nobody reads half of it.
fn keep(load: &Load, file: &Path) -> io::Result<()> {
    let new = file.with_extension("json.part");
    fs::write(&new, serde_json::to_vec(load)?)?;
    fs::rename(new, file)
}

/// Of an earlier sitting.
pub(crate) fn last_save(run_dir: &Path) -> Option<PathBuf> {
    lorikeet_trainer::saves(run_dir).ok()?.pop().map(|(_, path)| path)
}

/// A mistake of ours ends the job, not the program.
pub(crate) fn guarded<T>(log: Option<&Path>, job: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // Nothing the job changed is used after a panic: a run goes on from its files.
    catch_unwind(AssertUnwindSafe(job)).unwrap_or_else(|payload| {
        let report = "Please report it, with what you did before";
        Err(Failure {
            what: "Lorikeet made a mistake of its own".to_owned(),
            why: panic_message(&*payload),
            todo: match log {
                Some(log) => {
                    format!("{report} and the log, {}. The run can be continued from its last save", log.display())
                }
                None => report.to_owned(),
            },
            last_save: None,
        })
    })
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no reason was given").to_owned()
}

/// A run can be continued, or begun later, from another working folder than the one its recipe was written for.
pub fn with_absolute_paths(recipe: &Recipe) -> Recipe {
    let mut absolute = recipe.clone();
    let mut folders = recipe.folders();
    for folder in &mut folders {
        let path = std::path::absolute(&folder.path).ok().and_then(|path| path.into_os_string().into_string().ok());
        folder.path = path.unwrap_or_else(|| std::mem::take(&mut folder.path));
    }
    if !folders.is_empty() {
        // As below.
        absolute.set_folders(&folders).ok();
    }
    let base = ["base.path", "base.vae", "base.text_encoder", "base.text_encoder_2"];
    for id in base.into_iter().chain(["dataset.validation_folder", "save.folder"]) {
        let path = text(recipe, id);
        // A base that is at no such path may be named as on the hub.
        let named = base.contains(&id) && (built_in(&path).is_some() || !Path::new(&path).exists());
        if path.is_empty() || named {
            continue;
        }
        if let Some(path) = std::path::absolute(&path).ok().and_then(|path| path.into_os_string().into_string().ok()) {
            // A path that the setting refuses in this form stays as it was typed.
            absolute.set(id, Value::Text(path)).ok();
        }
    }
    absolute
}

fn text(recipe: &Recipe, id: &str) -> String {
    if let Value::Text(text) = recipe.get(id) { text } else { String::new() }
}
