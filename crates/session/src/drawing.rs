//! Drawing on request, on the worker's thread.

use std::sync::mpsc::TryRecvError;

use lorikeet_protocol::{Command, DrawEnd, DrawRequest, Event, Failure};

use crate::jobs::Host;
use crate::worker::{Worker, guarded};

impl Worker {
    pub(crate) fn draw(&self, request: &DrawRequest) {
        let mut host = DrawHost { worker: self, drawn: 0 };
        let end = guarded(None, || self.jobs.draw(request, &mut host));
        let (set, drawn) = (request.set, host.drawn);
        self.events.push(Event::DrawEnded(DrawEnd { set, drawn, failure: end.err() }));
    }

    /// While a run has the device.
    pub(crate) fn refuse(&self, request: &DrawRequest) {
        let failure = Failure {
            what: "Nothing can be drawn now".to_owned(),
            why: "A run is on and needs the memory".to_owned(),
            todo: "Ask for a preview of the run instead, or wait until it is done".to_owned(),
            last_save: None,
        };
        self.events.push(Event::DrawEnded(DrawEnd { set: request.set, drawn: 0, failure: Some(failure) }));
    }
}

/// What the drawing sees of the face.
struct DrawHost<'a> {
    worker: &'a Worker,
    drawn: usize,
}

impl Host for DrawHost<'_> {
    fn event(&mut self, event: Event) {
        self.drawn += usize::from(matches!(event, Event::Drawn(_)));
        self.worker.events.push(event);
    }

    /// Only ever asks to stop; the rest is answered here or waits for the end.
    fn command(&mut self) -> Option<Command> {
        loop {
            match self.worker.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Some(Command::Stop),
                Ok(command @ (Command::Start { .. } | Command::ResumeRun { .. })) => {
                    // A run is what the program is for.
                    self.worker.deferred.borrow_mut().push_back(command);
                    return Some(Command::Stop);
                }
                Ok(command @ Command::Draw(_)) => self.worker.deferred.borrow_mut().push_back(command),
                Ok(command @ (Command::Probe { .. } | Command::Export(_))) => self.worker.quick(command),
                Ok(_) => self.worker.warn("No run is on, so there is nothing to pause, save or preview"),
                Err(TryRecvError::Empty) => return None,
            }
        }
    }

    fn wait(&mut self) -> Option<Command> {
        None
    }
}
