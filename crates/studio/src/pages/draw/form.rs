//! What to draw, with which LoRAs, and how.

use egui::{ComboBox, DragValue, Margin, Response, Slider, TextEdit, Ui, WidgetInfo, vec2};
use lorikeet_recipe::Sampler;

use super::super::plan::failure_text;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::drawing::{DrawAction, Drawing, Form, Row, Source, stem};
use crate::kit::{
    Icon, Tone, buttons::checkbox, card, card::hint, icon_button, notice, primary_button, progress, quiet_button,
    text_button, tokens,
};
use crate::texts;

const SAMPLERS: [(Sampler, &str); 4] = [
    (Sampler::DpmPp2m, texts::draw::DPM_PP_2M),
    (Sampler::Euler, texts::draw::EULER),
    (Sampler::EulerA, texts::draw::EULER_A),
    (Sampler::Ddim, texts::draw::DDIM),
];
/// Of the names of fields: less than on other pages, which are wider.
const LABEL: f32 = 76.0;
/// Saves in a row of boxes.
const BOXES: usize = 3;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let Some(mut form) = app.drawing.form.take() else { return };
    let before = form.clone();
    let busy = app.drawing.busy();
    ui.add_enabled_ui(!busy, |ui| {
        card(ui, texts::draw::WHAT, |ui| prompts(ui, &mut form));
        card(ui, texts::draw::LORAS, |ui| loras(app, ui, &mut form));
        card(ui, texts::draw::HOW, |ui| how(ui, &mut form));
    });
    let variants = form.variants();
    // What is drawn next is what stands here, so a failure of before no longer counts.
    if form != before {
        app.drawing.failure = None;
    }
    app.drawing.form = Some(form);
    card(ui, "", |ui| go(app, ui, variants.map(|variants| variants.len())));
}

fn prompts(ui: &mut Ui, form: &mut Form) {
    area(ui, texts::draw::PROMPT, texts::draw::PROMPT_HINT, &mut form.prompt, 3);
    area(ui, texts::draw::NEGATIVE, texts::draw::NEGATIVE_HINT, &mut form.negative, 1);
}

fn area(ui: &mut Ui, name: &str, about: &str, text: &mut String, rows: usize) {
    let label = ui.label(name).id;
    let edit = TextEdit::multiline(text).hint_text(about).desired_rows(rows).desired_width(ui.available_width());
    ui.add(edit.margin(Margin::symmetric(8, 5))).labelled_by(label);
}

/// A name and its control in a line.
fn line(ui: &mut Ui, name: &str, help: &str, control: impl FnOnce(&mut Ui) -> Response) {
    ui.horizontal(|ui| {
        let size = vec2(LABEL, tokens::CONTROL_HEIGHT);
        let label = ui.allocate_ui_with_layout(size, egui::Layout::left_to_right(egui::Align::Center), |ui| {
            ui.set_min_width(LABEL);
            ui.label(name)
        });
        control(ui).labelled_by(label.inner.id).on_hover_text(help);
    });
}

fn how(ui: &mut Ui, form: &mut Form) {
    line(ui, texts::draw::SEED, texts::draw::SEED_HELP, |ui| {
        let response = number(ui, DragValue::new(&mut form.seed).speed(1.0));
        if icon_button(ui, Icon::Shapes, texts::draw::OTHER_SEED).clicked() {
            // Any other will do; a person can read this one out.
            form.seed =
                (form.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)) >> 33;
        }
        response
    });
    line(ui, texts::draw::SIZE, texts::draw::SIZE_HELP, |ui| {
        let width = number(ui, DragValue::new(&mut form.width).range(32..=4096).speed(8.0));
        ui.label("×");
        let height = number(ui, DragValue::new(&mut form.height).range(32..=4096).speed(8.0));
        height.widget_info(|| WidgetInfo::labeled(egui::Role::SpinButton, true, texts::draw::HEIGHT));
        width
    });
    line(ui, texts::draw::STEPS, texts::draw::STEPS_HELP, |ui| {
        number(ui, DragValue::new(&mut form.steps).range(1..=150).speed(0.2))
    });
    line(ui, texts::draw::CFG, texts::draw::CFG_HELP, |ui| {
        number(ui, DragValue::new(&mut form.cfg).range(1.0..=30.0).speed(0.05).max_decimals(2))
    });
    if let Some(guidance) = &mut form.guidance {
        line(ui, texts::draw::GUIDANCE, texts::draw::GUIDANCE_HELP, |ui| {
            number(ui, DragValue::new(guidance).range(0.0..=20.0).speed(0.05).max_decimals(2))
        });
    }
    line(ui, texts::draw::SAMPLER, texts::draw::SAMPLER_HELP, |ui| {
        let name = SAMPLERS.iter().find(|(sampler, _)| *sampler == form.sampler).map_or("", |(_, name)| name);
        ComboBox::from_id_salt("draw-sampler")
            .selected_text(name)
            .show_ui(ui, |ui| {
                for (sampler, name) in SAMPLERS {
                    ui.selectable_value(&mut form.sampler, sampler, name);
                }
            })
            .response
    });
}

fn number(ui: &mut Ui, value: DragValue<'_>) -> Response {
    ui.add_sized(vec2(84.0, tokens::CONTROL_HEIGHT), value)
}

