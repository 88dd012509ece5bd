//! What lies over the pages: export, stop, and a preview shown large.

use std::path::{Path, PathBuf};

use egui::{Align, Context, Key, Layout, RichText, Sense, TextEdit, vec2};
use lorikeet_protocol::ExportDtype;

use super::{picture, plan};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::format;
use crate::kit::{
    Icon, Tokens, buttons::segmented, card::hint, icon_button, modal, modal::title, primary_button, row, text_button,
    theme,
};
use crate::pictures::PREVIEW;
use crate::state::State;
use crate::work::Choose;

const FORMATS: [(ExportDtype, &str); 3] =
    [(ExportDtype::F16, "16 bit (f16)"), (ExportDtype::Bf16, "16 bit (bf16)"), (ExportDtype::F32, "32 bit (f32)")];

/// The export being asked for.
#[derive(Clone, Debug)]
pub(crate) struct ExportForm {
    pub to: String,
    dtype: ExportDtype,
    /// `None`: the newest save.
    step: Option<u64>,
    steps: Vec<u64>,
    pub sent: bool,
}

impl ExportForm {
    pub(crate) fn suggest(run_dir: &Path, name: &str, state: &State) -> Self {
        let steps: Vec<u64> = state.saves.keys().rev().copied().collect();
        let newest = steps.first().copied().or(state.step.map(|step| step.step)).unwrap_or(0);
        // Names come from folders, whose letters files may have too, except where they part folders.
        let name = name.replace(['/', '\\'], "-");
        let to = run_dir.join(format!("{name}-step{newest}.safetensors"));
        Self { to: to.to_string_lossy().into_owned(), dtype: ExportDtype::F16, step: None, steps, sent: false }
    }
}

pub(crate) fn dialogs(app: &mut StudioApp, ctx: &Context) {
    if app.export.is_some() {
        export(app, ctx);
    }
    if app.confirm_stop {
        stop(app, ctx);
    }
    super::import::show(app, ctx);
    if let Some((prompt, step)) = app.enlarged {
        enlarged(app, ctx, prompt, step);
    }
}

fn export(app: &mut StudioApp, ctx: &Context) {
    let Some(mut form) = app.export.take() else { return };
    let exporting = app.state.exporting();
    let (keep, close) = modal(ctx, "export", |ui| {
        ui.set_width(480.0);
        title(ui, "Export LoRA");
        let t = Tokens::get(ui);
        ui.add(
            egui::Label::new(
                RichText::new("One .safetensors file, for ComfyUI, AUTOMATIC1111, Forge, InvokeAI and diffusers")
                    .color(t.dim),
            )
            .wrap(),
        );
        ui.add_space(4.0);
        ui.add_enabled_ui(!exporting, |ui| {
            row(ui, "File", "Where the file is written", "", |ui| {
                let edit = TextEdit::singleline(&mut form.to)
                    .desired_width(ui.available_width() - 60.0)
                    .margin(egui::Margin::symmetric(8, 5));
                let response = ui.add(edit);
                if icon_button(ui, Icon::FolderOpen, "Choose file…").clicked() {
                    app.actions.push(Action::Choose(Choose::ExportFile(PathBuf::from(&form.to))));
                }
                response
            });
            if form.steps.len() > 1 {
                row(ui, "Save", "Which save to export; an earlier one may look better", "", |ui| {
                    let name = |step: Option<u64>| match step {
                        None => format!("Newest (step {})", format::count(form.steps[0])),
                        Some(step) => format!("Step {}", format::count(step)),
                    };
                    egui::ComboBox::from_id_salt("export step")
                        .selected_text(name(form.step))
                        .show_ui(ui, |ui| {
                            for step in std::iter::once(None).chain(form.steps.iter().skip(1).copied().map(Some)) {
                                if ui.selectable_label(form.step == step, name(step)).clicked() {
                                    form.step = step;
                                }
                            }
                        })
                        .response
                });
            }
            row(ui, "Numbers", "f16 is read by every program and half the size of f32", "", |ui| {
                let chosen = FORMATS.iter().position(|(dtype, _)| *dtype == form.dtype).unwrap_or(0);
                ui.scope(|ui| {
                    let choices = FORMATS.map(|(_, label)| (None, label));
                    if let Some(picked) = segmented(ui, &choices, chosen) {
                        form.dtype = FORMATS[picked].0;
                    }
                })
                .response
            });
        });
        if let Some(failure) = &app.state.export_failure {
            plan::failure_text(ui, failure);
        }
        ui.add_space(8.0);
        let mut keep = true;
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let ready = !form.to.trim().is_empty() && !exporting;
            let text = if exporting { "Exporting…" } else { "Export" };
            if primary_button(ui, Icon::Share, text, ready).clicked() {
                let to = with_ending(form.to.trim());
                app.actions.push(Action::Export { to, dtype: form.dtype, step: form.step });
            }
            if text_button(ui, Icon::X, "Cancel", true).clicked() {
                keep = false;
            }
        });
        keep
    });
    if keep && !close {
        app.export = Some(form);
    }
}

