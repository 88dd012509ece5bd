//! The frame around the pages: left rail, top bar, right rail, and what lies over all of it.

use egui::{
    Align, Align2, CentralPanel, Context, Frame, Id, LayerId, Layout, Margin, Order, Panel, Rect, RichText, ScrollArea,
    Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2,
};

use lorikeet_dataset::Kind;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::draft::Load;
use crate::format;
use crate::kit::{Icon, Tokens, buttons::focus_ring, columns, icon_button, primary_button, text_button, theme, tokens};
use crate::pages::{self, Page};
use crate::palette;
use crate::state::Phase;
use crate::texts;

pub(crate) fn show(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    Panel::left("navigation")
        .resizable(false)
        .exact_size(tokens::NAV_WIDTH)
        .show_separator_line(false)
        .frame(Frame::new().fill(t.bg).inner_margin(Margin::symmetric(12, 12)))
        .show(ui, |ui| navigation(app, ui));
    Panel::top("top-bar")
        .exact_size(tokens::TOP_BAR_HEIGHT)
        .show_separator_line(false)
        .frame(Frame::new().fill(t.panel).inner_margin(Margin::symmetric(tokens::PAGE_PADDING, 11)))
        .show(ui, |ui| top_bar(app, ui));
    let window = ui.ctx().content_rect().width();
    if window >= tokens::RAIL_FROM_WIDTH && matches!(app.page, Page::Dataset | Page::Model | Page::Training) {
        Panel::right("rail")
            .resizable(false)
            .exact_size(columns::rail(window))
            .show_separator_line(false)
            .frame(Frame::new().fill(t.panel).inner_margin(Margin { left: 0, right: 8, top: 12, bottom: 0 }))
            .show(ui, |ui| scrolled(ui, "rail", false, |ui| pages::rail(app, ui)));
    }
    CentralPanel::default()
        .frame(Frame::new().fill(t.panel).inner_margin(Margin {
            left: tokens::PAGE_PADDING,
            right: 8,
            top: 12,
            bottom: 0,
        }))
        .show(ui, |ui| {
            let page = app.page;
            let to_top = std::mem::take(&mut app.to_top);
            scrolled(ui, page.label(), to_top, |ui| pages::show(app, ui));
        });
    lines(ui, t);
    pages::dialogs(app, ui.ctx());
    palette::show(app, ui.ctx());
    drop_overlay(ui.ctx());
}

/// Content with room for the scroll bar at its right.
fn scrolled(ui: &mut Ui, id: &str, to_top: bool, body: impl FnOnce(&mut Ui)) {
    let mut area = ScrollArea::vertical().id_salt(id).auto_shrink(false);
    if to_top {
        area = area.vertical_scroll_offset(0.0);
    }
    area.show(ui, |ui| {
        Frame::new().inner_margin(Margin { left: 0, right: 8, top: 0, bottom: 16 }).show(ui, |ui| {
            ui.set_width(ui.available_width());
            body(ui);
        });
    });
}

/// Hair lines between the panels, one pixel each and drawn once, so that they meet.
fn lines(ui: &Ui, t: &Tokens) {
    let rect = ui.ctx().content_rect();
    let stroke = Stroke::new(1.0, t.line);
    let painter = ui.ctx().layer_painter(LayerId::new(Order::Background, Id::unique("lines")));
    painter.vline(rect.left() + tokens::NAV_WIDTH, rect.y_range(), stroke);
    painter.hline(rect.left() + tokens::NAV_WIDTH..=rect.right(), rect.top() + tokens::TOP_BAR_HEIGHT, stroke);
}

fn navigation(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    ui.spacing_mut().item_spacing.y = 4.0;
    ui.horizontal(|ui| {
        ui.set_height(28.0);
        ui.add_space(8.0);
        Icon::Bird.show(ui, 20.0, t.accent);
        ui.label(RichText::new(texts::shell::LORIKEET).text_style(egui::TextStyle::Heading).color(t.text));
    });
    ui.add_space(10.0);
    for page in Page::ALL {
        if page == Page::Settings {
            let below = ui.available_height() - tokens::NAV_ROW;
            ui.add_space(below.max(0.0));
        }
        if nav_row(app, ui, page) {
            app.actions.push(Action::Go(page));
        }
    }
}

