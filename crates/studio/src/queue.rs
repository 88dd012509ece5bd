//! The window's part in the queue: it shows what waits, changes it, and does the runs one after another. The file is shared with
//! the command line and with a window that went, so every change is made to what is there, on a thread.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use lorikeet_protocol::Command;
use lorikeet_queue::{End, Queue, QueueChange, QueueFile, Seen, Task, Working};

use crate::app::StudioApp;
use crate::closing::Closing;
use crate::draft::Load;
use crate::kit::Tone;
use crate::pages::sentence;
use crate::state::Phase;
use crate::texts;

/// How often the file is looked at for what other programs did.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What is asked of the queue.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum QueueAction {
    /// The recipe as it is now.
    Add,
    Go(bool),
    Remove(u64),
    /// Before what stands at that place now.
    Move(u64, usize),
    /// Looks at its recipe, which leaves the queue.
    Edit(u64),
    ForgetEnded,
}

#[derive(Default)]
pub(crate) struct QueueView {
    /// As the file was last seen, with the changes of this window.
    pub list: Queue,
    /// Another program works it.
    pub elsewhere: bool,
    /// The run that is on in this window is the queue's.
    pub on: bool,
    /// The next one starts in this window when nothing is on.
    going: bool,
    /// None: it is not kept.
    file: Option<QueueFile>,
    /// While this window works it.
    working: Option<Arc<Working>>,
    /// Made here, and not in the file yet.
    changes: VecDeque<QueueChange>,
    /// A job has the file.
    out: bool,
    /// Whether what cannot be read was told.
    told: bool,
    watch: Option<Watch>,
    /// The run of another program that was shown last.
    followed: Option<PathBuf>,
}

/// The next run, and the right to do it.
pub(crate) struct Taken {
    pub working: Arc<Working>,
    pub seen: Seen,
    pub task: Option<Task>,
}

impl QueueView {
    /// Whether the next run starts when the one that is on is over, here or elsewhere.
    pub(crate) fn is_going(&self) -> bool {
        if self.elsewhere { !self.list.hold } else { self.going }
    }

    /// Whether there is something to start.
    pub(crate) fn waits(&self) -> bool {
        !self.list.waiting.is_empty() || self.interrupted().is_some()
    }

    /// The name of a run whose program ended in the middle of it.
    pub(crate) fn interrupted(&self) -> Option<&str> {
        let current = self.list.current.as_ref().filter(|_| !self.on && !self.elsewhere && self.working.is_none());
        current.map(|current| current.run.name.as_str())
    }

    fn change(&mut self, change: QueueChange) {
        self.list.change(change.clone());
        if self.file.is_some() {
            self.changes.push_back(change);
        }
    }

    /// Whether the file is as the window shows it.
    pub(crate) fn is_settled(&self) -> bool {
        self.changes.is_empty() && !self.out
    }

    /// What another program is to go on with when the window goes. From then on it is not this window's.
    pub(crate) fn let_go(&mut self) -> Option<PathBuf> {
        let ours = self.working.take().is_some() || self.going;
        self.file.as_ref().filter(|_| ours).map(|file| file.path().to_owned())
    }

    fn seen(&mut self, seen: Seen) {
        // What was changed meanwhile is asked for again with that.
        if self.changes.is_empty() {
            self.list = seen.queue;
            self.elsewhere = seen.worked && self.working.is_none();
        }
    }
}

/// A thread that looks whether the file has changed, as long as this lives.
struct Watch {
    changed: Arc<AtomicBool>,
    _stop: SyncSender<()>,
}

impl Watch {
    /// `None` when the system gives no thread.
    fn start(file: QueueFile, ctx: egui::Context) -> Option<Watch> {
        let (stop, stopped) = sync_channel(0);
        let changed = Arc::new(AtomicBool::new(true));
        let seen = changed.clone();
        let look = move || {
            let mut last = file.stamp();
            while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let now = file.stamp();
                if now != last {
                    last = now;
                    seen.store(true, Ordering::Release);
                    ctx.request_repaint();
                }
            }
        };
        thread::Builder::new().name("studio queue".to_owned()).spawn(look).ok()?;
        Some(Watch { changed, _stop: stop })
    }
}

impl StudioApp {
    /// From now on the queue is kept in this file; what is there is read.
    pub(crate) fn keep_queue_in(&mut self, file: QueueFile) {
        self.queue.watch = Watch::start(file.clone(), self.work.context());
        self.queue.file = Some(file);
    }

    /// As the thread that watches the file does.
    pub(crate) fn look_at_queue(&mut self) {
        if let Some(watch) = &self.queue.watch {
            watch.changed.store(true, Ordering::Release);
        }
    }

    pub(crate) fn queue_seen(&mut self, result: Result<Seen, String>) {
        self.queue.out = false;
        match result {
            Ok(seen) => {
                self.queue.seen(seen);
                self.tell_of_unreadable();
                self.follow_queue();
            }
            Err(error) => {
                // What is shown is no longer what is there.
                self.queue.changes.clear();
                self.queue.list = Queue::default();
                if !std::mem::replace(&mut self.queue.told, true) {
                    self.toasts.add(Tone::Warn, sentence(&error));
                }
            }
        }
    }

    pub(crate) fn queue_changed(&mut self, result: Result<Seen, String>) {
        if result.is_err() {
            self.queue.told = false;
            self.look_at_queue();
        }
        self.queue_seen(result);
    }