fn loras(app: &mut StudioApp, ui: &mut Ui, form: &mut Form) {
    let swept = form.sweep && !form.rows.is_empty();
    let mut gone = None;
    for (at, row) in form.rows.iter_mut().enumerate() {
        // Its strength and its saves are chosen below.
        if !(swept && at == 0) || matches!(row.source, Source::File(_)) {
            ui.horizontal(|ui| {
                source(app, ui, at, row);
                if icon_button(ui, Icon::X, &texts::draw::take_away(at + 1)).clicked() {
                    gone = Some(at);
                }
            });
        }
        if !(swept && at == 0) {
            ui.horizontal(|ui| {
                ui.spacing_mut().slider_width = 170.0;
                let label = ui.label(texts::draw::STRENGTH).id;
                let slider = Slider::new(&mut row.strength, 0.0..=1.5)
                    .clamping(egui::SliderClamping::Never)
                    .step_by(0.05)
                    .max_decimals(2);
                ui.add(slider).labelled_by(label);
            });
        }
    }
    if let Some(at) = gone {
        form.rows.remove(at);
    }
    if form.rows.is_empty() {
        hint(ui, texts::draw::NO_LORA);
    }
    ui.horizontal(|ui| {
        if let Some((newest, _)) = app.drawing.material.saves.last()
            && quiet_button(ui, Icon::Plus, texts::draw::ADD_SAVE).clicked()
        {
            form.rows.push(Row { source: Source::Save(*newest), strength: 1.0 });
        }
        if quiet_button(ui, Icon::FolderOpen, texts::draw::ADD_FILE).clicked() {
            app.actions.push(Action::Choose(Choose::LoraFile));
        }
    });
    if form.rows.is_empty() {
        return;
    }
    checkbox(ui, &mut form.sweep, texts::draw::SWEEP).on_hover_text(texts::draw::SWEEP_HELP);
    if form.sweep {
        sweep(&app.drawing, ui, form);
    }
}

fn source(app: &StudioApp, ui: &mut Ui, at: usize, row: &mut Row) {
    let drawing = &app.drawing;
    let combo = ComboBox::from_id_salt(("lora", at))
        .selected_text(told(&row.source))
        .width(ui.available_width() - 46.0)
        .truncate()
        .show_ui(ui, |ui| {
            for (step, _) in drawing.material.saves.iter().rev() {
                let save = Source::Save(*step);
                ui.selectable_value(&mut row.source, save.clone(), told(&save));
            }
            if let Source::File(_) = &row.source {
                let file = row.source.clone();
                ui.selectable_value(&mut row.source, file.clone(), told(&file));
            }
        });
    combo.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, texts::draw::lora(at + 1)));
}

fn told(source: &Source) -> String {
    match source {
        Source::Save(step) => texts::draw::save_of(*step),
        Source::File(path) => stem(path),
    }
}

fn sweep(drawing: &Drawing, ui: &mut Ui, form: &mut Form) {
    line(ui, texts::draw::STRENGTHS, texts::draw::STRENGTHS_HELP, |ui| {
        let width = ui.available_width();
        ui.add(TextEdit::singleline(&mut form.strengths).desired_width(width).margin(Margin::symmetric(8, 5)))
    });
    if !matches!(form.rows.first(), Some(Row { source: Source::Save(_), .. })) {
        return;
    }
    hint(ui, texts::draw::SAVES);
    let steps: Vec<u64> = drawing.material.saves.iter().map(|(step, _)| *step).collect();
    for row in steps.chunks(BOXES) {
        ui.horizontal(|ui| {
            for step in row {
                let mut on = form.saves.contains(step);
                if checkbox(ui, &mut on, &texts::common::step(*step)).changed() {
                    if on {
                        form.saves.insert(*step)
                    } else {
                        form.saves.remove(step)
                    };
                }
            }
        });
    }
}

/// The button, and how far it is.
fn go(app: &mut StudioApp, ui: &mut Ui, count: Result<usize, String>) {
    if let Some(failure) = app.drawing.failure.clone() {
        failure_text(ui, &failure);
    }
    if let Err(error) = &count {
        notice(ui, Tone::Error, error.as_str());
    }
    if let Some((done, total)) = app.drawing.progress() {
        if let Some(stage) = app.drawing.stage {
            progress::counted(ui, stage.stage.label(), stage.done, stage.total);
        } else {
            progress::labelled(ui, texts::draw::DRAWING, "", None);
        }
        if total > 1 {
            hint(ui, texts::dataset::picture_of((done as u64 + 1).min(total as u64), total as u64));
        }
        let text = if app.drawing.stopping() { texts::shell::STOPPING } else { texts::shell::STOP };
        if text_button(ui, Icon::Square, text, !app.drawing.stopping()).clicked() {
            app.actions.push(Action::Drawing(DrawAction::Stop));
        }
        return;
    }
    let text = texts::draw::draw_pictures(*count.as_ref().unwrap_or(&1) as u64);
    let run_on = app.state.active();
    if primary_button(ui, Icon::Sparkles, &text, count.is_ok() && !run_on).clicked() {
        app.actions.push(Action::Drawing(DrawAction::Draw));
    }
    if run_on {
        hint(ui, texts::draw::RUN_IS_ON);
    }
}
