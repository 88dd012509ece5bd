//! Run folders, the newest first.

use std::path::PathBuf;
use std::time::SystemTime;

use egui::{Align, Context, Layout, Rect, RichText, Sense, TextEdit, Ui, WidgetInfo, vec2};

use super::{dataset::sentence, picture, queue};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, card, card::empty, card::hint, card::page_title, columns, icon_button, modal, modal::actions,
    modal::title, notice, primary_button, progress, text_button, theme,
};
use crate::pictures::THUMBNAIL;
use crate::run_files::RunEntry;
use crate::texts;

const EDGE: f32 = 52.0;
/// Of a run's card at least, so that its buttons leave room for its name.
const ENTRY: f32 = 640.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    page_title(ui, texts::shell::RUNS, texts::runs::HELP);
    queue::show(app, ui);
    if app.runs.ready().is_some_and(|runs| !runs.is_empty()) {
        search(app, ui);
    }
    let runs = std::mem::take(&mut app.runs);
    match &runs {
        Load::Nothing | Load::Loading(_) => progress::labelled(ui, texts::runs::LOOKING, "", None),
        Load::Failed(error) => {
            notice(ui, Tone::Error, sentence(error));
            if text_button(ui, Icon::Refresh, texts::runs::LOOK_AGAIN, true).clicked() {
                app.actions.push(Action::ListRuns);
            }
        }
        Load::Ready(runs) if runs.is_empty() => {
            empty(ui, Icon::History, texts::runs::EMPTY, texts::runs::EMPTY_HELP, |_| {});
        }
        Load::Ready(runs) => {
            let now = SystemTime::now();
            let words: Vec<String> = app.run_search.split_whitespace().map(str::to_lowercase).collect();
            let fits = |run: &&RunEntry| {
                let text = format!("{} {}", run.name, run.about).to_lowercase();
                words.iter().all(|word| text.contains(word))
            };
            let shown: Vec<&RunEntry> = runs.iter().filter(fits).collect();
            if shown.is_empty() {
                hint(ui, texts::runs::NOTHING_FOUND);
            }
            columns::grid(ui, ENTRY, 3, shown.len(), |ui, at| entry(app, ui, shown[at], now));
        }
    }
    app.runs = runs;
}

fn search(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        Icon::Search.show(ui, 16.0, t.mute);
        let search = TextEdit::singleline(&mut app.run_search)
            .hint_text(texts::runs::FIND)
            .desired_width(240.0)
            .margin(egui::Margin::symmetric(8, 5));
        let field = ui.add(search);
        field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, texts::runs::FIND));
        if icon_button(ui, Icon::Refresh, texts::runs::LOOK_FOR_RUNS_AGAIN).clicked() {
            app.actions.push(Action::ListRuns);
        }
    });
}

fn entry(app: &mut StudioApp, ui: &mut Ui, run: &RunEntry, now: SystemTime) {
    let t = Tokens::get(ui);
    let held = app.state.active();
    let mine = app.state.run_dir.as_ref() == Some(&run.path);
    let elsewhere = run.working && !(held && mine);
    card(ui, "", |ui| {
        ui.horizontal(|ui| {
            strip(app, ui, run);
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                ui.spacing_mut().item_spacing.x = 4.0;
                ui.add_enabled_ui(!(elsewhere || held && mine), |ui| {
                    if icon_button(ui, Icon::Trash, &texts::runs::delete(&run.name)).clicked() {
                        app.confirm_delete = Some(run.path.clone());
                    }
                });
                if icon_button(ui, Icon::FolderOpen, &texts::runs::open_folder_of(&run.name)).clicked() {
                    app.actions.push(Action::Open(run.path.clone()));
                }
                let over = run.lora.is_some() && run.saved_step.is_some() && run.saved_step >= run.steps;
                if over && !elsewhere {
                    ui.add_enabled_ui(!held, |ui| {
                        if icon_button(ui, Icon::Plus, &texts::runs::train_longer(&run.name)).clicked() {
                            app.actions.push(Action::AskLonger(run.path.clone()));
                        }
                    });
                }
                if icon_button(ui, Icon::Copy, &texts::runs::use_recipe_of(&run.name)).clicked() {
                    app.actions.push(Action::UseRecipeOf(run.path.clone()));
                }
                let unfinished = run.saved_step.is_some() && (run.lora.is_none() || run.saved_step < run.steps);
                if elsewhere {
                    if text_button(ui, Icon::Activity, texts::runs::WATCH, !held).clicked() {
                        app.actions.push(Action::Watch(run.path.clone()));
                    }
                } else if unfinished && text_button(ui, Icon::Play, texts::common::CONTINUE, !held).clicked() {
                    app.actions.push(Action::ResumeRun(run.path.clone()));
                }
                if !elsewhere && text_button(ui, Icon::Activity, texts::runs::OPEN, !held).clicked() {
                    app.actions.push(Action::OpenRun(run.path.clone()));
                }
                ui.with_layout(Layout::top_down(Align::Min), |ui| {
                    ui.spacing_mut().item_spacing.y = 2.0;
                    let name = RichText::new(&run.name).text_style(theme::section()).color(t.text);
                    ui.add(egui::Label::new(name).truncate());
                    for line in [about(run, now), progress_of(run), facts(run)] {
                        ui.add(egui::Label::new(RichText::new(line).small().color(t.mute)).truncate());
                    }
                });
            });
        });
    });
}

