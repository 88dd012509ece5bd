//! What the doctor found, why it matters, and what mends it.

use std::sync::Arc;

use egui::{Rect, RichText, Sense, Ui, vec2};
use lorikeet_dataset::{CaptionEdit, Dataset, Finding, Fix, Kind};

use super::picture;
use crate::actions::Action;
use crate::app::StudioApp;
use crate::browse::Show;
use crate::kit::{Icon, Tokens, Tone, buttons::row_button, card::card_with, card::hint, notice, progress};
use crate::pictures::THUMBNAIL;
use crate::texts;

const STRIP: usize = 8;
const EDGE: f32 = 40.0;

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    let progress = app.health.progress();
    let knows = app.health.knows(data, app.draft.generation);
    let mut check = false;
    card_with(
        ui,
        texts::dataset::CHECK_UP,
        |ui| {
            if progress.is_none() && !knows {
                check = row_button(ui, Icon::Stethoscope, texts::commands::CHECK_PICTURES).clicked();
            }
        },
        |ui| {
            if let Some((done, total)) = progress {
                progress::counted(ui, texts::dataset::LOOKING_FOR_BLUR, done, total);
                if app.state.active() {
                    hint(ui, texts::dataset::GOES_ON_AFTER_RUN);
                }
            } else if !knows {
                hint(ui, texts::dataset::NOT_LOOKED_FOR_BLUR);
            }
            let findings = std::mem::take(&mut app.health.findings);
            if findings.is_empty() && progress.is_none() {
                notice(ui, Tone::Ok, if knows { texts::dataset::NOTHING_TO_MEND } else { texts::dataset::FINE_SO_FAR });
            }
            for finding in &findings {
                one(app, ui, finding);
            }
            app.health.findings = findings;
        },
    );
    if check {
        app.actions.push(Action::CheckPictures);
    }
}

fn tone(kind: Kind) -> Tone {
    match kind {
        Kind::Broken | Kind::Leak => Tone::Error,
        Kind::Duplicates | Kind::Blurred | Kind::TooSmall | Kind::OddShape | Kind::NoCaption => Tone::Warn,
        Kind::NoTrigger | Kind::TagEverywhere => Tone::Info,
    }
}

fn one(app: &mut StudioApp, ui: &mut Ui, finding: &Finding) {
    let t = Tokens::get(ui);
    notice(ui, tone(finding.kind), &finding.what);
    ui.horizontal_top(|ui| {
        ui.add_space(24.0);
        ui.vertical(|ui| {
            ui.add(egui::Label::new(RichText::new(&finding.why).small().color(t.dim)).wrap());
            if finding.kind <= Kind::OddShape && finding.kind != Kind::Broken {
                strip(app, ui, finding);
            }
            ui.horizontal_wrapped(|ui| {
                if finding.kind != Kind::Broken
                    && row_button(ui, Icon::Images, &texts::dataset::show_found(count(finding))).clicked()
                {
                    app.browse.show = Show::These(finding.what.clone(), Arc::new(finding.pictures.clone()));
                    app.browse.search.clear();
                }
                if finding.kind == Kind::NoCaption
                    && row_button(ui, Icon::Tag, texts::dataset::WRITE_CAPTIONS).clicked()
                {
                    app.browse.show = Show::NoCaption;
                    app.browse.select(finding.pictures.iter().take(1).cloned());
                    app.browse.focus_caption = true;
                    app.browse.chips = false;
                }
                if let Some(fix) = &finding.fix
                    && row_button(ui, fix_icon(fix), &fix_words(fix, finding)).clicked()
                {
                    app.actions.push(Action::Mend(fix.clone(), finding.pictures.clone()));
                }
            });
        });
    });
    ui.add_space(4.0);
}

fn count(finding: &Finding) -> u64 {
    finding.pictures.len() as u64
}

fn fix_icon(fix: &Fix) -> Icon {
    match fix {
        Fix::SetAside(_) => Icon::Trash,
        Fix::Captions(CaptionEdit::RemoveTag(_)) => Icon::X,
        Fix::Captions(_) => Icon::Plus,
    }
}

fn fix_words(fix: &Fix, finding: &Finding) -> String {
    match fix {
        Fix::SetAside(paths) if finding.kind == Kind::Duplicates => {
            texts::dataset::set_copies_aside(paths.len() as u64)
        }
        Fix::SetAside(_) => texts::dataset::set_found_aside(count(finding)),
        Fix::Captions(CaptionEdit::AddTrigger(word)) => texts::dataset::write_into_captions(word),
        Fix::Captions(CaptionEdit::RemoveTag(tag)) => texts::dataset::remove_from_captions(tag),
        Fix::Captions(_) => texts::dataset::CHANGE_CAPTIONS.to_owned(),
    }
}

/// The first pictures of a finding, small.
fn strip(app: &mut StudioApp, ui: &mut Ui, finding: &Finding) {
    let fit = ((ui.available_width() / (EDGE + 4.0)).floor() as usize).clamp(1, STRIP);
    let count = finding.pictures.len().min(fit);
    let (rect, _) = ui.allocate_exact_size(vec2(count as f32 * (EDGE + 4.0), EDGE), Sense::hover());
    for (index, path) in finding.pictures.iter().take(count).enumerate() {
        let at = Rect::from_min_size(rect.min + vec2(index as f32 * (EDGE + 4.0), 0.0), vec2(EDGE, EDGE));
        picture::cover(ui, at, &app.pictures.get(path, THUMBNAIL));
    }
}