    pub(crate) fn queue_taken(&mut self, result: Result<Taken, String>) {
        self.queue.out = false;
        match result {
            Ok(taken) => {
                self.queue.working = Some(taken.working);
                self.queue.seen(taken.seen);
                match taken.task {
                    None => self.queue.going = false,
                    Some(_) if self.state.active() || self.closing != Closing::No => {
                        self.queue.change(QueueChange::GiveBack);
                    }
                    Some(task) => self.begin_task(task),
                }
            }
            Err(error) => {
                self.queue.going = false;
                self.look_at_queue();
                self.toasts.add(Tone::Warn, sentence(&error));
            }
        }
    }

    fn tell_of_unreadable(&mut self) {
        let (unreadable, file) = (self.queue.list.unreadable() as u64, &self.queue.file);
        if unreadable > 0
            && let Some(file) = file
            && !std::mem::replace(&mut self.queue.told, true)
        {
            let told = texts::queue::unreadable(unreadable, file.path().display());
            self.toasts.add(Tone::Warn, told);
        }
    }

    /// Shows the run that another program does for the queue, once for each.
    fn follow_queue(&mut self) {
        let current = self.queue.list.current.as_ref().filter(|_| self.queue.elsewhere);
        let Some(run_dir) = current.and_then(|current| current.run_dir.clone()) else { return };
        if !self.state.active() && self.queue.followed.as_ref() != Some(&run_dir) {
            self.queue.followed = Some(run_dir.clone());
            self.watch_beside(run_dir);
        }
    }

    fn begin_task(&mut self, task: Task) {
        self.queue.on = true;
        self.state.starting();
        self.enlarged = None;
        self.send(match task {
            Task::Start(run) => Command::Start { recipe: Box::new(run.recipe) },
            Task::Resume { run_dir, .. } => Command::ResumeRun { run_dir },
        });
    }

    pub(crate) fn queue_action(&mut self, action: QueueAction) {
        match action {
            QueueAction::Add => self.add_to_queue(),
            QueueAction::Go(going) => {
                if !self.queue.elsewhere {
                    self.queue.going = going;
                }
                self.queue.change(QueueChange::Hold(!going));
            }
            QueueAction::Remove(id) => self.queue.change(QueueChange::Remove(id)),
            QueueAction::Move(id, to) => self.queue.change(QueueChange::Move(id, to)),
            QueueAction::Edit(id) => {
                if let Some(run) = self.queue.list.get(id) {
                    let recipe = run.recipe.clone();
                    self.queue.change(QueueChange::Remove(id));
                    self.use_recipe(recipe);
                }
            }
            QueueAction::ForgetEnded => {
                let interrupted = self.queue.interrupted().is_some();
                self.queue.change(QueueChange::Forget { interrupted });
            }
        }
    }

    /// `Demo base · Style · rank 16`.
    pub(crate) fn summary(&self) -> String {
        let base = match &self.draft.base {
            _ if self.draft.is_demo() => self.draft.built_in().map_or("", |base| base.title),
            Load::Ready(base) => base.title.as_str(),
            _ => texts::common::BASE,
        };
        texts::shell::summary(base, self.draft.recipe.preset().label(), self.draft.int("network.rank"))
    }

    fn add_to_queue(&mut self) {
        self.commit_caption();
        if let Some(missing) = self.draft.missing() {
            self.toasts.add(Tone::Warn, missing);
            return;
        }
        let (name, about, recipe) = (self.draft.name(), self.summary(), Box::new(self.outgoing()));
        self.queue.change(QueueChange::Add { name, about, recipe });
        // Who adds one while another is on wants it done after that.
        if self.state.active() && self.watched.is_none() && !self.queue.is_going() {
            self.queue_action(QueueAction::Go(true));
        }
        let told = if self.queue.is_going() { texts::queue::ADDED_GOING } else { texts::queue::ADDED };
        self.toasts.add(Tone::Ok, told);
    }

    pub(crate) fn queue_run_began(&mut self, run_dir: PathBuf) {
        if self.queue.on {
            self.queue.change(QueueChange::Began(run_dir));
        }
    }

    /// Notes how the run of the queue ended.
    pub(crate) fn queue_run_ended(&mut self, was_stopping: bool) {
        if was_stopping {
            // Whoever stops a run does not want the next one at once.
            self.queue.going = false;
        }
        if !std::mem::take(&mut self.queue.on) {
            return;
        }
        let end = match &self.state.phase {
            Phase::Failed(failure) => End::Failed(failure.what.clone()),
            _ if was_stopping => End::Stopped,
            _ => End::Done,
        };
        if let (End::Failed(_), Some(current), true) =
            (&end, &self.queue.list.current, self.queue.going && !self.queue.list.waiting.is_empty())
        {
            let told = texts::queue::failed_goes_on(&current.run.name);
            self.toasts.add(Tone::Warn, told);
        }
        self.queue.change(QueueChange::Ended(end));
    }

    /// Between frames: starts the next run when it is its turn, and keeps window and file alike.
    pub(crate) fn advance_queue(&mut self) {
        let free = !self.state.active() && !self.file_job_out && self.closing == Closing::No;
        let queue = &mut self.queue;
        let Some(file) = queue.file.clone() else {
            if queue.going && free {
                match queue.list.next_task() {
                    Some(task) => self.begin_task(task),
                    None => queue.going = false,
                }
            }
            return;
        };
        if queue.out {
            return;
        }
        if !queue.changes.is_empty() {
            queue.out = true;
            self.work.change_queue(file, queue.changes.drain(..).collect());
        } else if queue.watch.as_ref().is_some_and(|watch| watch.changed.swap(false, Ordering::AcqRel)) {
            queue.out = true;
            self.work.read_queue(file);
        } else if queue.going && free && !queue.on {
            queue.out = true;
            self.work.take_from_queue(file, queue.working.clone());
        } else if !queue.going && !queue.on {
            queue.working = None;
        }
    }
}
