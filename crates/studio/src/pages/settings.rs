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

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui) {
    columns::page(ui, |ui| {
        page_title(ui, "Settings", "");
        let running = |app: &mut StudioApp, ui: &mut Ui| {
            card(ui, "Look", |ui| look(app, ui));
            card(ui, "Device", |ui| devices(app, ui));
            card(ui, "Process", |ui| workplaces(app, ui));
        };
        columns::beside(ui, app, 0.5, running, |app, ui| {
            card(ui, "Runs", |ui| runs(app, ui));
            super::hub::settings(app, ui);
            card(ui, "About", |ui| about(app, ui));
        });
    });
}

fn look(app: &mut StudioApp, ui: &mut Ui) {
    let choices = [(Some(Icon::Monitor), "Follow system"), (Some(Icon::Sun), "Light"), (Some(Icon::Moon), "Dark")];
    let themes = [Theme::System, Theme::Light, Theme::Dark];
    let chosen = themes.iter().position(|theme| *theme == app.prefs.theme).unwrap_or(0);
    if let Some(picked) = segmented(ui, &choices, chosen) {
        app.actions.push(Action::Theme(themes[picked]));
    }
}

fn runs(app: &mut StudioApp, ui: &mut Ui) {
    let folder = app.runs_folder();
    fact(ui, "Kept in", folder.display().to_string());
    ui.horizontal(|ui| {
        if row_button(ui, Icon::FolderOpen, "Choose folder…").clicked() {
            app.actions.push(Action::Choose(Choose::RunsFolder));
        }
        if row_button(ui, Icon::FolderOpen, "Open folder").clicked() {
            app.actions.push(Action::Open(folder));
        }
    });
}

fn about(app: &mut StudioApp, ui: &mut Ui) {
    fact(ui, "Lorikeet", env!("CARGO_PKG_VERSION"));
    let mut welcome = app.prefs.welcome;
    if checkbox(ui, &mut welcome, "Offer examples on the Dataset page").changed() {
        app.actions.push(Action::Welcome(welcome));
    }
}

fn devices(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let held = app.state.active();
    ui.add_enabled_ui(!held, |ui| {
        if radio(ui, app.prefs.device == "auto", "Automatic: the fastest one found").clicked() {
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
        hint(ui, "Can be changed when no run is going on");
    }
}

/// In which process runs work.
fn workplaces(app: &mut StudioApp, ui: &mut Ui) {
    let fixed = app.start.workplace;
    let chosen = fixed.unwrap_or(app.prefs.workplace);
    ui.add_enabled_ui(fixed.is_none(), |ui| {
        for workplace in Workplace::ALL {
            let text = match workplace {
                Workplace::Auto => "Automatic: a process of its own on a graphics card",
                Workplace::Child => "A process of its own for every run",
                Workplace::Thread => "The process of this window",
            };
            if radio(ui, chosen == workplace, text).clicked() {
                app.actions.push(Action::Workplace(workplace));
            }
        }
    });
    hint(
        ui,
        match fixed {
            Some(_) => "Set by LORIKEET_WORKER in the environment",
            None => {
                "A run in a process of its own can crash, or run out of memory, without taking the window along, and \
                 can go on when the window is closed. Holds from the next run on"
            }
        },
    );
}
