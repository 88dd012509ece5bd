//! What was drawn: one picture large, and all of them below, those of a sweep as a grid.

use egui::{Rect, RichText, ScrollArea, Sense, Ui, pos2, vec2};
use lorikeet_protocol::PictureSettings;

use super::super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::drawing::{DrawAction, Kept};
use crate::format;
use crate::kit::{Icon, Tokens, card, card::empty, card::hint, columns, quiet_button, tokens::COLUMN_GAP};
use crate::pictures::{PREVIEW, THUMBNAIL};
use crate::texts;

const GAP: f32 = 8.0;
const TILE: f32 = 96.0;
/// Of the names at the left of a grid.
const NAMES: f32 = 120.0;
/// Edge of the large picture at most.
const LARGE: f32 = 512.0;
/// Of the words beside it at least; else they stand below it.
const ABOUT: f32 = 240.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    if app.drawing.material.drawn.is_empty() {
        let text = texts::draw::EMPTY_HELP;
        card(ui, "", |ui| empty(ui, Icon::Sparkles, texts::draw::EMPTY, text, |_| {}));
        return;
    }
    let last = app.drawing.material.drawn.len() - 1;
    let at = app.drawing.shown.unwrap_or(last).min(last);
    let shown = app.drawing.material.drawn[at].clone();
    card(ui, "", |ui| {
        let beside = ui.available_width() - LARGE - COLUMN_GAP;
        if beside < ABOUT {
            large(app, ui, &shown);
            about(app, ui, at, &shown);
            return;
        }
        columns::columns(ui, &[LARGE, beside], |ui, column| match column {
            0 => large(app, ui, &shown),
            _ => about(app, ui, at, &shown),
        });
    });
    let sets = sets(&app.drawing.material.drawn);
    let mut singles: Vec<usize> = Vec::new();
    for set in sets.into_iter().rev() {
        match set[..] {
            [one] => singles.push(one),
            _ => {
                strip(app, ui, &mut singles, at);
                card(ui, texts::draw::SWEEP_TITLE, |ui| grid(app, ui, &set, at));
            }
        }
    }
    strip(app, ui, &mut singles, at);
}

/// Indices of pictures that were asked for together, oldest first.
fn sets(drawn: &[Kept]) -> Vec<Vec<usize>> {
    let mut sets: Vec<(u64, Vec<usize>)> = Vec::new();
    for (index, kept) in drawn.iter().enumerate() {
        match sets.last_mut() {
            Some((set, members)) if *set == kept.settings.set && *set != 0 => members.push(index),
            _ => sets.push((kept.settings.set, vec![index])),
        }
    }
    sets.into_iter().map(|(_, members)| members).collect()
}

fn large(app: &mut StudioApp, ui: &mut Ui, kept: &Kept) {
    let PictureSettings { width, height, .. } = kept.settings;
    let room = ui.available_width().min(LARGE);
    // Small pictures are shown as large as others; their shape is kept.
    let size = vec2(width.max(1) as f32, height.max(1) as f32);
    let size = size * (room / size.x.max(size.y));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    let name = texts::draw::drawn(&kept.settings.prompt);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Image, true, &name));
    picture::contain(ui, rect, &app.pictures.get(&kept.path, PREVIEW));
}

/// What it was drawn with, and what can be done with it.
fn about(app: &mut StudioApp, ui: &mut Ui, at: usize, kept: &Kept) {
    let t = Tokens::get(ui);
    ui.add(egui::Label::new(RichText::new(&kept.settings.prompt).color(t.text)).wrap());
    if !kept.settings.negative.is_empty() {
        ui.add(egui::Label::new(RichText::new(texts::draw::not(&kept.settings.negative)).color(t.dim)).wrap());
    }
    hint(ui, in_words(&kept.settings));
    ui.horizontal_wrapped(|ui| {
        if quiet_button(ui, Icon::Reset, texts::import::USE).clicked() {
            app.actions.push(Action::Drawing(DrawAction::UseSettings(at)));
        }
        let comfy = quiet_button(ui, Icon::Boxes, texts::common::OPEN_IN_COMFYUI)
            .on_hover_text(texts::common::OPEN_IN_COMFYUI_HELP);
        if comfy.clicked() {
            app.actions.push(Action::Drawing(DrawAction::Workflow(kept.path.clone())));
        }
        if quiet_button(ui, Icon::FolderOpen, texts::common::SHOW_FILE).clicked() {
            app.actions.push(Action::Open(kept.path.clone()));
        }
    });
}

