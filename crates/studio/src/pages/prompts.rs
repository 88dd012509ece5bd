//! Previews of a prompt at once, and the prompts of all later previews: while a run goes on.

use egui::{Margin, TextEdit, Ui};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::kit::{Icon, buttons::row_button, card, card::hint, quiet_button, text_button};
use crate::state::Phase;
use crate::texts;

/// What is being typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct PromptForm {
    once: String,
    /// One a line; `None`: not being changed.
    list: Option<String>,
}

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let running = app.state.phase == Phase::Running;
    let mut form = app.prompts.clone();
    card(ui, "", |ui| {
        ui.add_enabled_ui(running, |ui| once(app, ui, &mut form));
        match &mut form.list {
            None => {
                if quiet_button(ui, Icon::Sliders, texts::samples::CHANGE_PROMPTS).clicked() {
                    form.list = Some(app.state.prompts_now().join("\n"));
                }
            }
            Some(list) => {
                if change(app, ui, list, running) {
                    form.list = None;
                }
            }
        }
    });
    app.prompts = form;
}

fn once(app: &mut StudioApp, ui: &mut Ui, form: &mut PromptForm) {
    ui.horizontal(|ui| {
        let label = ui.label(texts::samples::DRAW_THIS_NOW).id;
        let width = (ui.available_width() - 110.0).max(120.0);
        let edit = TextEdit::singleline(&mut form.once).hint_text(texts::samples::DRAW_THIS_HINT);
        let response = ui.add(edit.desired_width(width).margin(Margin::symmetric(8, 5))).labelled_by(label);
        let entered = response.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
        let prompt = form.once.trim().to_owned();
        let draw =
            ui.add_enabled_ui(!prompt.is_empty(), |ui| row_button(ui, Icon::Sparkles, texts::samples::DRAW_THIS));
        let pressed = draw.inner.clicked();
        if (pressed || entered) && !prompt.is_empty() {
            app.actions.push(Action::SampleThese(vec![prompt]));
        }
    });
}

/// Whether it is done with.
fn change(app: &mut StudioApp, ui: &mut Ui, list: &mut String, running: bool) -> bool {
    let label = ui.label(texts::samples::PROMPTS).id;
    let edit = TextEdit::multiline(list).desired_rows(4).desired_width(ui.available_width());
    ui.add(edit.margin(Margin::symmetric(8, 5))).labelled_by(label);
    hint(ui, texts::samples::PROMPTS_HELP);
    let prompts: Vec<String> = list.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    ui.horizontal(|ui| {
        let mut done = false;
        if text_button(ui, Icon::Check, texts::samples::USE_PROMPTS, running && !prompts.is_empty()).clicked() {
            app.actions.push(Action::SetPrompts(prompts));
            done = true;
        }
        done |= text_button(ui, Icon::X, texts::samples::KEEP_PROMPTS, true).clicked();
        done
    })
    .inner
}
