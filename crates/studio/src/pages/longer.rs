//! More steps for a run that is over.

use egui::{Context, DragValue, Label, RichText, Ui};
use lorikeet_recipe::{Longer, Plan, longer};

use std::path::PathBuf;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, buttons::checkbox, card::hint, modal, modal::actions, modal::title, notice, primary_button,
    progress, row, text_button,
};

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
            None => Load::Failed(format!("the run has no plan that can be read: {}", self.path.display())),
        };
    }
}

pub(super) fn show(app: &mut StudioApp, ctx: &Context) {
    let Some(mut form) = app.longer.take() else { return };
    let name = form.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut asked = None;
    let (open, close) = modal(ctx, "longer", |ui| {
        ui.set_width(460.0);
        title(ui, &format!("Train {name} longer"));
        let may = body(ui, &mut form);
        let mut open = true;
        let path = || form.path.clone();
        actions(ui, |ui| {
            if primary_button(ui, Icon::Play, "Continue", may).clicked() {
                asked = Some(Action::Lengthen { run_dir: path(), steps: form.steps, restart: form.restart });
                open = false;
            }
            let ready = form.plan.ready().is_some();
            if text_button(ui, Icon::Plus, "New run of that length…", ready).clicked() {
                asked = Some(Action::NewWithSteps { run_dir: path(), steps: form.steps });
                open = false;
            }
            open &= !text_button(ui, Icon::X, "Cancel", true).clicked();
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
            progress::labelled(ui, "Reading the plan of the run", "", None);
            return false;
        }
    };
    let per_epoch = plan.steps_per_epoch.max(1);
    let range = plan.steps + 1..=1_000_000;
    row(ui, "Steps in all", "The run has some already; it does the others", "steps", |ui| {
        ui.add(DragValue::new(&mut form.steps).range(range).speed(per_epoch as f64 / 4.0))
    });
    let more = form.steps.saturating_sub(plan.steps);
    hint(
        ui,
        format!(
            "{} more than the {} it has: {} epochs instead of {}",
            format::count(more),
            format::count(plan.steps),
            format::count(form.steps.div_ceil(per_epoch)),
            format::count(plan.epochs)
        ),
    );
    ui.add_space(4.0);
    match longer(plan, form.steps) {
        Longer::Same => {
            notice(ui, Tone::Ok, "The result is that of a run of this length from the start");
            true
        }
        Longer::Restarts { schedule, rate } => {
            let t = Tokens::get(ui);
            let text = format!(
                "The learning rate of this run fell to zero by its last step (schedule: {}). It would jump back to {} \
                 and fall again over the other steps. The LoRA goes on learning, but it will not be that of a run of {} \
                 steps from the start",
                schedule.name(),
                format::learning_rate(rate),
                format::count(form.steps)
            );
            notice(ui, Tone::Warn, "More steps change what this run is");
            ui.add(Label::new(RichText::new(text).color(t.dim)).wrap());
            checkbox(ui, &mut form.restart, "Let the learning rate start again");
            form.restart
        }
    }
}
