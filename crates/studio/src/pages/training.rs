//! The recipe as a form, made from its table of settings.

use egui::{Rect, RichText, Sense, Stroke, StrokeKind, TextEdit, Ui, WidgetInfo, pos2, vec2};
use lorikeet_recipe::{Level, Preset, SECTIONS, Section, Setting, setting};

use super::{fields, plan, recipes};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::comparing::CompareAction;
use crate::kit::{
    Icon, Tokens, buttons::focus_ring, card, card::card_with, card::hint, columns, quiet_button, theme, tokens,
};
use crate::queue::QueueAction;
use crate::texts;

/// These stand on the first card.
const ON_TOP: [&str; 2] = ["dataset.trigger", "save.name"];

/// The part of the page that starts folded.
#[derive(Default)]
pub(crate) struct AdvancedView {
    pub(crate) open: bool,
    pub(crate) filter: String,
    /// The setting that is to be brought into view.
    pub(crate) wanted: Option<&'static str>,
}

impl AdvancedView {
    pub(crate) fn find(&mut self, id: &'static str) {
        self.open |= setting(id).is_some_and(|setting| setting.level == Level::Advanced);
        self.filter.clear();
        self.wanted = Some(id);
    }
}

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    columns::page(ui, |ui| {
        if app.state.active() {
            hint(ui, texts::training::RUN_IS_ON);
        }
        let half = SECTIONS.iter().position(|section| section.id == "train").unwrap_or(SECTIONS.len());
        let what = |app: &mut StudioApp, ui: &mut Ui| {
            teach(app, ui);
            SECTIONS[..half].iter().for_each(|section| basic(app, ui, section));
        };
        columns::beside(ui, app, 0.5, what, |app, ui| {
            SECTIONS[half..].iter().for_each(|section| basic(app, ui, section));
        });
        advanced(app, ui);
        recipes::show(app, ui);
        if ui.ctx().content_rect().width() < tokens::RAIL_FROM_WIDTH {
            plan::show(app, ui);
        }
        ui.horizontal(|ui| {
            if quiet_button(ui, Icon::FolderOpen, texts::commands::OPEN_RECIPE).clicked() {
                app.actions.push(Action::Choose(Choose::RecipeToOpen));
            }
            if quiet_button(ui, Icon::Columns, texts::training::COMPARE).clicked() {
                app.actions.push(Action::Compare(CompareAction::Pick));
            }
            if quiet_button(ui, Icon::Save, texts::commands::SAVE_RECIPE).clicked() {
                app.actions.push(Action::Choose(Choose::RecipeToSave(app.draft.name())));
            }
            if quiet_button(ui, Icon::ListPlus, texts::commands::ADD_TO_QUEUE).clicked() {
                app.actions.push(Action::Queue(QueueAction::Add));
            }
        });
    });
}

fn teach(app: &mut StudioApp, ui: &mut Ui) {
    card(ui, texts::recipes::WHAT_TO_TEACH, |ui| {
        let width = ((ui.available_width() - 16.0) / 3.0).floor();
        let chosen = app.draft.recipe.preset();
        ui.horizontal_top(|ui| {
            for preset in Preset::ALL {
                if preset_tile(ui, preset, preset == chosen, width) && preset != chosen {
                    app.actions.push(Action::SetPreset(preset));
                }
            }
        });
        for id in ON_TOP {
            if let Some(setting) = setting(id) {
                fields::field(ui, app, setting);
            }
        }
    });
}

fn preset_tile(ui: &mut Ui, preset: Preset, on: bool, width: f32) -> bool {
    let t = Tokens::get(ui);
    let pad = 10.0;
    let small = egui::TextStyle::Small.resolve(ui.style());
    let help = preset.help().trim_end_matches('.').to_owned();
    let help = ui.painter().layout(help, small, if on { t.dim } else { t.mute }, width - 2.0 * pad);
    let height = pad + 20.0 + 4.0 + help.size().y.max(28.0) + pad;
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), Sense::click());
    response.widget_info(|| WidgetInfo::selected(egui::Role::RadioButton, true, on, preset.label()));
    let fill = if response.hovered() && !on { t.raised } else { t.field };
    ui.painter().rect_filled(rect, tokens::RADIUS, fill);
    let stroke = if on { Stroke::new(1.5, t.accent) } else { Stroke::new(1.0, t.line) };
    ui.painter().rect_stroke(rect, tokens::RADIUS, stroke, StrokeKind::Inside);
    focus_ring(ui, &response, tokens::RADIUS);
    let icon = match preset {
        Preset::Style => Icon::Palette,
        Preset::Character => Icon::Smile,
        Preset::Concept => Icon::Shapes,
    };
    let (left, top) = (rect.left() + pad, rect.top() + pad);
    icon.paint(ui, Rect::from_min_size(pos2(left, top + 2.0), vec2(16.0, 16.0)), if on { t.accent } else { t.dim });
    let font = theme::section().resolve(ui.style());
    ui.painter().text(pos2(left + 24.0, top + 10.0), egui::Align2::LEFT_CENTER, preset.label(), font, t.text);
    ui.painter().galley(pos2(left, top + 24.0), help, t.dim);
    response.clicked()
}

