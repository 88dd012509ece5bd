//! The run as it goes: how far, how well, and how it ended.

use egui::{Rect, RichText, Sense, Ui, pos2, vec2};
use lorikeet_protocol::Failure;

use super::{load, log, memory, overlays, picture, plan};
use crate::actions::Action;
use crate::advice::{Advice, advice};
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, buttons::checkbox, card, card::card_with, card::empty, card::hint, columns, icon_button,
    loss_plot, notice, primary_button, progress, quiet_button, text_button, theme,
};
use crate::pages::Page;
use crate::pictures::PREVIEW;
use crate::state::{Finish, Phase, State};
use crate::texts;

const LATEST: usize = 8;
/// Of a wide page.
const CURVES: f32 = 0.66;
/// Edge of a preview at most.
const EDGE: f32 = 168.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if !app.state.has_run() {
        let can = app.can_train();
        let actions = &mut app.actions;
        empty(ui, Icon::Activity, texts::monitor::EMPTY, texts::monitor::EMPTY_HELP, |ui| {
            if primary_button(ui, Icon::Play, texts::monitor::START, can).clicked() {
                actions.push(Action::Train);
            }
        });
        return;
    }
    match app.state.phase.clone() {
        Phase::Failed(failure) => failed(app, ui, &failure),
        Phase::Finished(finish) => finished(app, ui, &finish),
        _ => {}
    }
    if let Some(watched) = app.watched.as_ref().filter(|_| app.state.active()) {
        notice(ui, Tone::Info, texts::monitor::in_background(watched.process));
        ui.add_space(4.0);
    }
    remarks(app, ui);
    let curves = |app: &mut StudioApp, ui: &mut Ui| {
        progress_card(app, ui);
        figures(&app.state, ui);
        let height = plot_height(ui);
        loss(app, ui, height);
    };
    columns::beside(ui, app, CURVES, curves, |app, ui| {
        latest(app, ui);
        load::show(&app.state, ui);
        memory::show(&app.state, ui);
        warnings(&app.state, ui);
        log::show(app, ui);
    });
}

/// As high as the window leaves room for below what stands over the plot.
fn plot_height(ui: &Ui) -> f32 {
    (ui.ctx().content_rect().height() - 540.0).clamp(260.0, 640.0)
}

fn warnings(state: &State, ui: &mut Ui) {
    if state.warnings.is_empty() {
        return;
    }
    card(ui, texts::monitor::WARNINGS, |ui| {
        for warning in &state.warnings {
            notice(ui, Tone::Warn, super::dataset::sentence(warning.trim_end_matches('.')));
        }
    });
}

/// Beside the pages of the recipe: the plan, and the run when there is one.
pub(crate) fn rail(app: &mut StudioApp, ui: &mut Ui) {
    if app.state.has_run() {
        if let Phase::Failed(failure) = app.state.phase.clone() {
            failed(app, ui, &failure);
        }
        progress_card(app, ui);
        loss(app, ui, 180.0);
        latest(app, ui);
    }
    if !app.state.active() {
        plan::show(app, ui);
    }
}

fn progress_card(app: &mut StudioApp, ui: &mut Ui) {
    let state = &app.state;
    let title = match state.phase {
        Phase::Paused => texts::monitor::PAUSED,
        Phase::Stopping => texts::monitor::STOPPING,
        Phase::Finished(_) => texts::monitor::FINISHED,
        Phase::Failed(_) => texts::monitor::STOPPED,
        _ => texts::monitor::PROGRESS,
    };
    card(ui, title, |ui| {
        if let Some(step) = &state.step {
            let pace = format::pace(step.seconds);
            let left = if state.phase == Phase::Running { format::time_left(step.seconds_left) } else { String::new() };
            let beside = [pace, left].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" · ");
            let what = texts::monitor::step_of(step.step, step.steps);
            progress::labelled(ui, &what, &beside, state.fraction());
            hint(ui, texts::monitor::epoch_of(step.epoch, step.epochs));
        }
        if let Some(stage) = state.stage {
            progress::counted(ui, stage.stage.label(), stage.done, stage.total);
        } else if state.step.is_none() && state.active() {
            progress::labelled(ui, texts::monitor::STARTING, "", None);
        }
    });
}