fn nav_row(app: &StudioApp, ui: &mut Ui, page: Page) -> bool {
    let t = Tokens::get(ui);
    let on = app.page == page;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), tokens::NAV_ROW), Sense::click());
    response.widget_info(|| WidgetInfo::selected(egui::Role::Tab, true, on, page.label()));
    if ui.is_rect_visible(rect) {
        let painter = ui.painter();
        if on {
            painter.rect_filled(rect, tokens::RADIUS, t.raised);
        } else if response.hovered() {
            painter.rect_filled(rect, tokens::RADIUS, t.raised.gamma_multiply(0.5));
        }
        focus_ring(ui, &response, tokens::RADIUS);
        let color = if on { t.text } else { t.dim };
        let icon = Rect::from_center_size(pos2(rect.left() + 18.0, rect.center().y), vec2(tokens::ICON, tokens::ICON));
        page.icon().paint(ui, icon, if on { t.accent } else { t.dim });
        let body = egui::TextStyle::Body.resolve(ui.style());
        painter.text(pos2(rect.left() + 36.0, rect.center().y), Align2::LEFT_CENTER, page.label(), body, color);
        let end = pos2(rect.right() - 10.0, rect.center().y);
        match mark(app, page) {
            Mark::None => {}
            Mark::Text(text) => {
                let small = egui::TextStyle::Small.resolve(ui.style());
                painter.text(end, Align2::RIGHT_CENTER, text, small, t.mute);
            }
            Mark::Icon(icon, tone) => {
                let at = Rect::from_center_size(pos2(end.x - 7.0, end.y), vec2(14.0, 14.0));
                icon.paint(ui, at, tone.color(t));
            }
        }
    }
    let told = state_in_words(app, page);
    if told.is_empty() { response.clicked() } else { response.on_hover_text(told).clicked() }
}

enum Mark {
    None,
    Text(String),
    Icon(Icon, crate::kit::Tone),
}

/// What stands at the end of a row of the left rail.
fn mark(app: &StudioApp, page: Page) -> Mark {
    use crate::kit::Tone;
    match page {
        Page::Dataset => match &app.draft.data {
            Load::Ready(_) if app.health.findings.iter().any(|finding| finding.kind <= Kind::TooSmall) => {
                Mark::Icon(Icon::Triangle, Tone::Warn)
            }
            Load::Ready(data) => Mark::Text(format::count(data.images.len() as u64)),
            Load::Failed(_) => Mark::Icon(Icon::CircleAlert, Tone::Error),
            _ => Mark::None,
        },
        Page::Model => match &app.draft.base {
            Load::Ready(base) if base.problem.is_none() => Mark::Icon(Icon::Check, Tone::Ok),
            Load::Ready(_) | Load::Failed(_) => Mark::Icon(Icon::CircleAlert, Tone::Error),
            _ => Mark::None,
        },
        Page::Training => match (&app.state.plan_failure, &app.state.plan) {
            (Some(_), _) => Mark::Icon(Icon::CircleAlert, Tone::Error),
            (None, Some(plan)) if !plan.warnings.is_empty() => Mark::Icon(Icon::Triangle, Tone::Warn),
            (None, Some(_)) => Mark::Icon(Icon::Check, Tone::Ok),
            _ => Mark::None,
        },
        Page::Monitor => match &app.state.phase {
            Phase::Failed(_) => Mark::Icon(Icon::CircleAlert, Tone::Error),
            Phase::Finished(_) => Mark::Icon(Icon::Check, Tone::Ok),
            Phase::Paused => Mark::Icon(Icon::Pause, Tone::Info),
            Phase::Running | Phase::Stopping => {
                app.state.fraction().map_or(Mark::None, |part| Mark::Text(format::percent(part.into())))
            }
            Phase::Idle | Phase::Starting => Mark::None,
        },
        Page::Samples if !app.state.samples.is_empty() => Mark::Text(format::count(app.state.samples.len() as u64)),
        _ => Mark::None,
    }
}

/// What a row's mark means, for its tooltip.
fn state_in_words(app: &StudioApp, page: Page) -> String {
    match page {
        Page::Dataset => match &app.draft.data {
            Load::Ready(_) if !app.health.findings.is_empty() => {
                let first = &app.health.findings[0];
                match app.health.findings.len() - 1 {
                    0 => first.what.clone(),
                    more => texts::shell::more_to_look_at(&first.what, more as u64),
                }
            }
            Load::Ready(data) => texts::common::pictures(data.images.len() as u64),
            Load::Failed(error) => pages::sentence(error),
            _ => String::new(),
        },
        Page::Model => match &app.draft.base {
            Load::Ready(base) => base.problem.clone().unwrap_or_else(|| texts::shell::base_ready(&base.title)),
            Load::Failed(error) => pages::sentence(error),
            _ => String::new(),
        },
        Page::Training => match (&app.state.plan_failure, &app.state.plan) {
            (Some(failure), _) => failure.what.clone(),
            (None, Some(plan)) => match plan.warnings.len() {
                0 => texts::shell::PLAN_READY.to_owned(),
                count => texts::shell::plan_warnings(count as u64),
            },
            _ => String::new(),
        },
        Page::Monitor => match &app.state.phase {
            Phase::Failed(failure) => failure.what.clone(),
            Phase::Finished(_) => texts::shell::RUN_DONE.to_owned(),
            Phase::Paused => texts::monitor::PAUSED.to_owned(),
            Phase::Running => texts::runs::RUNNING.to_owned(),
            _ => String::new(),
        },
        _ => String::new(),
    }
}

fn top_bar(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        buttons(app, ui);
        ui.add_space(8.0);
        ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
            let name = RichText::new(app.draft.name()).text_style(theme::title()).color(t.text);
            ui.add(egui::Label::new(name).truncate());
            ui.add(egui::Label::new(RichText::new(app.summary()).color(t.mute)).truncate());
        });
    });
}

