//! Closing the window while a run is on: it is asked what is to become of the run.

use egui::{Context, Label, RichText, ViewportCommand};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::{
    Icon, Tokens, Tone, card::hint, modal, modal::actions, modal::title, primary_button, progress, text_button,
};
use crate::state::Phase;
use crate::texts;

/// Whether the window is about to close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Closing {
    #[default]
    No,
    /// What is to become of the run is asked.
    Asked,
    /// Once the run has saved.
    WhenStopped,
    /// Once the run has a folder to be found by, and the queue is written.
    WhenLeft,
    Now,
}

/// What is to become of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Close {
    StopFirst,
    /// The run goes on without the window.
    LeaveRunning,
    /// Not now.
    Stay,
}

impl StudioApp {
    /// Keeps the window open while a run of its own is on, until it is decided what becomes of that.
    pub(crate) fn watch_closing(&mut self, ctx: &Context) {
        let busy = self.state.active() && self.watched.is_none();
        if self.closing == Closing::WhenStopped && !busy {
            // A run that failed instead is to be read about first.
            self.closing = if matches!(self.state.phase, Phase::Failed(_)) { Closing::No } else { Closing::Now };
        }
        if self.closing == Closing::WhenLeft {
            if !busy {
                // It ended meanwhile, which is to be read.
                self.closing = Closing::No;
            } else if self.state.phase != Phase::Starting && self.queue.is_settled() {
                self.leave();
            }
        }
        if self.closing == Closing::Now {
            ctx.send_viewport_cmd(ViewportCommand::Close);
            return;
        }
        if self.closing == Closing::Asked && !busy {
            self.closing = Closing::No;
        }
        if busy && ctx.input(|i| i.viewport().close_requested()) {
            ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            if self.closing == Closing::No {
                self.closing = Closing::Asked;
            }
        }
    }

    pub(crate) fn close(&mut self, how: Close) {
        match how {
            Close::StopFirst => {
                self.perform(Action::Stop);
                self.closing = Closing::WhenStopped;
            }
            Close::LeaveRunning => self.closing = Closing::WhenLeft,
            Close::Stay => self.closing = Closing::No,
        }
    }

    /// The run goes on in its process, and the queue in another.
    fn leave(&mut self) {
        if let (Some(go_on), Some(run_dir)) = (self.start.go_on, &self.state.run_dir)
            && let Some(queue) = self.queue.let_go()
            && let Err(error) = go_on(&queue, run_dir)
        {
            self.toasts.add(Tone::Error, error);
            self.closing = Closing::No;
            return;
        }
        self.engine.leave();
        self.closing = Closing::Now;
    }
}

pub(crate) fn dialog(app: &mut StudioApp, ctx: &Context) {
    let stopping = match app.closing {
        Closing::Asked => false,
        Closing::WhenStopped => true,
        Closing::No | Closing::WhenLeft | Closing::Now => return,
    };
    let can_leave = app.engine.can_leave();
    let waiting = app.queue.list.waiting.len() as u64;
    let goes_on = can_leave && app.queue.is_going() && app.start.go_on.is_some();
    let (decided, close) = modal(ctx, "close", |ui| {
        ui.set_width(440.0);
        let t = Tokens::get(ui);
        if stopping {
            title(ui, texts::closing::SAVING);
            ui.label(RichText::new(texts::closing::SAVING_HELP).color(t.dim));
            progress::labelled(ui, texts::monitor::STOPPING, "", None);
            let mut decided = None;
            actions(ui, |ui| {
                if text_button(ui, Icon::X, texts::closing::KEEP_OPEN, true).clicked() {
                    decided = Some(Close::Stay);
                }
            });
            return decided;
        }
        title(ui, texts::closing::TITLE);
        let text = if can_leave { texts::closing::HELP } else { texts::closing::HELP_WITHOUT_BACKGROUND };
        ui.add(Label::new(RichText::new(text).color(t.dim)).wrap());
        if waiting > 0 {
            let told = match goes_on {
                true => texts::closing::queue_goes_on(waiting),
                false => texts::closing::queue_waits(waiting),
            };
            hint(ui, told);
        }
        let mut decided = None;
        actions(ui, |ui| {
            if primary_button(ui, Icon::Square, texts::common::STOP_AND_SAVE, true).clicked() {
                decided = Some(Close::StopFirst);
            }
            if can_leave && text_button(ui, Icon::Activity, texts::closing::IN_BACKGROUND, true).clicked() {
                decided = Some(Close::LeaveRunning);
            }
            if text_button(ui, Icon::X, texts::common::CANCEL, true).clicked() {
                decided = Some(Close::Stay);
            }
        });
        decided
    });
    if let Some(how) = decided.or(close.then_some(Close::Stay)) {
        app.actions.push(Action::Close(how));
    }
}
