//! The engine of this process.

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use lorikeet_protocol::{Command, Engine, Event};

use crate::error::SessionError;
use crate::jobs::{Jobs, Trainer};
use crate::queue::EventQueue;
use crate::worker::Worker;

/// Commands that may wait. The worker looks for them after every step.
pub(crate) const WAITING_COMMANDS: usize = 64;

/// The worker's stack: the graph of a large model is walked recursively.
pub(crate) const STACK_BYTES: usize = 32 << 20;

/// Runs everything on one thread named `lorikeet-worker`. When it is dropped, a run that is on saves and stops first.
pub struct ThreadEngine {
    commands: Option<SyncSender<Command>>,
    events: Arc<EventQueue>,
    thread: Option<JoinHandle<()>>,
}

impl ThreadEngine {
    pub fn new() -> Result<ThreadEngine, SessionError> {
        ThreadEngine::with_jobs(Box::new(Trainer::default()))
    }

    pub fn with_jobs(jobs: Box<dyn Jobs>) -> Result<ThreadEngine, SessionError> {
        let (commands, received) = sync_channel(WAITING_COMMANDS);
        let events = Arc::new(EventQueue::new());
        let told = events.clone();
        let thread = thread::Builder::new()
            .name("lorikeet-worker".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || Worker::new(received, told, jobs).work())
            .map_err(|source| SessionError::Thread { source })?;
        Ok(ThreadEngine { commands: Some(commands), events, thread: Some(thread) })
    }
}

impl Engine for ThreadEngine {
    fn send(&mut self, command: Command) {
        let Some(commands) = &self.commands else { return };
        if let Err(error) = commands.try_send(command) {
            self.events.push(not_taken(&error));
        }
    }

    fn poll(&mut self, sink: &mut dyn FnMut(Event)) {
        self.events.take().into_iter().for_each(sink);
    }

    fn set_waker(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        self.events.set_wake(wake);
    }
}

pub(crate) fn not_taken<T>(error: &TrySendError<T>) -> Event {
    let message = match error {
        TrySendError::Full(_) => "The worker is busy and takes no more commands now. Try again in a moment",
        TrySendError::Disconnected(_) => "The worker has ended. Start Lorikeet again",
    };
    Event::Warning { message: message.to_owned() }
}

impl Drop for ThreadEngine {
    fn drop(&mut self) {
        // The worker takes the closed channel for Stop.
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // It catches panics; one that got through has nothing left to save.
            thread.join().ok();
        }
    }
}
