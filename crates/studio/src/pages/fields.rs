//! A form row for any setting of the recipe's table.

use std::ops::RangeInclusive;

use egui::text::{CCursor, CCursorRange};
use egui::{ComboBox, DragValue, Margin, Response, RichText, Slider, TextEdit, Ui, vec2};
use lorikeet_recipe::{Choice, Kind, Setting, TextRule, Value};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::draft::{Draft, Typed};
use crate::format;
use crate::kit::{Icon, Tokens, Tone, buttons::checkbox, icon_button, notice, row};
use crate::state::State;
use crate::texts;

/// These have controls of their own elsewhere.
const ELSEWHERE: [&str; 9] = [
    "base.path",
    "base.vae",
    "base.text_encoder",
    "base.text_encoder_2",
    "dataset.folder",
    "dataset.repeats",
    "dataset.more_folders",
    "run.device",
    "save.folder",
];
const NUMBER_WIDTH: f32 = 72.0;
const TEXT_WIDTH: f32 = 280.0;

pub(crate) fn in_form(setting: &Setting) -> bool {
    !ELSEWHERE.contains(&setting.id)
}

/// Whether the setting is about the base at hand. One that was typed is shown anyhow.
pub(super) fn concerns(draft: &Draft, setting: &Setting) -> bool {
    draft.recipe.is_set(setting.id) || setting.when.bases().is_none_or(|bases| bases.contains(&draft.class()))
}

/// The row, greyed while the setting has no effect, with what is wrong below it.
pub(super) fn field(ui: &mut Ui, app: &mut StudioApp, setting: &'static Setting) {
    let t = Tokens::get(ui);
    let class = app.draft.class();
    let applies = app.draft.recipe.applies_on(setting, class);
    let typed = app.draft.recipe.is_set(setting.id);
    let default = setting.default_row(app.draft.recipe.preset(), class);
    let shown_default = shown(setting, &default.value.into());
    let mut help = texts::training::help_and_default(setting.help, &shown_default, default.reason);
    if let Some(when) = setting.when.describe("").filter(|_| !applies) {
        help = texts::training::in_effect(&help, &when);
    }
    let value = app.draft.recipe.get_on(setting.id, class);
    let unit = if value.is_zero() && !setting.zero_means.is_empty() { "" } else { setting.unit };
    let wanted = app.advanced.wanted == Some(setting.id);
    let frame = ui.scope(|ui| {
        ui.add_enabled_ui(applies, |ui| {
            let mut new = None;
            let mut reset = false;
            ui.horizontal(|ui| {
                let draft = &mut app.draft;
                let response =
                    row(ui, setting.label, &help, unit, |ui| control(ui, draft, setting, value.clone(), &mut new));
                if wanted {
                    focus(&response);
                }
                if let Kind::Text(rule) = setting.kind
                    && let Some(choose) = choose(rule, setting.id)
                    && icon_button(ui, Icon::FolderOpen, &texts::training::choose(&setting.label.to_lowercase()))
                        .clicked()
                {
                    app.actions.push(Action::Choose(choose));
                }
                if let Some(resolved) = resolved(&app.state, setting, &value) {
                    ui.add(egui::Label::new(RichText::new(resolved).color(t.mute)).truncate());
                }
                if typed {
                    let name = texts::training::reset(&setting.label.to_lowercase());
                    reset = icon_button(ui, Icon::Reset, &name).clicked();
                }
            });
            if reset {
                app.draft.reset(setting.id);
            } else if let Some(value) = new
                && let Err(error) = app.draft.set(setting, value)
            {
                // Sliders and fields keep to the ranges, so this is rare: two settings that exclude each other.
                app.draft.typed.entry(setting.id).or_default().error = Some(error);
            }
            if let Some(Typed { error: Some(error), .. }) = app.draft.typed.get(setting.id) {
                notice(ui, Tone::Error, super::dataset::sentence(error));
            }
        });
    });
    if typed {
        // Changed settings are seen at a glance.
        let rect = frame.response.rect;
        ui.painter().vline(rect.left() - 8.0, rect.y_range(), egui::Stroke::new(2.0, t.accent));
    }
    if wanted {
        frame.response.scroll_to_me(Some(egui::Align::Center));
        app.advanced.wanted = None;
    }
}

