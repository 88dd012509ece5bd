//! Previews: prompts down, steps across, the untouched base first.

use egui::{Rect, RichText, ScrollArea, Sense, Ui, pos2, vec2};

use super::{draw, picture, prompts};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::drawing::DrawAction;
use crate::kit::{
    Icon, Tokens, buttons::focus_ring, buttons::segmented, card::empty, card::page_title, text_button, theme,
};
use crate::pictures::PREVIEW;
use crate::state::Phase;
use crate::texts;

const GAP: f32 = 8.0;
const SMALL: f32 = 128.0;
const LARGE: f32 = 320.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    head(app, ui);
    if app.drawing.open {
        draw::show(app, ui);
    } else {
        previews(app, ui);
    }
}

/// Which of the two is shown, and what can be done there.
fn head(app: &mut StudioApp, ui: &mut Ui) {
    ui.horizontal(|ui| {
        ui.vertical(|ui| {
            let (title, about) = match app.drawing.open {
                true => (texts::draw::DRAW, texts::samples::DRAW_HELP),
                false => (texts::samples::PREVIEWS, texts::samples::HELP),
            };
            page_title(ui, title, about);
        });
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let ways = [(Some(Icon::Images), texts::samples::PREVIEWS), (Some(Icon::Sparkles), texts::draw::DRAW)];
            if let Some(picked) = segmented(ui, &ways, usize::from(app.drawing.open)) {
                app.actions.push(Action::Drawing(DrawAction::Open(picked == 1)));
            }
            let running = app.state.phase == Phase::Running;
            if app.state.active()
                && !app.drawing.open
                && text_button(ui, Icon::Camera, texts::samples::DRAW_NOW, running).clicked()
            {
                app.actions.push(Action::SampleNow);
            }
        });
    });
}

fn previews(app: &mut StudioApp, ui: &mut Ui) {
    if app.state.active() {
        prompts::show(app, ui);
    }
    if app.state.samples.is_empty() {
        let text = if app.state.active() { texts::samples::BASE_FIRST } else { texts::samples::EMPTY_HELP };
        empty(ui, Icon::Sparkles, texts::samples::EMPTY, text, |_| {});
        return;
    }
    let t = Tokens::get(ui);
    let (prompts, steps) = app.state.sample_grid();
    let prompts: Vec<(usize, String)> = prompts.into_iter().map(|(index, prompt)| (index, prompt.to_owned())).collect();
    let room = ui.available_width() - GAP * (steps.len().max(1) - 1) as f32;
    let edge = (room / steps.len().max(1) as f32).floor().clamp(SMALL, LARGE);
    ScrollArea::horizontal().id_salt("previews").auto_shrink([false, true]).stick_to_right(true).show(ui, |ui| {
        let width = steps.len() as f32 * (edge + GAP) - GAP;
        header(app, ui, &steps, edge, width);
        for (index, prompt) in &prompts {
            let (rect, _) = ui.allocate_exact_size(vec2(width, 18.0), Sense::hover());
            // Stays in view however far the grid is scrolled.
            let visible = ui.clip_rect().left().max(rect.left());
            let mut job = egui::text::LayoutJob::simple_singleline(
                prompt.clone(),
                egui::TextStyle::Body.resolve(ui.style()),
                t.text,
            );
            job.wrap = egui::text::TextWrapping::truncate_at_width(ui.clip_rect().width() - 12.0);
            let galley = ui.painter().layout_job(job);
            ui.painter().galley(pos2(visible, rect.top()), galley, t.text);
            row(app, ui, *index, &steps, edge, width);
            ui.add_space(8.0);
        }
    });
}

fn header(app: &mut StudioApp, ui: &mut Ui, steps: &[u64], edge: f32, width: f32) {
    let t = Tokens::get(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(width, 20.0), Sense::hover());
    for (i, step) in steps.iter().enumerate() {
        let at = pos2(rect.left() + i as f32 * (edge + GAP), rect.center().y);
        let text = if *step == 0 { texts::common::BASE.to_owned() } else { texts::common::step(*step) };
        let color = if i + 1 == steps.len() { t.text } else { t.dim };
        let at = ui.painter().text(at, egui::Align2::LEFT_CENTER, text, theme::section().resolve(ui.style()), color);
        let epoch = app.state.samples.iter().find(|sample| sample.step == *step).map_or(0, |sample| sample.epoch);
        if *step > 0 {
            let column = rect.left() + i as f32 * (edge + GAP);
            star(app, ui, Rect::from_center_size(pos2(column + edge - 10.0, rect.center().y), vec2(20.0, 20.0)), *step);
        }
        if *step > 0 && at.width() + 84.0 < edge {
            let small = egui::TextStyle::Small.resolve(ui.style());
            ui.painter().text(
                at.right_center() + vec2(8.0, 0.0),
                egui::Align2::LEFT_CENTER,
                texts::samples::epoch(epoch),
                small,
                t.mute,
            );
        }
    }
}

/// Marks the favourite, which the export starts with.
fn star(app: &mut StudioApp, ui: &Ui, rect: Rect, step: u64) {
    let t = Tokens::get(ui);
    let on = app.drawing.favourite(app.state.run_dir.as_ref()) == Some(step);
    let response = ui.interact(rect, ui.scope_id().with(("star", step)), Sense::click());
    let name = texts::samples::as_favourite(step);
    response.widget_info(|| egui::WidgetInfo::selected(egui::Role::CheckBox, true, on, &name));
    let color = match (on, response.hovered()) {
        (true, _) => t.accent,
        (false, true) => t.text,
        (false, false) => t.mute,
    };
    if on {
        ui.painter().circle_filled(rect.center(), 4.0, t.accent);
    }
    Icon::Star.paint(ui, Rect::from_center_size(rect.center(), vec2(14.0, 14.0)), color);
    focus_ring(ui, &response, 4);
    if response.clicked() {
        app.actions.push(Action::Favourite((!on).then_some(step)));
    }
    response.on_hover_text(texts::samples::FAVOURITE);
}

fn row(app: &mut StudioApp, ui: &mut Ui, index: usize, steps: &[u64], edge: f32, width: f32) {
    let t = Tokens::get(ui);
    let (rect, _) = ui.allocate_exact_size(vec2(width, edge), Sense::hover());
    if !ui.is_rect_visible(rect) {
        return;
    }
    for (i, step) in steps.iter().enumerate() {
        let at = Rect::from_min_size(pos2(rect.left() + i as f32 * (edge + GAP), rect.top()), vec2(edge, edge));
        if !ui.is_rect_visible(at) {
            continue;
        }
        let Some(sample) = app.state.sample(index, *step).cloned() else {
            ui.painter().rect_stroke(at, 6, egui::Stroke::new(1.0, t.line), egui::StrokeKind::Inside);
            continue;
        };
        let picture = app.pictures.get(&sample.path, PREVIEW);
        let name = texts::samples::at(&sample.prompt, *step);
        let response = picture::tile(ui, at, ui.scope_id().with(("sample", index, step)), &name, &picture);
        if response.clicked() {
            app.actions.push(Action::Enlarge(Some((index, *step))));
        }
        if app.enlarged.is_some() {
            continue;
        }
        response.on_hover_ui(|ui| {
            ui.label(&sample.prompt);
            ui.label(RichText::new(texts::samples::step_and_seed(*step, sample.seed)).small().color(t.mute));
        });
    }
}
