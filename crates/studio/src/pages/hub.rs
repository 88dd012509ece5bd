//! The card that fetches a model from the hub, and what Settings say of the hub.

use egui::{RichText, TextEdit, Ui};
use lorikeet_hub::OuterOffline;

use super::sentence;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::format;
use crate::hub::{HubAction, Offer, Stage};
use crate::kit::{
    Icon, Tokens, Tone,
    buttons::{checkbox, primary_button, row_button, text_button},
    card,
    card::fact,
    card::hint,
    notice, progress, row,
};
use crate::pages::Page;

/// Large files that are named one by one.
const NAMED: usize = 6;

pub(super) fn download(app: &mut StudioApp, ui: &mut Ui) {
    card(ui, "Download from the hub", |ui| {
        if app.hub.access.is_offline() {
            let outer = app.hub.access.outer_offline.filter(|_| !app.hub.access.settings.offline);
            let why = outer.map_or("Lorikeet is set to stay offline", OuterOffline::why);
            notice(ui, Tone::Info, format!("{why}: nothing goes to the network"));
            if app.hub.access.settings.offline && row_button(ui, Icon::Settings, "Open Settings").clicked() {
                app.actions.push(Action::Go(Page::Settings));
            }
            return;
        }
        hint(ui, "Fetched once into the cache of the Hugging Face hub, which other programs share");
        name(app, ui);
        stage(app, ui);
    });
}

fn name(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let busy = app.hub.is_busy();
    ui.add_enabled_ui(!busy, |ui| {
        ui.horizontal(|ui| {
            let label = ui.label(RichText::new("Model").color(t.dim));
            let mut typed = app.hub.typed.clone();
            let field = TextEdit::singleline(&mut typed)
                .desired_width((ui.available_width() - 104.0).max(100.0))
                .hint_text("owner/name, or the address of a model's page")
                .margin(egui::Margin::symmetric(8, 5));
            let field = ui.add(field).labelled_by(label.id);
            let entered = field.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
            if field.changed() {
                app.actions.push(Action::Hub(HubAction::Name(typed.clone())));
            }
            let some = !typed.trim().is_empty();
            let clicked = ui.add_enabled_ui(some, |ui| row_button(ui, Icon::Search, "Look up")).inner.clicked();
            if some && (clicked || entered) {
                app.actions.push(Action::Hub(HubAction::Look(None)));
            }
        });
    });
}

fn stage(app: &mut StudioApp, ui: &mut Ui) {
    let mut ask = None;
    match &app.hub.stage {
        Stage::Idle => {}
        Stage::Looking => progress::labelled(ui, "Asking the hub what is there", "", None),
        Stage::Several(files) => {
            notice(ui, Tone::Info, "There are several models in it. Which one?");
            for (file, size) in files {
                let label = format!("{file} · {}", format::bytes(*size));
                if row_button(ui, Icon::File, &label).clicked() {
                    ask = Some(HubAction::Look(Some(file.clone())));
                }
            }
        }
        Stage::Offered(offer) => {
            facts(ui, offer);
            ui.horizontal(|ui| {
                if start(ui, offer) {
                    ask = Some(HubAction::Fetch);
                }
                if text_button(ui, Icon::X, "Not now", true).clicked() {
                    ask = Some(HubAction::Dismiss);
                }
            });
        }
        Stage::Fetching(_, watch) => {
            let (now, pace) = watch.told().clone();
            let file = now.file.rsplit('/').next().unwrap_or_default();
            let what = format!("File {} of {}: {file}", now.number.max(1), now.count);
            let mut beside = vec![format!("{} of {}", format::bytes(now.done), format::bytes(now.total))];
            beside.extend(pace.speed().map(|speed| format!("{}/s", format::bytes(speed as u64))));
            beside.extend(pace.seconds_left(now.total).map(format::time_left));
            let fraction = (now.total > 0).then(|| now.done as f32 / now.total as f32);
            progress::labelled(ui, if now.count == 0 { "Starting" } else { &what }, &beside.join(" · "), fraction);
            if text_button(ui, Icon::X, "Cancel download", true).clicked() {
                ask = Some(HubAction::Cancel);
            }
        }
        Stage::Failed { told, page, offer } => {
            notice(ui, Tone::Error, told);
            if let Some(page) = page {
                ui.hyperlink_to("Open the model's page", page);
            }
            ui.horizontal(|ui| {
                if offer.is_some() && text_button(ui, Icon::Play, "Resume download", true).clicked() {
                    ask = Some(HubAction::Fetch);
                }
                if text_button(ui, Icon::X, "Dismiss", true).clicked() {
                    ask = Some(HubAction::Dismiss);
                }
            });
        }
        Stage::Ready(path) => {
            notice(ui, Tone::Ok, "It is here. The run that is going on keeps its base");
            if text_button(ui, Icon::Check, "Use it next", !app.state.active()).clicked() {
                ask = Some(HubAction::Use(path.clone()));
            }
        }
    }
    app.actions.extend(ask.map(Action::Hub));
}

