//! Looks after one worker process at a time: hands it commands on one thread, takes its events on another, and tells how it
//! ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{self, Child, ChildStdin, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use lorikeet_protocol::{Command, DrawEnd, Event, Failure};
use serde::Serialize;

use super::crash::{Lost, failure};
use super::pending::Pending;
use super::{WorkerProgram, apart};
use crate::error::SessionError;
use crate::queue::EventQueue;
use crate::recorder::Recorder;
use crate::serve::Farewell;
use crate::worker::last_save;

pub(super) enum Order {
    Command(Box<Command>),
    /// Go away and let the run go on.
    Leave,
}

/// Lines that are no events, kept for the log.
const NOISE_LINES: usize = 20;
/// As much of what the process printed is looked at when it has ended.
const TAIL_BYTES: u64 = 8 << 10;

/// The side of the commands.
pub(super) struct Supervisor {
    program: WorkerProgram,
    shared: Arc<Shared>,
    /// Ends after its process.
    reader: Option<JoinHandle<()>>,
}

/// What both threads know.
struct Shared {
    events: Arc<EventQueue>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// None: there is no process, or it was told to end after what it has to do.
    stdin: Option<ChildStdin>,
    pending: Pending,
    /// What libraries printed where events are told.
    noise: VecDeque<String>,
}

impl Supervisor {
    pub(super) fn new(program: WorkerProgram, events: Arc<EventQueue>) -> Supervisor {
        let shared = Arc::new(Shared { events, state: Mutex::default() });
        Supervisor { program, shared, reader: None }
    }

    /// Until the engine is gone and the process too, unless that is left.
    pub(super) fn work(mut self, orders: &Receiver<Order>) {
        while let Ok(order) = orders.recv() {
            match order {
                Order::Command(command) => self.hand_over(&command),
                Order::Leave => {
                    // Its reader is not waited for: it reads as long as the run goes on.
                    write(&mut self.shared.lock(), &Farewell { leave: true });
                    return;
                }
            }
        }
        self.shared.lock().stdin = None;
        self.wait();
    }

    fn hand_over(&mut self, command: &Command) {
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if state.stdin.is_none() {
            // The one before may still have something to do.
            drop(state);
            self.wait();
            let started = self.start();
            state = shared.lock();
            match started {
                Ok(stdin) => state.stdin = Some(stdin),
                Err(source) => {
                    let error = SessionError::Process { program: self.program.program.clone(), source };
                    state.pending.ask(command);
                    return shared.lost(&mut state, |_| error.failure());
                }
            }
        }
        state.pending.ask(command);
        write(&mut state, command);
    }

    fn wait(&mut self) {
        if let Some(reader) = self.reader.take() {
            // A panic there is one of ours, and its process is gone or going.
            reader.join().ok();
        }
    }

    fn start(&mut self) -> io::Result<ChildStdin> {
        let printed = tempfile::tempfile()?;
        let mut command = process::Command::new(&self.program.program);
        command
            .args(&self.program.arguments)
            .envs(self.program.environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(printed.try_clone()?);
        apart(&mut command);
        let mut process = command.spawn()?;
        let (Some(stdin), Some(stdout)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(io::Error::other("its input and output are not connected"));
        };
        let shared = self.shared.clone();
        let reader = thread::Builder::new()
            .name("lorikeet-events".to_owned())
            .spawn(move || shared.listen(process, stdout, printed))?;
        self.reader = Some(reader);
        Ok(stdin)
    }
}

/// A process that does not take it has ended or is about to, which the end of its output tells.
fn write(state: &mut State, message: &impl Serialize) {
    if let (Some(stdin), Ok(line)) = (&mut state.stdin, serde_json::to_string(message)) {
        stdin.write_all((line + "\n").as_bytes()).and_then(|()| stdin.flush()).ok();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is one call; a panic between them is one of ours, and told.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what a process tells until it has ended.
    fn listen(&self, process: Child, stdout: ChildStdout, printed: File) {
        let mut output = BufReader::with_capacity(64 << 10, stdout);
        let mut line = Vec::new();
        // Bytes, not text: a library may print anything.
        while let Ok(1..) = output.read_until(b'\n', &mut line) {
            self.told(line.trim_ascii());
            line.clear();
        }
        self.ended(process, printed);
    }

    fn told(&self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let mut state = self.lock();
        match serde_json::from_slice::<Event>(line) {
            Ok(event) => {
                if state.pending.answer(&event) {
                    // What a failed run leaves behind in a driver goes with its process.
                    state.stdin = None;
                }
                self.events.push(event);
            }
            Err(_) => {
                if state.noise.len() == NOISE_LINES {
                    state.noise.pop_front();
                }
                state.noise.push_back(String::from_utf8_lossy(line).into_owned());
            }
        }
    }

    fn ended(&self, mut process: Child, mut printed: File) {
        let status = process.wait().ok();
        let printed = tail(&mut printed).unwrap_or_default();
        let mut state = self.lock();
        let expected = state.stdin.take().is_none();
        let noise = std::mem::take(&mut state.noise);
        if !state.pending.is_empty() {
            if let Some(folder) = state.pending.run.as_ref().and_then(|run| run.folder.as_ref()) {
                log_last_words(folder, noise.into_iter().chain(printed.lines().map(str::to_owned)), status);
            }
            self.lost(&mut state, |lost| failure(lost, status, &printed));
        } else if !expected {
            let why = failure(Lost::Run, status, &printed).why;
            let message = format!("The worker's process is gone: {why}. It is started again when it is needed");
            self.events.push(Event::Warning { message });
        }
    }

    /// Answers everything that is owed with a failure, in the order in which faces give failures to what they asked.
    fn lost(&self, state: &mut State, failure: impl Fn(Lost) -> Failure) {
        let pending = std::mem::take(&mut state.pending);
        for _ in 0..pending.exports {
            self.events.push(Event::Failed(failure(Lost::Export)));
        }
        if let Some(run) = pending.run {
            let mut failure = failure(Lost::Run);
            failure.last_save = run.last_save.or_else(|| last_save(run.folder.as_deref()?));
            if failure.last_save.is_none() && run.folder.is_none() {
                failure.todo = failure.todo.replacen("Continue the run from its last save", "Start it again", 1);
            }
            let event = Event::Failed(failure);
            // The process that would have written it down is gone, and its lock with it.
            if let Some(mut recorder) = run.folder.and_then(|folder| Recorder::open(&folder).ok()) {
                recorder.record(&event);
            }
            self.events.push(event);
        }
        for _ in 0..pending.probes {
            self.events.push(Event::Failed(failure(Lost::Plan)));
        }
        for set in pending.drawings {
            let failure = Some(failure(Lost::Drawing));
            self.events.push(Event::DrawEnded(DrawEnd { set, drawn: 0, failure }));
        }
    }
}

fn tail(printed: &mut File) -> io::Result<String> {
    let length = printed.seek(SeekFrom::End(0))?;
    printed.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    printed.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Into the run's log, for whoever looks for the cause.
fn log_last_words(folder: &Path, lines: impl Iterator<Item = String>, status: Option<ExitStatus>) {
    let Ok(mut recorder) = Recorder::open(folder) else { return };
    let ended = status.map_or_else(|| "unknown".to_owned(), |status| status.to_string());
    let mut text = format!("The worker's process ended ({ended}). What it printed last:");
    for line in lines {
        text.push_str("\n    ");
        text.push_str(&line);
    }
    // A log that cannot be written stops nothing.
    recorder.log(&text).ok();
}