/// One leading button, the others before it; laid out from the right.
fn buttons(app: &mut StudioApp, ui: &mut Ui) {
    if app.watched.is_some() && app.state.active() {
        watched_buttons(app, ui);
        return edits(app, ui);
    }
    let phase = &app.state.phase;
    let running = *phase == Phase::Running;
    match phase {
        Phase::Starting => {
            primary_button(ui, Icon::Play, texts::shell::STARTING, false);
        }
        Phase::Stopping => {
            primary_button(ui, Icon::Square, texts::shell::STOPPING, false);
        }
        Phase::Running => {
            if primary_button(ui, Icon::Pause, texts::commands::PAUSE, true).clicked() {
                app.actions.push(Action::Pause);
            }
        }
        Phase::Paused => {
            if primary_button(ui, Icon::Play, texts::commands::RESUME, true).clicked() {
                app.actions.push(Action::Resume);
            }
        }
        Phase::Idle | Phase::Finished(_) | Phase::Failed(_) => {
            let missing = app.draft.missing();
            let response = primary_button(ui, Icon::Play, texts::commands::TRAIN, missing.is_none());
            let clicked = response.clicked();
            response.on_hover_text(texts::shell::TRAIN_HELP).on_disabled_hover_text(missing.unwrap_or_default());
            if clicked {
                app.actions.push(Action::Train);
            }
        }
    }
    let held = app.state.active();
    if held && text_button(ui, Icon::Square, texts::shell::STOP, running || app.state.phase == Phase::Paused).clicked()
    {
        app.confirm_stop = true;
    }
    if held && text_button(ui, Icon::Save, texts::commands::SAVE_NOW, running).clicked() {
        app.actions.push(Action::SaveNow);
    }
    if app.state.has_run() {
        let can = app.state.can_export();
        let response = text_button(ui, Icon::Share, texts::shell::EXPORT, can);
        let clicked = response.clicked();
        response.on_disabled_hover_text(texts::shell::NOTHING_SAVED);
        if clicked {
            app.actions.push(Action::OpenExport);
        }
    }
    edits(app, ui);
}

/// A run of another process can be paused and stopped through its folder, and no more.
fn watched_buttons(app: &mut StudioApp, ui: &mut Ui) {
    let stopping = app.state.phase == Phase::Stopping;
    if stopping {
        primary_button(ui, Icon::Square, texts::shell::STOPPING, false);
    } else {
        let paused = app.state.phase == Phase::Paused;
        let (icon, word, action) = if paused {
            (Icon::Play, texts::commands::RESUME, Action::Resume)
        } else {
            (Icon::Pause, texts::commands::PAUSE, Action::Pause)
        };
        if primary_button(ui, icon, word, true).clicked() {
            app.actions.push(action);
        }
    }
    if text_button(ui, Icon::Square, texts::shell::STOP, !stopping).clicked() {
        app.confirm_stop = true;
    }
    if text_button(ui, Icon::X, texts::shell::UNWATCH, true).clicked() {
        app.actions.push(Action::Unwatch);
    }
}

/// Search, undo and redo, as icons.
fn edits(app: &mut StudioApp, ui: &mut Ui) {
    ui.spacing_mut().item_spacing.x = 2.0;
    if icon_button(ui, Icon::Search, texts::shell::FIND).clicked() {
        app.actions.push(Action::Palette(true));
    }
    for (redo, icon) in [(true, Icon::Redo), (false, Icon::Undo)] {
        let next = app.history.next(redo);
        ui.add_enabled_ui(next.is_some(), |ui| {
            let name = match (redo, next) {
                (true, Some(next)) => texts::shell::redo(&next),
                (true, None) => texts::commands::REDO.to_owned(),
                (false, Some(next)) => texts::shell::undo(&next),
                (false, None) => texts::commands::UNDO.to_owned(),
            };
            if icon_button(ui, icon, &name).clicked() {
                app.actions.push(if redo { Action::Redo } else { Action::Undo });
            }
        });
    }
    ui.spacing_mut().item_spacing.x = 8.0;
}

/// Over everything while files hang over the window.
fn drop_overlay(ctx: &Context) {
    let files = ctx.input(|i| i.raw.hovered_files.len());
    if files == 0 {
        return;
    }
    let t = Tokens::of(ctx.theme());
    let rect = ctx.content_rect();
    let painter = ctx.layer_painter(LayerId::new(Order::Tooltip, Id::unique("drop-overlay")));
    painter.rect_filled(rect, 0.0, t.bg.gamma_multiply(0.92));
    let frame = rect.shrink(24.0);
    painter.rect_stroke(frame, tokens::WINDOW_RADIUS, Stroke::new(2.0, t.accent), StrokeKind::Inside);
    let style = ctx.style_of(ctx.theme());
    painter.text(
        frame.center() - vec2(0.0, 14.0),
        Align2::CENTER_CENTER,
        texts::shell::DROP,
        theme::figure().resolve(&style),
        t.text,
    );
    painter.text(
        frame.center() + vec2(0.0, 16.0),
        Align2::CENTER_CENTER,
        texts::shell::DROP_HELP,
        egui::TextStyle::Body.resolve(&style),
        t.dim,
    );
}
