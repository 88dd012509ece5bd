//! The card that fetches a model from the hub, and what Settings say of the hub.

use egui::{RichText, TextEdit, Ui};

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
use crate::texts;

/// Large files that are named one by one.
const NAMED: usize = 6;

pub(super) fn download(app: &mut StudioApp, ui: &mut Ui) {
    card(ui, texts::hub::DOWNLOAD, |ui| {
        if app.hub.access.is_offline() {
            let outer = app.hub.access.outer_offline.filter(|_| !app.hub.access.settings.offline);
            let why = outer.map_or(texts::hub::SET_OFFLINE.to_owned(), |outer| texts::hub::outer_offline(outer.why()));
            notice(ui, Tone::Info, why);
            if app.hub.access.settings.offline && row_button(ui, Icon::Settings, texts::hub::OPEN_SETTINGS).clicked() {
                app.actions.push(Action::Go(Page::Settings));
            }
            return;
        }
        hint(ui, texts::hub::HELP);
        name(app, ui);
        stage(app, ui);
    });
}

fn name(app: &mut StudioApp, ui: &mut Ui) {
    let t = Tokens::get(ui);
    let busy = app.hub.is_busy();
    ui.add_enabled_ui(!busy, |ui| {
        ui.horizontal(|ui| {
            let label = ui.label(RichText::new(texts::hub::MODEL).color(t.dim));
            let mut typed = app.hub.typed.clone();
            let field = TextEdit::singleline(&mut typed)
                .desired_width((ui.available_width() - 104.0).max(100.0))
                .hint_text(texts::hub::MODEL_HINT)
                .margin(egui::Margin::symmetric(8, 5));
            let field = ui.add(field).labelled_by(label.id);
            let entered = field.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter));
            if field.changed() {
                app.actions.push(Action::Hub(HubAction::Name(typed.clone())));
            }
            let some = !typed.trim().is_empty();
            let clicked =
                ui.add_enabled_ui(some, |ui| row_button(ui, Icon::Search, texts::hub::LOOK_UP)).inner.clicked();
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
        Stage::Looking => progress::labelled(ui, texts::hub::ASKING, "", None),
        Stage::Several(files) => {
            notice(ui, Tone::Info, texts::hub::SEVERAL);
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
                if text_button(ui, Icon::X, texts::hub::NOT_NOW, true).clicked() {
                    ask = Some(HubAction::Dismiss);
                }
            });
        }
        Stage::Fetching(_, watch) => {
            let (now, pace) = watch.told().clone();
            let file = now.file.rsplit('/').next().unwrap_or_default();
            let what = texts::hub::file_of(now.number.max(1) as u64, now.count as u64, file);
            let mut beside = vec![texts::hub::bytes_of(now.done, now.total)];
            beside.extend(pace.speed().map(format::bytes_a_second));
            beside.extend(pace.seconds_left(now.total).map(format::time_left));
            let fraction = (now.total > 0).then(|| now.done as f32 / now.total as f32);
            progress::labelled(
                ui,
                if now.count == 0 { texts::monitor::STARTING } else { &what },
                &beside.join(" · "),
                fraction,
            );
            if text_button(ui, Icon::X, texts::hub::CANCEL, true).clicked() {
                ask = Some(HubAction::Cancel);
            }
        }
        Stage::Failed { told, page, offer } => {
            notice(ui, Tone::Error, told);
            if let Some(page) = page {
                ui.hyperlink_to(texts::hub::OPEN_PAGE, page);
            }
            ui.horizontal(|ui| {
                if offer.is_some() && text_button(ui, Icon::Play, texts::hub::RESUME, true).clicked() {
                    ask = Some(HubAction::Fetch);
                }
                if text_button(ui, Icon::X, texts::hub::DISMISS, true).clicked() {
                    ask = Some(HubAction::Dismiss);
                }
            });
        }
        Stage::Ready(path) => {
            notice(ui, Tone::Ok, texts::hub::IS_HERE);
            if text_button(ui, Icon::Check, texts::hub::USE_NEXT, !app.state.active()).clicked() {
                ask = Some(HubAction::Use(path.clone()));
            }
        }
    }
    app.actions.extend(ask.map(Action::Hub));
}

