//! More steps for a run that is over.

use egui::{Context, DragValue, Label, RichText, Ui};
use lorikeet_recipe::{Longer, Plan, longer};

use std::path::PathBuf;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::kit::{
    Icon, Tokens, Tone, buttons::checkbox, card::hint, modal, modal::actions, modal::title, notice, primary_button,
    progress, row, text_button,
};
use crate::texts;

/// The dialog's state.
pub(crate) struct LongerForm {
    pub path: PathBuf,
    pub plan: Load<Box<Plan>>,
    /// Steps in all.
    pub steps: u64,
    /// The learning rate may start again.
    pub restart: bool,
}

impl LongerForm {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, plan: Load::Loading(0), steps: 0, restart: false }
    }

    pub(crate) fn planned(&mut self, plan: Option<Plan>) {
        self.plan = match plan {
            Some(plan) => {
                // Half as long again, in whole epochs.
                let more = (plan.steps / 2).max(1).next_multiple_of(plan.steps_per_epoch.max(1));
                self.steps = plan.steps + more;
                Load::Ready(Box::new(plan))
            }
            None => Load::Failed(texts::runs::no_plan(self.path.display())),
        };
    }
}

pub(super) fn show(app: &mut StudioApp, ctx: &Context) {
    let Some(mut form) = app.longer.take() else { return };
    let name = form.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut asked = None;
    let (open, close) = modal(ctx, "longer", |ui| {
        ui.set_width(460.0);
        title(ui, &texts::runs::longer_title(&name));
        let may = body(ui, &mut form);
        let mut open = true;
        let path = || form.path.clone();
        actions(ui, |ui| {
            if primary_button(ui, Icon::Play, texts::common::CONTINUE, may).clicked() {
                asked = Some(Action::Lengthen { run_dir: path(), steps: form.steps, restart: form.restart });
                open = false;
            }
            let ready = form.plan.ready().is_some();
            if text_button(ui, Icon::Plus, texts::runs::NEW_RUN, ready).clicked() {
                asked = Some(Action::NewWithSteps { run_dir: path(), steps: form.steps });
                open = false;
            }
            open &= !text_button(ui, Icon::X, texts::common::CANCEL, true).clicked();
        });
        open
    });
    app.actions.extend(asked);
    if open && !close {
        app.longer = Some(form);
    }
}

/// Whether the run may go on so.
fn body(ui: &mut Ui, form: &mut LongerForm) -> bool {
    let plan = match &form.plan {
        Load::Ready(plan) => plan,
        Load::Failed(error) => {
            notice(ui, Tone::Error, super::dataset::sentence(error));
            return false;
        }
        Load::Nothing | Load::Loading(_) => {
            progress::labelled(ui, texts::runs::READING_PLAN, "", None);
            return false;
        }
    };
    let per_epoch = plan.steps_per_epoch.max(1);
    let range = plan.steps + 1..=1_000_000;
    row(ui, texts::runs::STEPS_IN_ALL, texts::runs::STEPS_IN_ALL_HELP, texts::runs::STEPS_UNIT, |ui| {
        ui.add(DragValue::new(&mut form.steps).range(range).speed(per_epoch as f64 / 4.0))
    });
    let more = form.steps.saturating_sub(plan.steps);
    hint(ui, texts::runs::more_steps(more, plan.steps, form.steps.div_ceil(per_epoch), plan.epochs));
    ui.add_space(4.0);
    match longer(plan, form.steps) {
        Longer::Same => {
            notice(ui, Tone::Ok, texts::runs::SAME_RESULT);
            true
        }
        Longer::Restarts { schedule, rate } => {
            let t = Tokens::get(ui);
            let text = texts::runs::rate_restarts(schedule.name(), rate, form.steps);
            notice(ui, Tone::Warn, texts::runs::OTHER_RESULT);
            ui.add(Label::new(RichText::new(text).color(t.dim)).wrap());
            checkbox(ui, &mut form.restart, texts::runs::RESTART_RATE);
            form.restart
        }
    }
}
