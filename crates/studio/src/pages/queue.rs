//! What waits to be trained, on the Runs page.

use egui::{Align, Label, Layout, Rect, RichText, Sense, Stroke, Ui, WidgetInfo, vec2};
use lorikeet_queue::{End, Ended, QueuedRun};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, buttons::focus_ring, card::card_with, card::hint, icon_button, notice, text_button, theme,
    tokens,
};
use crate::queue::QueueAction;
use crate::texts;

const ROW: f32 = 40.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let queue = &app.queue;
    let list = &queue.list;
    if list.waiting.is_empty() && list.ended.is_empty() && list.current.is_none() {
        return;
    }
    let (going, active, waiting) = (queue.is_going(), app.state.active(), list.waiting.clone());
    let (waits, interrupted) = (queue.waits(), queue.interrupted());
    let (mut asked, mut go) = (None, None);
    card_with(
        ui,
        texts::queue::TITLE,
        |ui| {
            if !waits {
                return;
            }
            if going {
                if text_button(ui, Icon::Pause, texts::commands::HOLD_QUEUE, true).clicked() {
                    go = Some(QueueAction::Go(false));
                }
            } else if text_button(ui, Icon::Play, texts::commands::START_QUEUE, true).clicked() {
                go = Some(QueueAction::Go(true));
            }
        },
        |ui| {
            if queue.elsewhere {
                notice(ui, Tone::Info, texts::queue::ELSEWHERE);
            }
            for Ended { name, end } in &list.ended {
                match end {
                    End::Done => notice(ui, Tone::Ok, texts::queue::done(name)),
                    End::Stopped => notice(ui, Tone::Info, texts::queue::stopped(name)),
                    End::Failed(what) => notice(ui, Tone::Error, texts::queue::failed(name, what)),
                };
            }
            if let Some(name) = interrupted {
                notice(ui, Tone::Warn, texts::queue::interrupted(name));
            } else if let Some(current) = &list.current {
                notice(ui, Tone::Info, texts::queue::is_on(&current.run.name));
            }
            for (place, run) in waiting.iter().enumerate() {
                let asked_here = row(ui, run, place, waiting.len());
                asked = asked.take().or(asked_here);
            }
            ui.horizontal(|ui| {
                if !waiting.is_empty() {
                    hint(ui, state_in_words(going, active, waiting.len() as u64));
                }
                if (!list.ended.is_empty() || interrupted.is_some())
                    && icon_button(ui, Icon::X, texts::queue::FORGET_ENDED).clicked()
                {
                    asked = Some(QueueAction::ForgetEnded);
                }
            });
        },
    );
    app.actions.extend(go.or(asked).map(Action::Queue));
}

fn state_in_words(going: bool, active: bool, waiting: u64) -> String {
    match (going, active) {
        (true, true) => texts::queue::to_go_after(waiting),
        (true, false) => texts::queue::to_go(waiting),
        (false, _) => texts::queue::wait(waiting),
    }
}

/// One run: a handle to drag it by, what it is, and buttons for those who do not drag.
fn row(ui: &mut Ui, run: &QueuedRun, place: usize, count: usize) -> Option<QueueAction> {
    let t = Tokens::get(ui);
    let mut asked = None;
    let (rect, _) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::hover());
    ui.painter().rect_filled(rect, tokens::RADIUS, t.field);

    let grip = Rect::from_min_size(rect.min, vec2(28.0, ROW));
    let handle = ui.interact(grip, ui.scope_id().with(("grip", run.id)), Sense::drag());
    handle.widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, texts::queue::drag(&run.name)));
    handle.dnd_set_drag_payload(run.id);
    focus_ring(ui, &handle, tokens::RADIUS);
    let color = if handle.hovered() || handle.dragged() { t.text } else { t.mute };
    Icon::Grip.paint(ui, Rect::from_center_size(grip.center(), vec2(14.0, 14.0)), color);
    handle.on_hover_cursor(egui::CursorIcon::Grab);

    let inner = Rect::from_min_max(rect.min + vec2(28.0, 0.0), rect.max - vec2(6.0, 0.0));
    ui.scope_builder(egui::UiBuilder::new().max_rect(inner).layout(Layout::right_to_left(Align::Center)), |ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        let name = &run.name;
        if icon_button(ui, Icon::Trash, &texts::queue::take_out(name)).clicked() {
            asked = Some(QueueAction::Remove(run.id));
        }
        if icon_button(ui, Icon::Sliders, &texts::queue::edit(name)).clicked() {
            asked = Some(QueueAction::Edit(run.id));
        }
        ui.add_enabled_ui(place + 1 < count, |ui| {
            if icon_button(ui, Icon::ChevronDown, &texts::queue::move_down(name)).clicked() {
                asked = Some(QueueAction::Move(run.id, place + 2));
            }
        });
        ui.add_enabled_ui(place > 0, |ui| {
            if icon_button(ui, Icon::ChevronUp, &texts::queue::move_up(name)).clicked() {
                asked = Some(QueueAction::Move(run.id, place - 1));
            }
        });
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            ui.label(RichText::new(format::count(place as u64 + 1)).small().color(t.mute));
            ui.add(Label::new(RichText::new(name).text_style(theme::section()).color(t.text)).truncate());
            ui.add(Label::new(RichText::new(&run.about).small().color(t.mute)).truncate());
        });
    });

    // Where the one that is dragged would go: before this one, or after it in its lower half.
    let zone = ui.interact(rect.expand2(vec2(0.0, 4.0)), ui.scope_id().with(("zone", run.id)), Sense::hover());
    let lower = ui.ctx().pointer_interact_pos().is_some_and(|at| at.y > rect.center().y);
    let to = place + usize::from(lower);
    if zone.dnd_hover_payload::<u64>().is_some() {
        let y = if lower { rect.bottom() + 3.0 } else { rect.top() - 3.0 };
        ui.painter().hline(rect.x_range(), y, Stroke::new(2.0, t.accent));
    }
    if let Some(id) = zone.dnd_release_payload::<u64>() {
        asked = Some(QueueAction::Move(*id, to));
    }
    asked
}