fn basic(app: &mut StudioApp, ui: &mut Ui, section: &'static Section) {
    let wanted = |setting: &&'static Setting| {
        setting.level == Level::Basic && fields::in_form(setting) && !ON_TOP.contains(&setting.id)
    };
    if !section.settings.iter().any(|setting| wanted(&setting)) {
        return;
    }
    card(ui, section.label, |ui| {
        for setting in section.settings.iter().filter(wanted) {
            fields::field(ui, app, setting);
        }
        if section.id == "train"
            && let Some(plan) = &app.state.plan
        {
            hint(ui, texts::training::length(plan.images, plan.steps_per_epoch, plan.steps, plan.epochs));
        }
    });
}

/// alpha says little by itself: what counts is alpha over rank.
fn scale(app: &StudioApp, ui: &mut Ui) {
    let alpha = app.draft.float("network.alpha");
    let rank = app.draft.int("network.rank").max(1) as f64;
    let scale = match (&app.state.plan, alpha == 0.0) {
        (Some(plan), true) => Some(plan.settings.network.scale()),
        (None, true) => None,
        _ => Some(alpha / rank),
    };
    if let Some(scale) = scale {
        ui.horizontal(|ui| {
            ui.spacing_mut().interact_size.y = 14.0;
            ui.add_space(tokens::LABEL_WIDTH + ui.spacing().item_spacing.x);
            hint(ui, texts::training::scale(scale));
        });
    }
}

fn advanced(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let settings: Vec<&Setting> = SECTIONS
        .iter()
        .flat_map(|s| s.settings)
        .filter(|s| s.level == Level::Advanced && fields::in_form(s) && fields::concerns(&app.draft, s))
        .collect();
    let changed = settings.iter().filter(|s| app.draft.recipe.is_set(s.id)).count() as u64;
    let open = app.advanced.open;
    let mut filter = std::mem::take(&mut app.advanced.filter);
    let mut toggled = false;
    card_with(
        ui,
        "",
        |_| {},
        |ui| {
            ui.horizontal(|ui| {
                let icon = if open { Icon::ChevronDown } else { Icon::ChevronRight };
                let text = RichText::new(texts::training::ADVANCED).text_style(theme::section()).color(t.text);
                let button = egui::Button::image_and_text(icon.sized(16.0, t.dim), text).frame(false);
                let response = ui.add(button);
                response.widget_info(|| {
                    WidgetInfo::selected(egui::Role::DisclosureTriangle, true, open, texts::training::ADVANCED)
                });
                toggled = response.clicked();
                let about = texts::training::settings_changed(settings.len() as u64, changed);
                ui.add(egui::Label::new(RichText::new(about).color(t.mute)).truncate());
            });
            if !open {
                return;
            }
            ui.horizontal(|ui| {
                Icon::Search.show(ui, 16.0, t.mute);
                let field = TextEdit::singleline(&mut filter)
                    .hint_text(texts::training::FIND)
                    .desired_width(240.0)
                    .margin(egui::Margin::symmetric(8, 5));
                let response = ui.add(field);
                response.widget_info(|| WidgetInfo::labeled(egui::Role::TextInput, true, texts::training::FIND));
            });
            let groups = groups(app, &filter);
            if groups.is_empty() {
                hint(ui, texts::training::NOTHING_FOUND);
            }
            let heights: Vec<usize> = groups.iter().map(|(_, settings)| settings.len() + 1).collect();
            let (left, right) = groups.split_at(columns::middle(&heights));
            let show = |app: &mut StudioApp, ui: &mut Ui, groups: &[Group]| {
                groups.iter().for_each(|group| advanced_group(app, ui, group));
            };
            columns::beside(ui, app, 0.5, |app, ui| show(app, ui, left), |app, ui| show(app, ui, right));
        },
    );
    app.advanced.open = open != toggled;
    app.advanced.filter = filter;
}

/// A title and the settings below it.
type Group = (&'static str, Vec<&'static Setting>);

/// What Advanced shows.
fn groups(app: &StudioApp, filter: &str) -> Vec<Group> {
    let filter = filter.trim().to_lowercase();
    let matches = |setting: &Setting| {
        filter.is_empty()
            || [setting.label, setting.help, setting.id].iter().any(|text| text.to_lowercase().contains(&filter))
    };
    let shown = |s: &&Setting| {
        s.level == Level::Advanced
            && fields::in_form(s)
            && matches(s)
            && (fields::concerns(&app.draft, s) || app.advanced.wanted == Some(s.id))
    };
    let groups = SECTIONS.iter().map(|section| (section.label, section.settings.iter().filter(shown).collect()));
    groups.filter(|(_, settings): &Group| !settings.is_empty()).collect()
}

fn advanced_group(app: &mut StudioApp, ui: &mut Ui, (title, settings): &Group) {
    let t = Tokens::get(ui);
    ui.add_space(4.0);
    ui.label(RichText::new(*title).text_style(theme::section()).color(t.dim));
    for &setting in settings {
        fields::field(ui, app, setting);
        if setting.id == "network.alpha" {
            scale(app, ui);
        }
    }
}
