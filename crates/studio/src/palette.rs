//! The command palette: type a few letters of anything that can be done or set.

use egui::{Align, Context, Key, Layout, Modifiers, RichText, ScrollArea, Sense, TextEdit, Ui, WidgetInfo, vec2};
use nucleo_matcher::{
    Config, Matcher, Utf32Str,
    pattern::{CaseMatching, Normalization, Pattern},
};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::commands::{self, Command};
use crate::kit::{Icon, Tokens, card::hint, modal, tokens};
use crate::texts;

const WIDTH: f32 = 560.0;
const ROW: f32 = 30.0;
const ROWS: f32 = 11.0;

/// The palette while it is open.
#[derive(Default)]
pub(crate) struct Palette {
    query: String,
    at: usize,
}

pub(crate) fn show(app: &mut StudioApp, ctx: &Context) {
    let Some(mut palette) = app.palette.take() else { return };
    let found = matching(commands::all(app), &palette.query);
    let last = found.len().saturating_sub(1);
    palette.at = palette.at.min(last);
    let (up, down, enter) = ctx.input_mut(|i| {
        let mut key = |key| i.consume_key(Modifiers::NONE, key);
        (key(Key::ArrowUp), key(Key::ArrowDown), key(Key::Enter))
    });
    if down {
        palette.at = if palette.at == last { 0 } else { palette.at + 1 };
    } else if up {
        palette.at = if palette.at == 0 { last } else { palette.at - 1 };
    }
    let mut chosen = enter.then_some(palette.at);
    let (_, close) = modal(ctx, "palette", |ui| {
        ui.set_width(WIDTH);
        let before = palette.query.clone();
        ui.horizontal(|ui| {
            let t = Tokens::get(ui);
            Icon::Search.show(ui, 16.0, t.mute);
            let edit = TextEdit::singleline(&mut palette.query)
                .hint_text(texts::commands::PALETTE_FIELD)
                .desired_width(f32::INFINITY)
                .margin(egui::Margin::symmetric(8, 6));
            let field = ui.add(edit);
            field.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, texts::commands::PALETTE_FIELD));
            field.request_focus();
        });
        if before != palette.query {
            palette.at = 0;
        }
        if found.is_empty() {
            hint(ui, texts::commands::NOTHING_FOUND);
        }
        ScrollArea::vertical().max_height(ROW * ROWS).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 0.0;
            for (index, command) in found.iter().enumerate() {
                if row(ui, command, index == palette.at, up || down) {
                    chosen = Some(index);
                }
            }
        });
    });
    match chosen.and_then(|index| found.into_iter().nth(index)) {
        Some(command) if command.enabled => app.actions.push(command.action),
        _ if close => {}
        _ => app.palette = Some(palette),
    }
}

/// Those that hold the letters of the query in order, the closest first; all that can be done now without a query.
fn matching(all: Vec<Command>, query: &str) -> Vec<Command> {
    if query.trim().is_empty() {
        return all.into_iter().filter(|command| command.enabled).collect();
    }
    let pattern = Pattern::parse(query.trim(), CaseMatching::Ignore, Normalization::Smart);
    let mut matcher = Matcher::new(Config::DEFAULT);
    let mut letters = Vec::new();
    let mut score = |command: &Command| {
        let text = format!("{} {}", command.label, command.beside);
        pattern.score(Utf32Str::new(&text, &mut letters), &mut matcher)
    };
    let mut scored: Vec<_> = all.into_iter().filter_map(|command| Some((score(&command)?, command))).collect();
    // What cannot be done now comes last, but is found: greyed, it tells that it exists.
    scored.sort_by_key(|(score, command)| (!command.enabled, std::cmp::Reverse(*score)));
    scored.into_iter().map(|(_, command)| command).collect()
}

fn row(ui: &mut Ui, command: &Command, on: bool, moved: bool) -> bool {
    let t = Tokens::get(ui);
    let sense = if command.enabled { Sense::click() } else { Sense::hover() };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), sense);
    response.widget_info(|| WidgetInfo::selected(egui::Role::Button, command.enabled, on, &command.label));
    if on && moved {
        response.scroll_to_me(None);
    }
    if !ui.is_rect_visible(rect) {
        return false;
    }
    if on || response.hovered() {
        ui.painter().rect_filled(rect, tokens::RADIUS, t.raised);
    }
    let (text, dim) = if command.enabled { (t.text, t.dim) } else { (t.mute, t.mute) };
    let mut inner = ui.new_child(
        egui::UiBuilder::new().max_rect(rect.shrink2(vec2(10.0, 0.0))).layout(Layout::left_to_right(Align::Center)),
    );
    command.icon.show(&mut inner, 16.0, dim);
    let silent = |ui: &mut Ui, text: RichText| ui.add(egui::Label::new(text).truncate().selectable(false));
    silent(&mut inner, RichText::new(&command.label).color(text));
    silent(&mut inner, RichText::new(&command.beside).small().color(t.mute));
    if let Some(shortcut) = &command.shortcut {
        inner.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let keys = ui.ctx().format_shortcut(shortcut);
            silent(ui, RichText::new(keys).small().color(t.mute));
        });
    }
    response.clicked()
}

impl StudioApp {
    /// Whether a dialog lies over the pages.
    pub(crate) fn covered(&self) -> bool {
        let dialogs = [
            self.palette.is_some(),
            self.export.is_some(),
            self.confirm_stop,
            self.enlarged.is_some(),
            self.imported.is_some(),
            self.confirm_delete.is_some(),
            self.longer.is_some(),
            matches!(self.closing, crate::closing::Closing::Asked | crate::closing::Closing::WhenStopped),
        ];
        dialogs.contains(&true)
    }

    pub(crate) fn show_setting(&mut self, id: &'static str) {
        self.perform(Action::Go(crate::pages::Page::Training));
        self.advanced.find(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(label: &str, enabled: bool) -> Command {
        Command {
            icon: Icon::Play,
            label: label.to_owned(),
            beside: String::new(),
            shortcut: None,
            action: Action::Pause,
            enabled,
        }
    }

    fn labels(query: &str) -> Vec<String> {
        let all = ["Train", "Setting: Learning rate", "Pause", "Setting: Rank"];
        let all = all.into_iter().map(|label| command(label, label != "Pause")).collect();
        matching(all, query).into_iter().map(|command| command.label).collect()
    }

    #[test]
    fn few_letters_find_what_is_meant_and_what_cannot_be_done_comes_last() {
        assert_eq!(labels("lera")[0], "Setting: Learning rate");
        assert_eq!(labels("rank")[0], "Setting: Rank");
        assert_eq!(labels(""), ["Train", "Setting: Learning rate", "Setting: Rank"]);
        assert_eq!(labels("a").last().map(String::as_str), Some("Pause"));
        assert_eq!(labels("xyzzy"), [""; 0]);
    }
}
