//! One preview large beside another: the base, or any other step. Side by side, or with a slider to wipe between them.

use egui::{
    Align, ComboBox, Context, Image, Key, Layout, Rect, RichText, Sense, Stroke, Ui, WidgetInfo, load::SizedTexture,
    pos2, vec2,
};
use lorikeet_protocol::Sample;

use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::drawing::DrawAction;
use crate::kit::{
    Icon, Tokens, buttons::focus_ring, buttons::segmented, card::hint, icon_button, modal, quiet_button, theme, tokens,
};
use crate::pictures::{PREVIEW, Picture};
use crate::texts;

/// How two previews are compared.
#[derive(Clone, Debug)]
pub(crate) struct Compare {
    pub(crate) wipe: bool,
    /// Where the slider stands, 0 to 1.
    at: f32,
    /// The step it is compared with; 0: the untouched base.
    against: u64,
}

impl Default for Compare {
    fn default() -> Self {
        Self { wipe: false, at: 0.5, against: 0 }
    }
}

/// How far an arrow key moves the slider.
const NUDGE: f32 = 0.05;

pub(super) fn show(app: &mut StudioApp, ctx: &Context, prompt: usize, step: u64) {
    let (prompts, steps) = app.state.sample_grid();
    let prompts: Vec<usize> = prompts.into_iter().map(|(index, _)| index).collect();
    let Some(sample) = app.state.sample(prompt, step).cloned() else {
        app.enlarged = None;
        return;
    };
    let mut compare = app.compare.clone();
    let other = app.state.sample(prompt, compare.against).filter(|other| other.step != step).cloned();
    let screen = ctx.content_rect();
    let columns = if other.is_some() && !compare.wipe { 2.0 } else { 1.0 };
    let edge = ((screen.width() - 140.0) / columns).min(screen.height() - 250.0).clamp(160.0, 640.0).floor();
    let mut next = (prompt, step);
    let (closed, close) = modal(ctx, "enlarged", |ui| {
        ui.set_width((edge * columns + 8.0 * (columns - 1.0)).max(420.0));
        let closed = heading(ui, &sample);
        tools(ui, &mut compare, &steps, step);
        match &other {
            Some(other) if compare.wipe => wipe(app, ui, edge, &mut compare, other, &sample),
            _ => {
                ui.horizontal(|ui| {
                    for one in other.iter().chain(std::iter::once(&sample)) {
                        single(app, ui, edge, one);
                    }
                });
            }
        }
        ui.horizontal(|ui| {
            hint(ui, texts::compare::seed(sample.seed));
            if quiet_button(ui, Icon::Boxes, texts::common::OPEN_IN_COMFYUI)
                .on_hover_text(texts::common::OPEN_IN_COMFYUI_HELP)
                .clicked()
            {
                app.actions.push(Action::Drawing(DrawAction::Workflow(sample.path.clone())));
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let at = steps.iter().position(|s| *s == step).unwrap_or(0);
                ui.add_enabled_ui(at + 1 < steps.len(), |ui| {
                    if icon_button(ui, Icon::ChevronRight, texts::compare::LATER).clicked() {
                        next.1 = steps[at + 1];
                    }
                });
                ui.add_enabled_ui(at > 0, |ui| {
                    if icon_button(ui, Icon::ChevronLeft, texts::compare::EARLIER).clicked() {
                        next.1 = steps[at - 1];
                    }
                });
            });
        });
        if ui.memory(|memory| memory.focused().is_none()) {
            next = keys(ui, next, &prompts, &steps);
        }
        closed
    });
    app.compare = compare;
    if closed || close {
        app.enlarged = None;
    } else {
        app.enlarged = Some(next);
    }
}

/// Whether it is to be closed.
fn heading(ui: &mut Ui, sample: &Sample) -> bool {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let closed = icon_button(ui, Icon::X, texts::compare::CLOSE).clicked();
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let text = RichText::new(&sample.prompt).text_style(theme::section()).color(t.text);
                ui.add(egui::Label::new(text).truncate());
            });
            closed
        })
        .inner
    })
    .inner
}

fn tools(ui: &mut Ui, compare: &mut Compare, steps: &[u64], step: u64) {
    let t = Tokens::get(ui);
    ui.horizontal(|ui| {
        let ways = [(None, texts::compare::SIDE_BY_SIDE), (Some(Icon::Columns), texts::compare::WIPE)];
        if let Some(picked) = segmented(ui, &ways, usize::from(compare.wipe)) {
            compare.wipe = picked == 1;
        }
        ui.label(RichText::new(texts::compare::AGAINST).color(t.dim));
        let combo = ComboBox::from_id_salt("against").selected_text(what(compare.against)).show_ui(ui, |ui| {
            for other in steps.iter().filter(|other| **other != step) {
                if ui.selectable_label(*other == compare.against, what(*other)).clicked() {
                    compare.against = *other;
                }
            }
        });
        combo.response.widget_info(|| WidgetInfo::labeled(egui::Role::ComboBox, true, texts::dialogs::COMPARE_WITH));
    });
}