/// What the curves say.
fn remarks(app: &StudioApp, ui: &mut Ui) {
    let told = advice(&app.state);
    if told.is_empty() {
        return;
    }
    card(ui, texts::monitor::ADVICE, |ui| {
        for Advice { what, todo } in &told {
            notice(ui, Tone::Warn, what);
            ui.horizontal_top(|ui| {
                ui.add_space(24.0);
                hint(ui, todo);
            });
        }
    });
}

/// Numbers side by side.
fn figures(state: &State, ui: &mut Ui) {
    let Some(step) = &state.step else { return };
    let mut figures = vec![
        (format::loss(step.smoothed), texts::monitor::LOSS_SMOOTHED.to_owned()),
        (format::learning_rate(step.learning_rate), texts::monitor::LEARNING_RATE.to_owned()),
    ];
    if let Some(validation) = state.validation.last() {
        let name = match format::change(validation.loss, validation.base_loss) {
            Some(change) => texts::monitor::validation_to_base(&change),
            None => texts::monitor::VALIDATION_LOSS.to_owned(),
        };
        figures.insert(1, (format::loss(validation.loss), name));
    }
    let total = state.plan.as_ref().map_or(0, |plan| plan.memory_bytes);
    figures.push(match step.device_memory_bytes {
        Some(bytes) => (format::memory_of(bytes, total), texts::monitor::DEVICE_MEMORY.to_owned()),
        None => (format::bytes(step.memory_bytes), texts::monitor::MEMORY_USED.to_owned()),
    });
    card(ui, "", |ui| {
        let width = ui.available_width() / figures.len() as f32;
        ui.horizontal_top(|ui| {
            ui.spacing_mut().item_spacing.x = 0.0;
            for (value, name) in &figures {
                ui.allocate_ui(vec2(width, 44.0), |ui| {
                    ui.set_width(width);
                    progress::figure(ui, value, name);
                });
            }
        });
    });
}

fn loss(app: &mut StudioApp, ui: &mut Ui, height: f32) {
    if app.state.losses.is_empty() {
        return;
    }
    let log = app.log_scale;
    let mut wanted = log;
    let state = &app.state;
    let name = app.draft.name();
    let (mut choose, mut asked) = (None, None);
    let (curves, runs) = (&app.overlays, app.runs.ready());
    let rect = card_with(
        ui,
        texts::monitor::LOSS,
        |ui| {
            if icon_button(ui, Icon::Camera, texts::monitor::SAVE_PICTURE).clicked() {
                choose = Some(Choose::PlotPicture(format!("{name}-loss.png")));
            }
            if state.run_dir.is_some() && icon_button(ui, Icon::Download, texts::monitor::SAVE_TABLE).clicked() {
                choose = Some(Choose::PlotTable(format!("{name}.csv")));
            }
            checkbox(ui, &mut wanted, texts::monitor::LOG_SCALE);
            asked = overlays::menu(ui, curves, runs, state.run_dir.as_deref());
        },
        |ui| {
            let rect = loss_plot::show(ui, state, curves, height, log);
            let legend = ui.horizontal_wrapped(|ui| loss_plot::legend(ui, state, curves)).response.rect;
            rect.union(legend)
        },
    );
    app.log_scale = wanted;
    app.actions.extend(asked);
    if let Some(what) = choose {
        app.actions.push(Action::Choose(what));
    }
    if let Some(to) = app.picture_to.take() {
        app.work.save_picture(rect.expand(6.0), to);
    }
}