fn facts(ui: &mut Ui, offer: &Offer) {
    let (repository, selection) = (&offer.repository, &offer.selection);
    fact(ui, texts::hub::MODEL, repository.name.to_string());
    let size = selection.bytes() - offer.there;
    fact(ui, texts::hub::TO_FETCH, texts::hub::in_files(size, selection.files.len() as u64));
    if offer.there > 0 {
        fact(ui, texts::hub::HERE_ALREADY, format::bytes(offer.there));
    }
    let mut large: Vec<_> = selection.files.iter().collect();
    large.sort_by_key(|file| std::cmp::Reverse(file.size));
    for file in large.iter().take(NAMED) {
        hint(ui, format!("{} · {}", file.path, format::bytes(file.size)));
    }
    if large.len() > NAMED {
        hint(ui, texts::hub::smaller_files((large.len() - NAMED) as u64));
    }
    match &repository.licence {
        Some(licence) => {
            fact(ui, texts::hub::LICENCE, licence.as_str());
        }
        None => {
            hint(ui, texts::hub::NO_LICENCE);
        }
    }
    if repository.gated {
        notice(ui, Tone::Warn, texts::hub::GATED);
    }
}

fn start(ui: &mut Ui, offer: &Offer) -> bool {
    let missing = offer.selection.bytes() - offer.there;
    let words = match (missing, offer.there) {
        (0, _) => texts::hub::USE.to_owned(),
        (missing, 0) => texts::hub::download(missing),
        (missing, _) => texts::hub::download_rest(missing),
    };
    primary_button(ui, Icon::Download, &words, true).clicked()
}

/// Of the hub, in Settings.
pub(super) fn settings(app: &mut StudioApp, ui: &mut Ui) {
    card(ui, texts::commands::HUB, |ui| {
        if let Some(problem) = &app.hub.access.problem {
            notice(ui, Tone::Warn, sentence(problem));
        }
        let mut offline = app.hub.access.settings.offline;
        if checkbox(ui, &mut offline, texts::hub::STAY_OFFLINE).changed() {
            app.actions.push(Action::Hub(HubAction::Offline(offline)));
        }
        if let Some(outer) = app.hub.access.outer_offline {
            hint(ui, texts::hub::offline_either_way(outer.why()));
        }
        let own = !app.hub.access.settings.token.is_empty();
        let whose = match (own, &app.hub.access.outer_token) {
            (true, _) => texts::hub::TOKEN_OWN.to_owned(),
            (false, Some((_, from))) => texts::hub::token_from(from),
            (false, None) => texts::hub::TOKEN_NONE.to_owned(),
        };
        row(ui, texts::hub::TOKEN, texts::hub::TOKEN_HELP, "", |ui| {
            let mut typed = app.hub.token.clone();
            let field = TextEdit::singleline(&mut typed)
                .password(true)
                .desired_width((ui.available_width() - 150.0).clamp(120.0, 260.0))
                .hint_text(if own { texts::hub::TOKEN_KEPT } else { texts::hub::TOKEN_HINT })
                .margin(egui::Margin::symmetric(8, 5));
            let field = ui.add(field);
            if field.changed() {
                app.actions.push(Action::Hub(HubAction::TypeToken(typed.clone())));
            }
            let some = !typed.trim().is_empty();
            let (icon, word) = if own && !some {
                (Icon::Trash, texts::hub::FORGET_TOKEN)
            } else {
                (Icon::Save, texts::hub::KEEP_TOKEN)
            };
            if ui.add_enabled_ui(own || some, |ui| row_button(ui, icon, word)).inner.clicked() {
                app.actions.push(Action::Hub(HubAction::KeepToken));
            }
            field
        });
        hint(ui, whose);
        if let Some(cache) = &app.hub.access.cache {
            fact(ui, texts::hub::KEPT_IN, cache.display().to_string());
        }
    });
}
