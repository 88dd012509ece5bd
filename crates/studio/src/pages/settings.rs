//! What holds for every run: look, and the device to train on.

use egui::{RichText, Ui};
use lorikeet_protocol::Workplace;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::kit::{
    Icon, Tokens,
    buttons::{checkbox, radio, row_button, segmented},
    card,
    card::fact,
    card::hint,
    card::page_title,
    columns,
};
use crate::prefs::Theme;
use crate::texts;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    columns::page(ui, |ui| {
        page_title(ui, texts::shell::SETTINGS, "");
        let running = |app: &mut StudioApp, ui: &mut Ui| {
            card(ui, texts::settings::LOOK, |ui| look(app, ui));
            card(ui, texts::settings::DEVICE, |ui| devices(app, ui));
            card(ui, texts::settings::PROCESS, |ui| workplaces(app, ui));
        };
        columns::beside(ui, app, 0.5, running, |app, ui| {
            card(ui, texts::shell::RUNS, |ui| runs(app, ui));
            super::hub::settings(app, ui);
            card(ui, texts::settings::ABOUT, |ui| about(app, ui));
        });
    });
}

fn look(app: &mut StudioApp, ui: &mut Ui) {
    let choices = [
        (Some(Icon::Monitor), texts::settings::FOLLOW_SYSTEM),
        (Some(Icon::Sun), texts::settings::LIGHT),
        (Some(Icon::Moon), texts::settings::DARK),
    ];
    let themes = [Theme::System, Theme::Light, Theme::Dark];
    let chosen = themes.iter().position(|theme| *theme == app.prefs.theme).unwrap_or(0);
    if let Some(picked) = segmented(ui, &choices, chosen) {
        app.actions.push(Action::Theme(themes[picked]));
    }
}

fn runs(app: &mut StudioApp, ui: &mut Ui) {
    let folder = app.runs_folder();
    fact(ui, texts::settings::KEPT_IN, folder.display().to_string());
    ui.horizontal(|ui| {
        if row_button(ui, Icon::FolderOpen, texts::common::CHOOSE_FOLDER).clicked() {
            app.actions.push(Action::Choose(Choose::RunsFolder));
        }
        if row_button(ui, Icon::FolderOpen, texts::common::OPEN_FOLDER).clicked() {
            app.actions.push(Action::Open(folder));
        }
    });
}

fn about(app: &mut StudioApp, ui: &mut Ui) {
    fact(ui, texts::shell::LORIKEET, env!("CARGO_PKG_VERSION"));
    let mut welcome = app.prefs.welcome;
    if checkbox(ui, &mut welcome, texts::settings::OFFER_EXAMPLES).changed() {
        app.actions.push(Action::Welcome(welcome));
    }
}

fn devices(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let held = app.state.active();
    ui.add_enabled_ui(!held, |ui| {
        if radio(ui, app.prefs.device == "auto", texts::settings::DEVICE_AUTO).clicked() {
            app.actions.push(Action::Device("auto".to_owned()));
        }
        for device in &app.start.devices {
            let chosen = app.prefs.device == device.id;
            let response = ui.add_enabled_ui(device.available, |ui| radio(ui, chosen, &device.label)).inner;
            if response.clicked() {
                app.actions.push(Action::Device(device.id.clone()));
            }
            if let Some(why) = &device.why_not {
                ui.horizontal_top(|ui| {
                    ui.add_space(24.0);
                    ui.add(egui::Label::new(RichText::new(why).small().color(t.mute)).wrap());
                });
            }
        }
    });
    if held {
        hint(ui, texts::settings::DEVICE_HELD);
    }
}

/// In which process runs work.
fn workplaces(app: &mut StudioApp, ui: &mut Ui) {
    let fixed = app.start.workplace;
    let chosen = fixed.unwrap_or(app.prefs.workplace);
    ui.add_enabled_ui(fixed.is_none(), |ui| {
        for workplace in Workplace::ALL {
            let text = match workplace {
                Workplace::Auto => texts::settings::PROCESS_AUTO,
                Workplace::Child => texts::settings::PROCESS_OWN,
                Workplace::Thread => texts::settings::PROCESS_WINDOW,
            };
            if radio(ui, chosen == workplace, text).clicked() {
                app.actions.push(Action::Workplace(workplace));
            }
        }
    });
    hint(
        ui,
        match fixed {
            Some(_) => texts::settings::PROCESS_SET,
            None => texts::settings::PROCESS_HELP,
        },
    );
}
