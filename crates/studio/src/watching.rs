//! A run of another process, watched through its folder: one that an earlier window left, or one of the command line.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::thread;
use std::time::Duration;

use lorikeet_protocol::{Event, LOCK_FILE, Load, Step, in_use};
use serde::de::DeserializeOwned;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::pages::Page;
use crate::run_files;
use crate::state::{Phase, State};

/// How often the folder is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What a look at the folder found.
struct Found {
    events: Vec<Event>,
    /// Nobody works in the folder any more.
    over: bool,
}

/// A thread looks at the folder as long as this lives.
pub(crate) struct Watched {
    pub run_dir: PathBuf,
    /// Number of the process, if it is told.
    pub process: Option<u32>,
    /// Asks for a look now.
    look: SyncSender<()>,
    found: Receiver<Found>,
    seen_first: bool,
}

impl Watched {
    /// `None` when the system gives no thread.
    pub(crate) fn start(run_dir: PathBuf, ctx: &egui::Context) -> Option<Watched> {
        let (look, asked) = sync_channel(1);
        let (sender, found) = sync_channel(4);
        let process = std::fs::read_to_string(run_dir.join(LOCK_FILE)).ok().and_then(|text| text.trim().parse().ok());
        let (folder, ctx) = (run_dir.clone(), ctx.clone());
        thread::Builder::new()
            .name("studio watch".to_owned())
            .spawn(move || {
                let mut reader = Reader::new(&folder);
                loop {
                    // Looked at first, so that nothing told before the end is missed.
                    let over = !in_use(&folder);
                    let events = reader.read();
                    if sender.send(Found { events, over }).is_err() {
                        return;
                    }
                    ctx.request_repaint();
                    if over || asked.recv_timeout(EVERY) == Err(RecvTimeoutError::Disconnected) {
                        return;
                    }
                }
            })
            .ok()?;
        Some(Watched { run_dir, process, look, found, seen_first: false })
    }
}

/// What was added to a run's files since the last look.
struct Reader {
    folder: PathBuf,
    events: Tail,
    metrics: Tail,
    load: Option<Load>,
    planned: bool,
    first: bool,
}

impl Reader {
    fn new(folder: &Path) -> Reader {
        let tail = |name| Tail { path: folder.join(name), offset: 0 };
        Reader {
            folder: folder.to_owned(),
            events: tail("events.jsonl"),
            metrics: tail("metrics.jsonl"),
            load: None,
            planned: false,
            first: true,
        }
    }

    /// The plan, then steps among what else was told as well as can be known, and how it ended last.
    fn read(&mut self) -> Vec<Event> {
        let mut told: Vec<Event> = self.events.read();
        let steps: Vec<Step> = self.metrics.read();
        let mut all = Vec::new();
        if std::mem::take(&mut self.first) {
            // What came before the run was continued has ended long ago.
            let begin = told.iter().rposition(|event| matches!(event, Event::Started { .. })).unwrap_or(0);
            let mut at = 0;
            told.retain(|event| {
                at += 1;
                at > begin || !matches!(event, Event::Finished { .. } | Event::Failed(_) | Event::Paused { .. })
            });
            all.push(Event::Started { run_dir: self.folder.clone(), resumed_at: 0 });
        }
        if !self.planned
            && let Some(plan) = run_files::plan(&self.folder)
        {
            self.planned = true;
            all.push(Event::Planned { plan: Box::new(plan) });
        }
        let (ends, others): (Vec<_>, Vec<_>) =
            told.into_iter().partition(|event| matches!(event, Event::Finished { .. } | Event::Failed(_)));
        all.extend(others.into_iter().filter_map(|event| match event {
            Event::Started { .. } => None,
            Event::Sample(mut sample) => {
                sample.path = run_files::inside(&self.folder, sample.path);
                Some(Event::Sample(sample))
            }
            event => Some(event),
        }));
        all.extend(steps.into_iter().map(Event::Step));
        let load = run_files::load(&self.folder);
        if load != self.load {
            all.extend(load.clone().map(Event::Load));
            self.load = load;
        }
        all.extend(ends);
        all
    }
}