/// As a click into it: what is typed next takes the place of what is there. egui selects that only for focus by click or tab.
fn focus(field: &Response) {
    field.request_focus();
    let mut state = TextEdit::load_state(&field.ctx, field.id).unwrap_or_default();
    state.cursor.set_char_range(Some(CCursorRange::two(CCursor::new(0), CCursor::new(usize::MAX))));
    state.store(&field.ctx, field.id);
}

/// The dialog for what a text may hold.
fn choose(rule: TextRule, id: &'static str) -> Option<Choose> {
    match rule {
        TextRule::Folder => Some(Choose::SettingFolder(id)),
        TextRule::Weights => Some(Choose::SettingFile(id)),
        _ => None,
    }
}

/// What `auto` stands for in the plan.
fn resolved(state: &State, setting: &Setting, value: &Value) -> Option<String> {
    if !value.is_zero() || setting.zero_means != "auto" {
        return None;
    }
    let plan = state.plan.as_ref()?;
    let decision = plan.decisions.iter().find(|decision| decision.what == setting.label)?;
    Some(decision.value.clone())
}

/// A value in the words of the form.
pub(crate) fn shown(setting: &Setting, value: &Value) -> String {
    if value.is_zero() && !setting.zero_means.is_empty() {
        return setting.zero_means.to_owned();
    }
    let text = match (value, setting.kind) {
        (Value::Bool(on), _) => if *on { texts::training::VALUE_ON } else { texts::training::VALUE_OFF }.to_owned(),
        (Value::Int(number), _) => number.to_string(),
        (Value::Float(number), _) => format::plain(*number),
        (Value::Text(id), Kind::Choice(choices)) => choice_label(choices, id).to_owned(),
        (Value::Text(text), _) => text.clone(),
        (Value::List(items), _) => items.join(", "),
    };
    // Units are in the plural.
    if setting.unit.is_empty() || text == "1" { text } else { texts::training::with_unit(&text, setting.unit) }
}

fn choice_label<'a>(choices: &[Choice], id: &'a str) -> &'a str {
    choices.iter().find(|choice| choice.id == id).map_or(id, |choice| choice.label)
}

fn control(
    ui: &mut Ui,
    draft: &mut Draft,
    setting: &'static Setting,
    value: Value,
    new: &mut Option<Value>,
) -> Response {
    match (setting.kind, value) {
        (Kind::Int { min, max, step }, value) => {
            let old = match value {
                Value::Int(number) => number,
                _ => min,
            };
            let mut number = old;
            let response = int(ui, setting, &mut number, min..=max, step);
            if response.changed() && number != old {
                // To the next allowed multiple; 0 stands for something else and is left alone.
                let snapped = if number == 0 { 0 } else { ((number + step / 2) / step * step).clamp(min, max) };
                *new = Some(Value::Int(snapped));
            }
            response
        }
        (Kind::Float { min, max }, value) => {
            let old = match value {
                Value::Float(number) => number,
                Value::Int(number) => number as f64,
                _ => min,
            };
            let mut number = old;
            let response = float(ui, setting, &mut number, min..=max);
            if response.changed() && number != old {
                *new = Some(Value::Float(number));
            }
            response
        }
        (Kind::Bool, value) => {
            let mut on = value == Value::Bool(true);
            let response = checkbox(ui, &mut on, texts::training::ON);
            if response.changed() {
                *new = Some(Value::Bool(on));
            }
            response
        }
        (Kind::Choice(choices), value) => {
            let id = if let Value::Text(id) = value { id } else { String::new() };
            ComboBox::from_id_salt(setting.id)
                .selected_text(choice_label(choices, &id))
                .show_ui(ui, |ui| {
                    for choice in choices {
                        if ui.selectable_label(choice.id == id, choice.label).clicked() {
                            *new = Some(Value::Text(choice.id.to_owned()));
                        }
                    }
                })
                .response
        }
        (Kind::Text(_), value) => {
            let text = if let Value::Text(text) = value { text } else { String::new() };
            text_field(ui, draft, setting, text, 1, |text| Value::Text(text.to_owned()), new)
        }
        (Kind::List | Kind::Folders, value) => {
            let text = if let Value::List(items) = value { items.join("\n") } else { String::new() };
            let lines = |text: &str| {
                Value::List(text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect())
            };
            text_field(ui, draft, setting, text, 4, lines, new)
        }
    }
}

