//! Watching a worker from a terminal, and Ctrl-C.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use lorikeet_protocol::{Command, Engine, Event};
use lorikeet_session::ThreadEngine;
use lorikeet_trainer::Host;

use crate::face::Face;
use crate::trouble::Trouble;

/// As shells count a program ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// How often Ctrl-C was pressed. The second time ends the program at once.
static PRESSED: AtomicUsize = AtomicUsize::new(0);
static BELL: Mutex<Option<SyncSender<()>>> = Mutex::new(None);

/// Sends `command` to a worker of its own and tells the face what happens, until the run or the answer is there.
/// Returns the event that ended it.
pub(crate) fn follow(command: Command, face: &mut dyn Face) -> Result<Event, Trouble> {
    let mut engine = ThreadEngine::new().map_err(|error| Trouble::from(error.failure()))?;
    follow_in(&mut engine, command, face)
}

/// As [`follow`], with the worker of this engine.
pub(crate) fn follow_in(engine: &mut dyn Engine, command: Command, face: &mut dyn Face) -> Result<Event, Trouble> {
    let bell = watch(engine);
    engine.send(command);
    let mut stopping = false;
    loop {
        // The engine holds a sender as long as it lives.
        bell.recv().ok();
        if PRESSED.load(Ordering::Relaxed) > 0 && !std::mem::replace(&mut stopping, true) {
            engine.send(Command::Stop);
            face.note("Stopping after this step, with a save. Press Ctrl-C again to quit at once");
        }
        let mut events = Vec::new();
        engine.poll(&mut |event| events.push(event));
        for event in events {
            face.event(&event);
            match event {
                Event::Finished { .. } => return Ok(event),
                Event::Failed(failure) => return Err(failure.into()),
                _ => {}
            }
        }
    }
}

/// A channel that gets something whenever there are events or Ctrl-C was pressed.
fn watch(engine: &mut dyn Engine) -> Receiver<()> {
    let (ring, bell) = sync_channel(1);
    let from_worker = ring.clone();
    engine.set_waker(Box::new(move || {
        // Full: it rings already.
        from_worker.try_send(()).ok();
    }));
    *BELL.lock().unwrap_or_else(PoisonError::into_inner) = Some(ring);
    listen();
    bell
}

/// From now on the first Ctrl-C asks for an end, and the second is one.
fn listen() {
    let handler = || {
        if PRESSED.fetch_add(1, Ordering::Relaxed) > 0 {
            exit_at_once();
        }
        if let Some(bell) = &*BELL.lock().unwrap_or_else(PoisonError::into_inner) {
            bell.try_send(()).ok();
        }
    };
    // Fails only where there are no signals, or when it is set already.
    ctrlc::set_handler(handler).ok();
}

#[expect(
    clippy::disallowed_methods,
    reason = "the user asked twice, and the worker may be in the middle of a long step"
)]
fn exit_at_once() {
    std::process::exit(INTERRUPTED);
}

/// For jobs that are no run: tells the face, and stops at Ctrl-C.
pub(crate) struct Terminal {
    face: Box<dyn Face>,
    told: bool,
}

impl Terminal {
    pub(crate) fn new(face: Box<dyn Face>) -> Terminal {
        listen();
        Terminal { face, told: false }
    }
}

impl Host for Terminal {
    fn event(&mut self, event: Event) {
        // Whoever drew lists the pictures when all are there.
        if !matches!(event, Event::Drawn(_)) {
            self.face.event(&event);
        }
    }

    fn command(&mut self) -> Option<Command> {
        let stop = PRESSED.load(Ordering::Relaxed) > 0 && !std::mem::replace(&mut self.told, true);
        stop.then_some(Command::Stop)
    }

    fn wait(&mut self) -> Option<Command> {
        None
    }
}