/// The newest preview of each prompt.
fn latest(app: &mut StudioApp, ui: &mut Ui) {
    let (prompts, steps) = app.state.sample_grid();
    let Some(last) = steps.last().copied() else { return };
    let shown: Vec<_> =
        prompts.iter().filter_map(|(index, _)| app.state.sample(*index, last)).take(LATEST).cloned().collect();
    let title = if last == 0 { texts::monitor::PREVIEWS_OF_BASE.to_owned() } else { texts::monitor::previews_at(last) };
    let mut all = false;
    let covered = app.enlarged.is_some();
    card_with(
        ui,
        &title,
        |ui| all = quiet_button(ui, Icon::Sparkles, texts::monitor::ALL).clicked(),
        |ui| {
            let width = ui.available_width();
            let most = ((width / 120.0).round() as usize).clamp(2, LATEST);
            // Rows of equal length.
            let columns = shown.len().div_ceil(shown.len().div_ceil(most)).max(2);
            let edge = ((width - 8.0 * (columns - 1) as f32) / columns as f32).floor().min(EDGE);
            for row in shown.chunks(columns) {
                let (rect, _) = ui.allocate_exact_size(vec2(width, edge), Sense::hover());
                for (i, sample) in row.iter().enumerate() {
                    let at =
                        Rect::from_min_size(pos2(rect.left() + i as f32 * (edge + 8.0), rect.top()), vec2(edge, edge));
                    let name = texts::monitor::preview_of(&sample.prompt);
                    let picture = app.pictures.get(&sample.path, PREVIEW);
                    let response =
                        picture::tile(ui, at, ui.scope_id().with(("latest", sample.prompt_index)), &name, &picture);
                    if response.clicked() {
                        app.actions.push(Action::Enlarge(Some((sample.prompt_index, sample.step))));
                    }
                    if !covered {
                        response.on_hover_text(&sample.prompt);
                    }
                }
            }
        },
    );
    if all {
        app.actions.push(Action::Go(Page::Samples));
    }
}

fn finished(app: &mut StudioApp, ui: &mut Ui, finish: &Finish) {
    let t = Tokens::get(ui);
    let run_dir = app.state.run_dir.clone();
    let all = app.state.step.as_ref().is_none_or(|step| finish.step >= step.steps);
    card(ui, "", |ui| {
        ui.horizontal(|ui| {
            Tone::Ok.icon().show(ui, 20.0, t.ok);
            let title = if all { texts::monitor::READY } else { texts::monitor::STOPPED_AND_SAVED };
            ui.label(RichText::new(title).text_style(theme::title()).color(t.text));
        });
        let text = texts::monitor::steps_in(finish.step, finish.seconds);
        ui.label(RichText::new(text).color(t.dim));
        if let Some(lora) = &finish.lora {
            ui.add(egui::Label::new(RichText::new(lora.display().to_string()).monospace().color(t.dim)).truncate())
                .on_hover_text(lora.display().to_string());
        }
        ui.horizontal(|ui| {
            if text_button(ui, Icon::Share, texts::commands::EXPORT, app.state.can_export()).clicked() {
                app.actions.push(Action::OpenExport);
            }
            if let Some(run_dir) = run_dir {
                if text_button(ui, Icon::FolderOpen, texts::common::OPEN_FOLDER, true).clicked() {
                    app.actions.push(Action::Open(run_dir.clone()));
                }
                if !all && text_button(ui, Icon::Play, texts::common::CONTINUE, true).clicked() {
                    app.actions.push(Action::ResumeRun(run_dir));
                }
            }
        });
    });
}

fn failed(app: &mut StudioApp, ui: &mut Ui, failure: &Failure) {
    let t = Tokens::get(ui);
    card::frame(t).stroke(egui::Stroke::new(1.0, t.error)).show(ui, |ui| {
        ui.set_width(ui.available_width());
        plan::failure_text(ui, failure);
        if let Some(save) = &failure.last_save {
            ui.add(
                egui::Label::new(RichText::new(texts::monitor::last_save(save.display())).small().color(t.mute))
                    .truncate(),
            )
            .on_hover_text(save.display().to_string());
        }
        let Some(run_dir) = app.state.run_dir.clone() else { return };
        ui.horizontal(|ui| {
            let resumable = failure.last_save.is_some() || !app.state.saves.is_empty();
            if resumable && text_button(ui, Icon::Play, texts::monitor::CONTINUE_FROM_SAVE, true).clicked() {
                app.actions.push(Action::ResumeRun(run_dir.clone()));
            }
            if text_button(ui, Icon::FolderOpen, texts::common::OPEN_FOLDER, true).clicked() {
                app.actions.push(Action::Open(run_dir));
            }
        });
    });
}
