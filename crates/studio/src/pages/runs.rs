//! Run folders, the newest first.

use std::time::SystemTime;

use egui::{Align, Layout, RichText, Ui};

use super::{column, dataset::sentence};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, card, card::empty, card::page_title, icon_button, notice, progress, text_button, theme,
};
use crate::work::RunEntry;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    column(ui, |ui| {
        page_title(ui, "Runs", "Each run has a folder of its own, with its recipe, previews, saves and LoRA");
        match &app.runs {
            Load::Nothing | Load::Loading(_) => progress::labelled(ui, "Looking for runs", "", None),
            Load::Failed(error) => {
                notice(ui, Tone::Error, sentence(error));
            }
            Load::Ready(runs) if runs.is_empty() => {
                empty(ui, Icon::History, "No runs yet", "What you train appears here", |_| {});
            }
            Load::Ready(runs) => {
                let held = app.state.active();
                let now = SystemTime::now();
                for run in runs {
                    if let Some(action) = entry(ui, run, now, held) {
                        app.actions.push(action);
                    }
                }
            }
        }
        if text_button(ui, Icon::Refresh, "Look again", true).clicked() {
            app.actions.push(Action::ListRuns);
        }
    });
}

fn entry(ui: &mut Ui, run: &RunEntry, now: SystemTime, held: bool) -> Option<Action> {
    let t = Tokens::get(ui);
    let mut action = None;
    card(ui, "", |ui| {
        ui.horizontal(|ui| {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if icon_button(ui, Icon::FolderOpen, &format!("Open folder of {}", run.name)).clicked() {
                    action = Some(Action::Open(run.path.clone()));
                }
                let unfinished = run.saved_step.is_some() && (run.lora.is_none() || run.saved_step < run.steps);
                if unfinished && text_button(ui, Icon::Play, "Continue", !held).clicked() {
                    action = Some(Action::ResumeRun(run.path.clone()));
                }
                ui.with_layout(Layout::top_down(Align::Min), |ui| {
                    ui.spacing_mut().item_spacing.y = 2.0;
                    let name = RichText::new(&run.name).text_style(theme::section()).color(t.text);
                    ui.add(egui::Label::new(name).truncate());
                    ui.add(egui::Label::new(RichText::new(about(run, now)).small().color(t.mute)).truncate());
                });
            });
        });
    });
    action
}

/// `Saved at step 250 of 400 · LoRA ready · 2 h ago`.
fn about(run: &RunEntry, now: SystemTime) -> String {
    let mut parts = Vec::new();
    match (run.saved_step, run.steps) {
        (Some(step), Some(steps)) => parts.push(format!("Saved at step {}", format::count_of(step, steps))),
        (Some(step), None) => parts.push(format!("Saved at step {}", format::count(step))),
        (None, _) => parts.push("Nothing saved".to_owned()),
    }
    if run.lora.is_some() {
        parts.push("LoRA ready".to_owned());
    }
    if let Ok(age) = now.duration_since(run.modified) {
        parts.push(if age.as_secs() < 60 {
            "just now".to_owned()
        } else {
            format!("{} ago", format::duration(age.as_secs_f64()))
        });
    }
    parts.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_run_is_told_in_one_line() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10_000_000);
        let run = RunEntry {
            path: "ink".into(),
            name: "ink".to_owned(),
            modified: now - Duration::from_secs(7_200),
            saved_step: Some(250),
            steps: Some(1_400),
            lora: Some("ink/ink.safetensors".into()),
        };
        assert_eq!(about(&run, now), "Saved at step 250 of 1,400 · LoRA ready · 2 h ago");
    }
}