/// `ink-step250 × 0.75 · seed 1 · 512 × 512 · 25 steps · CFG 7`.
fn in_words(settings: &PictureSettings) -> String {
    let mut words: Vec<String> =
        settings.loras.iter().map(|lora| texts::draw::with_strength(&lora.name, lora.strength)).collect();
    if words.is_empty() {
        words.push(texts::draw::BASE_ALONE.to_owned());
    }
    words.push(texts::draw::seed(settings.seed));
    words.push(format::size(settings.width, settings.height));
    words.push(texts::common::steps(settings.steps.into()));
    words.push(texts::draw::cfg(settings.cfg));
    words.extend(settings.guidance.map(texts::draw::guidance));
    words.join(" · ")
}

/// Pictures that were asked for one by one.
fn strip(app: &mut StudioApp, ui: &mut Ui, indices: &mut Vec<usize>, shown: usize) {
    if indices.is_empty() {
        return;
    }
    let indices = std::mem::take(indices);
    card(ui, "", |ui| {
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = vec2(GAP, GAP);
            for index in indices {
                let (rect, _) = ui.allocate_exact_size(vec2(TILE, TILE), Sense::hover());
                tile(app, ui, rect, index, shown);
            }
        });
    });
}

fn tile(app: &mut StudioApp, ui: &Ui, rect: Rect, index: usize, shown: usize) {
    let kept = app.drawing.material.drawn[index].clone();
    if !ui.is_rect_visible(rect) {
        return;
    }
    let words = in_words(&kept.settings);
    let name = format!("{}, {words}", kept.settings.prompt);
    let texture = app.pictures.get(&kept.path, THUMBNAIL);
    let response = picture::tile(ui, rect, ui.scope_id().with(("drawn", index)), &name, &texture);
    if index == shown {
        let t = Tokens::get(ui);
        let stroke = egui::Stroke::new(2.0, t.accent);
        ui.painter().rect_stroke(rect, crate::kit::tokens::RADIUS, stroke, egui::StrokeKind::Inside);
    }
    if response.clicked() {
        app.actions.push(Action::Drawing(DrawAction::Show(index)));
    }
    response.on_hover_ui(|ui| {
        ui.label(&kept.settings.prompt);
        ui.label(words);
    });
}

/// Strengths across, saves or files down.
fn grid(app: &mut StudioApp, ui: &mut Ui, set: &[usize], shown: usize) {
    let t = Tokens::get(ui);
    let first = |index: &usize| {
        let lora = app.drawing.material.drawn[*index].settings.loras.first();
        lora.map_or((String::new(), 0.0), |lora| (lora.name.clone(), lora.strength))
    };
    let cells: Vec<(usize, (String, f32))> = set.iter().map(|index| (*index, first(index))).collect();
    let mut rows: Vec<String> = Vec::new();
    let mut columns: Vec<f32> = Vec::new();
    for (_, (name, strength)) in &cells {
        if !rows.contains(name) {
            rows.push(name.clone());
        }
        if !columns.contains(strength) {
            columns.push(*strength);
        }
    }
    let room = ui.available_width() - NAMES - 12.0;
    let edge = (room / columns.len() as f32 - GAP).clamp(TILE, 240.0).floor();
    ScrollArea::horizontal().id_salt(("sweep", set[0])).auto_shrink([false, true]).show(ui, |ui| {
        let width = NAMES + columns.len() as f32 * (edge + GAP);
        let small = egui::TextStyle::Small.resolve(ui.style());
        let (head, _) = ui.allocate_exact_size(vec2(width, 16.0), Sense::hover());
        for (column, strength) in columns.iter().enumerate() {
            let x = head.left() + NAMES + column as f32 * (edge + GAP) + edge / 2.0;
            let at = pos2(x, head.center().y);
            ui.painter().text(at, egui::Align2::CENTER_CENTER, format::plain((*strength).into()), small.clone(), t.dim);
        }
        for row in &rows {
            let (rect, _) = ui.allocate_exact_size(vec2(width, edge), Sense::hover());
            let name = Rect::from_min_size(rect.min, vec2(NAMES - GAP, edge));
            let label = egui::Label::new(RichText::new(row).small().color(t.dim)).truncate();
            ui.put(name, label).on_hover_text(row);
            for (column, strength) in columns.iter().enumerate() {
                let Some((index, _)) = cells.iter().find(|(_, (name, s))| name == row && s == strength) else {
                    continue;
                };
                let x = rect.left() + NAMES + column as f32 * (edge + GAP);
                tile(app, ui, Rect::from_min_size(pos2(x, rect.top()), vec2(edge, edge)), *index, shown);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_together_stays_together() {
        let kept = |set| Kept { settings: PictureSettings { set, ..Default::default() }, path: Default::default() };
        assert_eq!(sets(&[1, 2, 2, 0, 0].map(kept)), [vec![0], vec![1, 2], vec![3], vec![4]]);
    }
}