/// `Base`, `Step 250`.
fn what(step: u64) -> String {
    if step == 0 { texts::common::BASE.to_owned() } else { texts::common::step(step) }
}

fn caption(sample: &Sample) -> String {
    if sample.step == 0 { texts::common::BASE.to_owned() } else { texts::compare::with_lora(sample.step) }
}

fn single(app: &mut StudioApp, ui: &mut Ui, edge: f32, sample: &Sample) {
    let t = Tokens::get(ui);
    ui.vertical(|ui| {
        let (rect, response) = ui.allocate_exact_size(vec2(edge, edge), Sense::hover());
        response.widget_info(|| WidgetInfo::labeled(egui::Role::Image, true, caption(sample)));
        picture::contain(ui, rect, &app.pictures.get(&sample.path, PREVIEW));
        ui.label(RichText::new(caption(sample)).color(t.dim));
    });
}

/// Both in one place: the left of the line from one, the right from the other.
fn wipe(app: &mut StudioApp, ui: &mut Ui, edge: f32, compare: &mut Compare, left: &Sample, right: &Sample) {
    let t = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(edge, edge), Sense::click_and_drag());
    response.widget_info(|| {
        let mut info = WidgetInfo::labeled(egui::Role::Slider, true, texts::compare::WIPE_BETWEEN);
        info.value = Some(f64::from(compare.at));
        info
    });
    if let Some(pointer) = response.interact_pointer_pos() {
        compare.at = ((pointer.x - rect.left()) / rect.width()).clamp(0.0, 1.0);
    }
    if response.has_focus() {
        let nudge =
            ui.input(|i| i.num_presses(Key::ArrowRight)) as f32 - ui.input(|i| i.num_presses(Key::ArrowLeft)) as f32;
        compare.at = (compare.at + nudge * NUDGE).clamp(0.0, 1.0);
        let arrows = egui::EventFilter { horizontal_arrows: true, ..egui::EventFilter::default() };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, arrows));
    }
    let x = rect.left() + rect.width() * compare.at;
    for (sample, part) in [
        (left, Rect::from_min_max(rect.min, pos2(x, rect.bottom()))),
        (right, Rect::from_min_max(pos2(x, rect.top()), rect.max)),
    ] {
        let texture = app.pictures.get(&sample.path, PREVIEW);
        match &texture {
            Picture::Ready(texture) => {
                let size = texture.size_vec2();
                let scale = (rect.width() / size.x).min(rect.height() / size.y);
                let image = Rect::from_center_size(rect.center(), size * scale);
                let clipped = ui.painter().with_clip_rect(part.intersect(ui.clip_rect()));
                let mut inner = ui.new_child(egui::UiBuilder::new().max_rect(rect));
                inner.set_clip_rect(clipped.clip_rect());
                Image::from_texture(SizedTexture::from_handle(texture)).paint_at(&inner, image);
            }
            other => picture::cover(ui, part, other),
        }
    }
    ui.painter().vline(x, rect.y_range(), Stroke::new(2.0, t.accent));
    ui.painter().circle_filled(pos2(x, rect.center().y), 8.0, t.accent_fill);
    focus_ring(ui, &response, tokens::RADIUS);
    ui.horizontal(|ui| {
        ui.label(RichText::new(caption(left)).color(t.dim));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| ui.label(RichText::new(caption(right)).color(t.dim)));
    });
}

fn keys(ui: &Ui, (prompt, step): (usize, u64), prompts: &[usize], steps: &[u64]) -> (usize, u64) {
    let moved =
        |up: Key, down: Key| ui.input(|i| i.num_presses(down)) as isize - ui.input(|i| i.num_presses(up)) as isize;
    let walk = |at: Option<usize>, by: isize, count: usize| {
        at.map(|at| (at as isize + by).clamp(0, count as isize - 1) as usize)
    };
    let step_at = walk(steps.iter().position(|s| *s == step), moved(Key::ArrowLeft, Key::ArrowRight), steps.len());
    let prompt_at = walk(prompts.iter().position(|p| *p == prompt), moved(Key::ArrowUp, Key::ArrowDown), prompts.len());
    (prompt_at.map_or(prompt, |at| prompts[at]), step_at.map_or(step, |at| steps[at]))
}
