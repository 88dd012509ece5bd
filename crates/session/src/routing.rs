//! Thread or child process, for each run.

use lorikeet_protocol::{Command, Engine, Event, Workplace};
use lorikeet_recipe::{Recipe, Value};

use crate::child::{ChildEngine, WorkerProgram};
use crate::engine::ThreadEngine;
use crate::error::SessionError;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Thread,
    Child,
}

/// Hands each command to a thread or to a child process: a run as its recipe and the [`Workplace`] want, and what is about
/// a run to where the run is.
pub struct RoutingEngine {
    thread: ThreadEngine,
    child: ChildEngine,
    workplace: Workplace,
    /// Not to be changed by a face.
    fixed: bool,
    /// Whether the device `auto` is a graphics card here.
    has_card: bool,
    /// Where the last run was, or would be.
    place: Place,
    running: bool,
    /// Where pictures are drawn without a run, and how many drawings have not ended.
    drawing: Option<(Place, usize)>,
}

impl RoutingEngine {
    /// `fixed`: what the environment says, over what a face sets.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn new(program: WorkerProgram, fixed: Option<Workplace>, has_card: bool) -> Result<Self, SessionError> {
        let workplace = fixed.unwrap_or_default();
        let (thread, child) = (ThreadEngine::new()?, ChildEngine::new(program)?);
        let place = run_place(workplace);
        Ok(Self { thread, child, workplace, fixed: fixed.is_some(), has_card, place, running: false, drawing: None })
    }

    fn of(&mut self, place: Place) -> &mut dyn Engine {
        match place {
            Place::Thread => &mut self.thread,
            Place::Child => &mut self.child,
        }
    }

    fn device_place(&self, recipe: &Recipe) -> Place {
        let device = if let Value::Text(device) = recipe.get("run.device") { device } else { String::new() };
        place_for(self.workplace, &device, self.has_card)
    }

    /// Where a drawing goes, or is. One during a run is refused by the worker that has the run.
    fn drawing_place(&self, device: &str) -> Place {
        match self.drawing {
            _ if self.running => self.place,
            Some((place, _)) => place,
            None => place_for(self.workplace, device, self.has_card),
        }
    }
}

fn run_place(workplace: Workplace) -> Place {
    match workplace {
        Workplace::Thread => Place::Thread,
        Workplace::Auto | Workplace::Child => Place::Child,
    }
}

/// Of what ends soon: planning, drawing without a run.
fn place_for(workplace: Workplace, device: &str, has_card: bool) -> Place {
    let on_card = match device.trim() {
        "" | "auto" => has_card,
        device => device != "cpu",
    };
    match workplace {
        Workplace::Thread => Place::Thread,
        Workplace::Child => Place::Child,
        Workplace::Auto if on_card => Place::Child,
        Workplace::Auto => Place::Thread,
    }
}

impl Engine for RoutingEngine {
    fn send(&mut self, command: Command) {
        let place = match &command {
            // A second run is refused by the worker that has the first.
            Command::Start { .. } | Command::ResumeRun { .. } if self.running => self.place,
            Command::Start { .. } | Command::ResumeRun { .. } => run_place(self.workplace),
            Command::Probe { recipe } => self.device_place(recipe),
            Command::Draw(request) => self.drawing_place(&request.device),
            Command::Stop if !self.running => self.drawing.map_or(self.place, |(place, _)| place),
            _ => self.place,
        };
        if matches!(command, Command::Start { .. } | Command::ResumeRun { .. }) {
            (self.place, self.running) = (place, true);
            // Its own worker stops a drawing by itself.
            if let Some((other, _)) = self.drawing.filter(|(other, _)| *other != place) {
                self.of(other).send(Command::Stop);
            }
        }
        if matches!(command, Command::Draw(_)) {
            let before = self.drawing.map_or(0, |(_, count)| count);
            self.drawing = Some((place, before + 1));
        }
        self.of(place).send(command);
    }

    fn poll(&mut self, sink: &mut dyn FnMut(Event)) {
        let (mut ended, mut drawn) = (false, 0);
        let mut watched = |event: Event| {
            ended |= matches!(event, Event::Finished { .. } | Event::Failed(_));
            drawn += usize::from(matches!(event, Event::DrawEnded(_)));
            sink(event);
        };
        self.thread.poll(&mut watched);
        self.child.poll(&mut watched);
        self.running &= !ended;
        self.drawing = self.drawing.filter(|(_, count)| *count > drawn).map(|(place, count)| (place, count - drawn));
    }

    fn set_waker(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        let wake = std::sync::Arc::new(wake);
        let other = wake.clone();
        self.thread.set_waker(Box::new(move || wake()));
        self.child.set_waker(Box::new(move || other()));
    }

    fn set_workplace(&mut self, workplace: Workplace) {
        if !self.fixed {
            self.workplace = workplace;
            if !self.running {
                self.place = run_place(workplace);
            }
        }
    }

    fn can_leave(&self) -> bool {
        self.place == Place::Child && self.child.can_leave()
    }

    fn leave(&mut self) {
        if self.can_leave() {
            self.child.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_cards_get_a_process_of_their_own_unless_told_otherwise() {
        assert_eq!(run_place(Workplace::Auto), Place::Child);
        assert_eq!(run_place(Workplace::Thread), Place::Thread);
        assert_eq!(place_for(Workplace::Auto, "cuda:1", false), Place::Child);
        assert_eq!(place_for(Workplace::Auto, "auto", true), Place::Child);
        assert_eq!(place_for(Workplace::Auto, "auto", false), Place::Thread);
        assert_eq!(place_for(Workplace::Auto, "cpu", true), Place::Thread);
        assert_eq!(place_for(Workplace::Thread, "cuda:0", true), Place::Thread);
        assert_eq!(place_for(Workplace::Child, "cpu", false), Place::Child);
    }
}