/// Other programs find LoRAs by their ending.
fn with_ending(path: &str) -> PathBuf {
    if path.to_lowercase().ends_with(".safetensors") {
        PathBuf::from(path)
    } else {
        PathBuf::from(format!("{path}.safetensors"))
    }
}

fn stop(app: &mut StudioApp, ctx: &Context) {
    let (decided, close) = modal(ctx, "stop", |ui| {
        ui.set_width(360.0);
        title(ui, "Stop training?");
        let t = Tokens::get(ui);
        ui.add(
            egui::Label::new(
                RichText::new("What is learned so far is saved first. The run can be continued later from there")
                    .color(t.dim),
            )
            .wrap(),
        );
        ui.add_space(8.0);
        let mut decided = false;
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if primary_button(ui, Icon::Square, "Stop and save", true).clicked() {
                app.actions.push(Action::Stop);
                decided = true;
            }
            decided |= text_button(ui, Icon::X, "Cancel", true).clicked();
        });
        decided
    });
    if decided || close {
        app.confirm_stop = false;
    }
}

/// Base and LoRA side by side, with the other steps and prompts at hand.
fn enlarged(app: &mut StudioApp, ctx: &Context, prompt: usize, step: u64) {
    let (prompts, steps) = app.state.sample_grid();
    let prompts: Vec<usize> = prompts.into_iter().map(|(index, _)| index).collect();
    let Some(sample) = app.state.sample(prompt, step).cloned() else {
        app.enlarged = None;
        return;
    };
    let base = app.state.sample(prompt, 0).filter(|_| step != 0).cloned();
    let screen = ctx.content_rect();
    let columns = if base.is_some() { 2.0 } else { 1.0 };
    let edge = ((screen.width() - 140.0) / columns).min(screen.height() - 220.0).clamp(160.0, 560.0).floor();
    let at = steps.iter().position(|s| *s == step).unwrap_or(0);
    let row_at = prompts.iter().position(|p| *p == prompt).unwrap_or(0);
    let mut next = None;
    let (closed, close) = modal(ctx, "enlarged", |ui| {
        let t = Tokens::get(ui);
        let width = edge * columns + 8.0 * (columns - 1.0);
        ui.set_width(width);
        let mut closed = false;
        ui.horizontal(|ui| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                closed = icon_button(ui, Icon::X, "Close preview").clicked();
                ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                    let text = RichText::new(&sample.prompt).text_style(theme::section()).color(t.text);
                    ui.add(egui::Label::new(text).truncate());
                });
            });
        });
        ui.horizontal(|ui| {
            for one in base.iter().chain(std::iter::once(&sample)) {
                ui.vertical(|ui| {
                    let (rect, response) = ui.allocate_exact_size(vec2(edge, edge), Sense::hover());
                    let what = if one.step == 0 {
                        "Base".to_owned()
                    } else {
                        format!("With LoRA, step {}", format::count(one.step))
                    };
                    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &what));
                    picture::contain(ui, rect, &app.pictures.get(&one.path, PREVIEW));
                    ui.label(RichText::new(what).color(t.dim));
                });
            }
        });
        ui.horizontal(|ui| {
            hint(ui, format!("Seed {}", sample.seed));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.add_enabled_ui(at + 1 < steps.len(), |ui| {
                    if icon_button(ui, Icon::ChevronRight, "Later step").clicked() {
                        next = Some((prompt, steps[at + 1]));
                    }
                });
                ui.add_enabled_ui(at > 0, |ui| {
                    if icon_button(ui, Icon::ChevronLeft, "Earlier step").clicked() {
                        next = Some((prompt, steps[at - 1]));
                    }
                });
            });
        });
        let pressed = |key| ui.input(|i| i.key_pressed(key));
        if pressed(Key::ArrowRight) && at + 1 < steps.len() {
            next = Some((prompt, steps[at + 1]));
        } else if pressed(Key::ArrowLeft) && at > 0 {
            next = Some((prompt, steps[at - 1]));
        } else if pressed(Key::ArrowDown) && row_at + 1 < prompts.len() {
            next = Some((prompts[row_at + 1], step));
        } else if pressed(Key::ArrowUp) && row_at > 0 {
            next = Some((prompts[row_at - 1], step));
        }
        closed
    });
    if closed || close {
        app.enlarged = None;
    } else if next.is_some() {
        app.enlarged = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_always_has_its_ending() {
        assert_eq!(with_ending("/a/ink"), PathBuf::from("/a/ink.safetensors"));
        assert_eq!(with_ending("/a/ink.Safetensors"), PathBuf::from("/a/ink.Safetensors"));
    }

    #[test]
    fn the_suggested_name_stays_in_the_run_folder() {
        let form = ExportForm::suggest(Path::new("/runs/1"), "my/style", &State::default());
        assert_eq!(Path::new(&form.to), Path::new("/runs/1/my-style-step0.safetensors"));
    }
}