/// The newest previews of a run.
fn strip(app: &mut StudioApp, ui: &mut Ui, run: &RunEntry) {
    let t = Tokens::get(ui);
    let count = if ui.available_width() > 560.0 { 3 } else { 1 };
    let width = count as f32 * (EDGE + 4.0);
    let (rect, response) = ui.allocate_exact_size(vec2(width, EDGE), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, texts::runs::previews_of(&run.name)));
    if !ui.is_rect_visible(rect) {
        return;
    }
    for index in 0..count {
        let at = Rect::from_min_size(rect.min + vec2(index as f32 * (EDGE + 4.0), 0.0), vec2(EDGE, EDGE));
        match run.pictures.get(index) {
            Some(path) => picture::cover(ui, at, &app.pictures.get(path, THUMBNAIL)),
            None => {
                ui.painter().rect_filled(at, crate::kit::tokens::RADIUS, t.field);
            }
        }
    }
}

/// `Saved at step 250 of 400 · LoRA ready`.
fn progress_of(run: &RunEntry) -> String {
    let mut parts = Vec::new();
    if run.working {
        parts.push(texts::runs::RUNNING.to_owned());
    }
    parts.push(match run.saved_step {
        Some(step) => texts::runs::saved_at(step, run.steps),
        None => texts::runs::NOTHING_SAVED.to_owned(),
    });
    if run.lora.is_some() {
        parts.push(texts::runs::LORA_READY.to_owned());
    }
    parts.join(" · ")
}

/// `Style · demo base · 2 h ago`.
fn about(run: &RunEntry, now: SystemTime) -> String {
    let age = now.duration_since(run.modified).ok().map(|age| format::ago(age.as_secs_f64()));
    let parts = [Some(run.about.clone()).filter(|about| !about.is_empty()), age];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// `Validation 0.1204 at step 200 · 12 MB`.
fn facts(run: &RunEntry) -> String {
    let best = run.best.map(|(step, loss)| texts::runs::validation_at(loss, step));
    [best, Some(format::bytes(run.bytes))].into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// Before a run goes to the trash.
pub(super) fn confirm(app: &mut StudioApp, ctx: &Context, path: PathBuf) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let (decided, close) = modal(ctx, "delete", |ui| {
        ui.set_width(400.0);
        title(ui, texts::runs::DELETE_TITLE);
        let t = Tokens::get(ui);
        let text = texts::runs::delete_help(&name);
        ui.add(egui::Label::new(RichText::new(text).color(t.dim)).wrap());
        let mut decided = None;
        actions(ui, |ui| {
            if primary_button(ui, Icon::Trash, texts::runs::DELETE, true).clicked() {
                decided = Some(true);
            }
            if text_button(ui, Icon::X, texts::common::CANCEL, true).clicked() {
                decided = Some(false);
            }
        });
        decided
    });
    if decided == Some(true) {
        app.actions.push(Action::DeleteRun(path));
    }
    if decided.is_some() || close {
        app.confirm_delete = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_run_is_told_in_few_words() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        let run = RunEntry {
            path: "ink".into(),
            name: "ink".to_owned(),
            modified: now - Duration::from_secs(7_200),
            saved_step: Some(250),
            steps: Some(1_400),
            lora: Some("ink/ink.safetensors".into()),
            about: "Style · demo base".to_owned(),
            pictures: Vec::new(),
            best: Some((200, 0.1204)),
            bytes: 12 << 20,
            working: false,
        };
        assert_eq!(progress_of(&run), "Saved at step 250 of 1,400 · LoRA ready");
        assert_eq!(facts(&run), "Validation 0.1204 at step 200 · 12 MB");
        assert_eq!(about(&run, now), "Style · demo base · 2 h ago");
    }
}