fn facts(ui: &mut Ui, offer: &Offer) {
    let (repository, selection) = (&offer.repository, &offer.selection);
    fact(ui, "Model", repository.name.to_string());
    let files = format::plural(selection.files.len() as u64, "file", "files");
    fact(ui, "To fetch", format!("{} in {files}", format::bytes(selection.bytes() - offer.there)));
    if offer.there > 0 {
        fact(ui, "Here already", format::bytes(offer.there));
    }
    let mut large: Vec<_> = selection.files.iter().collect();
    large.sort_by_key(|file| std::cmp::Reverse(file.size));
    for file in large.iter().take(NAMED) {
        hint(ui, format!("{} · {}", file.path, format::bytes(file.size)));
    }
    if large.len() > NAMED {
        hint(ui, format!("and {}", format::plural((large.len() - NAMED) as u64, "smaller file", "smaller files")));
    }
    match &repository.licence {
        Some(licence) => {
            fact(ui, "Licence, as the model card says", licence.as_str());
        }
        None => {
            hint(ui, "The model card names no licence: look at the model's page before you share a LoRA made with it");
        }
    }
    if repository.gated {
        notice(
            ui,
            Tone::Warn,
            "The owner wants the licence accepted on the model's page first, and a token of that account in Settings",
        );
    }
}

fn start(ui: &mut Ui, offer: &Offer) -> bool {
    let missing = offer.selection.bytes() - offer.there;
    let words = match (missing, offer.there) {
        (0, _) => "Use it".to_owned(),
        (missing, 0) => format!("Download {}", format::bytes(missing)),
        (missing, _) => format!("Download the other {}", format::bytes(missing)),
    };
    primary_button(ui, Icon::Download, &words, true).clicked()
}

/// Of the hub, in Settings.
pub(super) fn settings(app: &mut StudioApp, ui: &mut Ui) {
    card(ui, "Hugging Face hub", |ui| {
        if let Some(problem) = &app.hub.access.problem {
            notice(ui, Tone::Warn, sentence(problem));
        }
        let mut offline = app.hub.access.settings.offline;
        if checkbox(ui, &mut offline, "Stay offline: never use the network").changed() {
            app.actions.push(Action::Hub(HubAction::Offline(offline)));
        }
        if let Some(outer) = app.hub.access.outer_offline {
            hint(ui, format!("{}, so that the network is not used either way", outer.why()));
        }
        let own = !app.hub.access.settings.token.is_empty();
        let whose = match (own, &app.hub.access.outer_token) {
            (true, _) => "Set here, readable by you alone".to_owned(),
            (false, Some((_, from))) => format!("From {from}"),
            (false, None) => "None: only models that are open to everyone can be fetched".to_owned(),
        };
        row(
            ui,
            "Token",
            "For models that ask for an account; made on the hub under Settings, Access tokens",
            "",
            |ui| {
                let mut typed = app.hub.token.clone();
                let field = TextEdit::singleline(&mut typed)
                    .password(true)
                    .desired_width((ui.available_width() - 150.0).clamp(120.0, 260.0))
                    .hint_text(if own { "Kept; type another to replace it" } else { "hf_…" })
                    .margin(egui::Margin::symmetric(8, 5));
                let field = ui.add(field);
                if field.changed() {
                    app.actions.push(Action::Hub(HubAction::TypeToken(typed.clone())));
                }
                let some = !typed.trim().is_empty();
                let (icon, word) =
                    if own && !some { (Icon::Trash, "Forget token") } else { (Icon::Save, "Keep token") };
                if ui.add_enabled_ui(own || some, |ui| row_button(ui, icon, word)).inner.clicked() {
                    app.actions.push(Action::Hub(HubAction::KeepToken));
                }
                field
            },
        );
        hint(ui, whose);
        if let Some(cache) = &app.hub.access.cache {
            fact(ui, "Models are kept in", cache.display().to_string());
        }
    });
}