/// A file of lines that grows.
struct Tail {
    path: PathBuf,
    offset: u64,
}

impl Tail {
    /// Whole new lines that are a `T`.
    fn read<T: DeserializeOwned>(&mut self) -> Vec<T> {
        let text = self.new_text().unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn new_text(&mut self) -> std::io::Result<String> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.offset {
            // Written anew.
            self.offset = 0;
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        // The last line may still be growing.
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1));
        self.offset += bytes.len() as u64;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

impl StudioApp {
    /// Shows a run of another process, if there is none in this window.
    pub(crate) fn watch(&mut self, run_dir: PathBuf) {
        if self.watch_beside(run_dir) {
            self.perform(Action::Go(Page::Monitor));
        }
    }

    /// The same on the page that is shown.
    pub(crate) fn watch_beside(&mut self, run_dir: PathBuf) -> bool {
        if self.state.active() {
            return false;
        }
        self.watched = Watched::start(run_dir.clone(), &self.work.ctx);
        if self.watched.is_some() {
            self.state = State::default();
            self.state.run_dir = Some(run_dir);
            self.state.phase = Phase::Running;
        }
        self.watched.is_some()
    }

    pub(crate) fn unwatch(&mut self) {
        if self.watched.take().is_some() {
            self.state = State::default();
            self.draft.touch();
        }
    }

    /// Takes what the thread found.
    pub(crate) fn follow(&mut self) {
        while let Some(watched) = &self.watched {
            match watched.found.try_recv() {
                Ok(found) => self.found(found),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.watched_ended(),
            }
        }
    }

    /// Waits for a look at the folder. For tests, which have no time.
    pub(crate) fn settle_watched(&mut self) {
        self.follow();
        let Some(watched) = &self.watched else { return };
        if watched.seen_first {
            watched.look.try_send(()).ok();
        }
        match watched.found.recv() {
            Ok(found) => self.found(found),
            Err(_) => self.watched_ended(),
        }
    }

    fn found(&mut self, found: Found) {
        let Some(watched) = &mut self.watched else { return };
        let first = !std::mem::replace(&mut watched.seen_first, true);
        for event in found.events {
            self.event(event);
        }
        if first {
            // What happened before is no news.
            self.state.take_messages();
        }
        if found.over {
            self.watched_ended();
        }
    }

    fn watched_ended(&mut self) {
        self.watched = None;
        if self.state.active() {
            self.event(Event::Failed(run_files::interrupted(&self.state)));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_growing_file_is_read_line_by_line_and_from_its_start_when_it_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut tail = Tail { path: path.clone(), offset: 0 };
        assert_eq!(tail.read::<u32>(), [0; 0]);
        std::fs::write(&path, "1\n2\n3").unwrap();
        assert_eq!(tail.read::<u32>(), [1, 2]);
        std::fs::write(&path, "1\n2\n34\nno number\n5\n").unwrap();
        assert_eq!(tail.read::<u32>(), [34, 5]);
        std::fs::write(&path, "6\n").unwrap();
        assert_eq!(tail.read::<u32>(), [6]);
    }

    #[test]
    fn a_run_that_was_continued_has_not_failed() {
        let folder = tempfile::tempdir().unwrap();
        let line = |event: &Event| serde_json::to_string(event).unwrap() + "\n";
        let failure = lorikeet_protocol::Failure {
            what: "It failed".to_owned(),
            why: "So it is".to_owned(),
            todo: "Nothing".to_owned(),
            last_save: None,
        };
        let failed = line(&Event::Failed(failure));
        let started = line(&Event::Started { run_dir: "run".into(), resumed_at: 2 });
        std::fs::write(folder.path().join("events.jsonl"), format!("{started}{failed}{started}")).unwrap();
        let told = Reader::new(folder.path()).read();
        assert!(matches!(&told[..], [Event::Started { .. }]), "{told:?}");
    }
}