/// `0` in the words of the table, both ways.
fn zero(setting: &'static Setting) -> (impl Fn(f64) -> Option<String>, impl Fn(&str) -> Option<f64>) {
    let word = setting.zero_means;
    (
        move |value: f64| (value == 0.0 && !word.is_empty()).then(|| word.to_owned()),
        move |text: &str| {
            // A digit typed before or after the word, which the field shows, is meant alone.
            let text = text.trim();
            let number = text.strip_prefix(word).or_else(|| text.strip_suffix(word)).unwrap_or(text).trim();
            if number.is_empty() || number.eq_ignore_ascii_case(word) {
                return (!word.is_empty()).then_some(0.0);
            }
            number.replace(',', "").parse().ok()
        },
    )
}

fn int(ui: &mut Ui, setting: &'static Setting, number: &mut i64, range: RangeInclusive<i64>, step: i64) -> Response {
    let (word, parse) = zero(setting);
    let write =
        move |value: f64, _: RangeInclusive<usize>| word(value).unwrap_or_else(|| format::count(value.max(0.0) as u64));
    if *range.end() <= 256 && *range.start() > 0 && step == 1 {
        return ui
            .add(Slider::new(number, range).logarithmic(true).integer().custom_formatter(write).custom_parser(parse));
    }
    let speed = (*number as f64 * 0.01).max(step as f64 * 0.25);
    ui.add_sized(
        vec2(NUMBER_WIDTH, crate::kit::tokens::CONTROL_HEIGHT),
        DragValue::new(number).range(range).speed(speed).custom_formatter(write).custom_parser(parse),
    )
}

fn float(ui: &mut Ui, setting: &'static Setting, number: &mut f64, range: RangeInclusive<f64>) -> Response {
    let (word, parse) = zero(setting);
    let small = *range.end() <= 0.1 || setting.key().contains("learning_rate") || setting.key().ends_with("_lr");
    let write = move |value: f64, _: RangeInclusive<usize>| {
        word(value).unwrap_or_else(|| if small { format::learning_rate(value) } else { format::plain(value) })
    };
    // Parts of a whole. Numbers close to 1, such as beta2, need more digits than a slider gives.
    if [0.5, 1.0].contains(range.end()) && *range.start() == 0.0 {
        let slider = Slider::new(number, range).custom_formatter(write).custom_parser(parse);
        let response = ui.add(slider);
        if response.dragged() {
            *number = (*number * 100.0).round() / 100.0;
        }
        return response;
    }
    let speed = if small {
        (number.abs() * 0.02).max(1e-6)
    } else if *range.end() < 1.0 {
        0.001
    } else {
        (number.abs() * 0.02).max(0.01)
    };
    ui.add_sized(
        vec2(NUMBER_WIDTH, crate::kit::tokens::CONTROL_HEIGHT),
        DragValue::new(number).range(range).speed(speed).custom_formatter(write).custom_parser(parse),
    )
}

fn text_field(
    ui: &mut Ui,
    draft: &mut Draft,
    setting: &'static Setting,
    text: String,
    rows: usize,
    value: impl Fn(&str) -> Value,
    new: &mut Option<Value>,
) -> Response {
    // The recipe tidies what it is given; while the field is in use it keeps what was typed, spaces and all.
    let mut typed = draft.typed.get(setting.id).map_or(text, |typed| typed.text.clone());
    let hint = if setting.kind == Kind::List && setting.zero_means == "auto" {
        texts::training::LIST_HINT
    } else {
        setting.zero_means
    };
    let width = (ui.available_width() - 70.0).clamp(120.0, if rows > 1 { 720.0 } else { TEXT_WIDTH });
    let edit =
        if rows > 1 { TextEdit::multiline(&mut typed).desired_rows(rows) } else { TextEdit::singleline(&mut typed) };
    let response = ui.add(edit.desired_width(width - 16.0).hint_text(hint).margin(Margin::symmetric(8, 5)));
    if response.changed() {
        let error = draft.set(setting, value(&typed)).err();
        draft.typed.insert(setting.id, Typed { text: typed, error });
    } else if response.lost_focus() && draft.typed.get(setting.id).is_some_and(|typed| typed.error.is_none()) {
        draft.typed.remove(setting.id);
    }
    let _ = new;
    response
}
