//! The export dialog: which save, for whom, with what told; and the check of the file that came of it.

use std::path::{Path, PathBuf};

use egui::{ComboBox, Context, Margin, Response, RichText, ScrollArea, TextEdit, Ui};
use lorikeet_checkpoint::LoraFolder;
use lorikeet_checkpoint::lora::{Checked, Consumer};
use lorikeet_protocol::{About, ExportDtype, ExportNames};

use super::{export_more, export_more::Copies, plan};
use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::format;
use crate::kit::{
    Icon, Tokens, Tone, buttons::segmented, card::fact, card::hint, columns, icon_button, modal, modal::actions,
    modal::title, notice, primary_button, progress, row, text_button,
};
use crate::state::State;
use crate::texts;

const FORMATS: [(ExportDtype, &str, u64); 3] = [
    (ExportDtype::F16, texts::export::F16, 2),
    (ExportDtype::Bf16, texts::export::BF16, 2),
    (ExportDtype::F32, texts::export::F32, 4),
];
const NAMES: [(ExportNames, &str); 2] =
    [(ExportNames::Kohya, texts::export::KOHYA), (ExportNames::Diffusers, texts::export::DIFFUSERS)];

/// Of the dialog, px: with the two halves beside each other, or one below the other.
const WIDE: f32 = 1052.0;
const NARROW: f32 = 540.0;
/// Kept of the window around it.
const MARGIN: f32 = 80.0;

/// The export being asked for.
#[derive(Clone, Debug)]
pub(crate) struct ExportForm {
    pub(crate) to: String,
    pub(crate) dtype: ExportDtype,
    pub(crate) names: ExportNames,
    pub(crate) about: About,
    pub(crate) tags: String,
    /// `None`: the newest save.
    pub(crate) step: Option<u64>,
    steps: Vec<u64>,
    /// The newest save.
    newest: u64,
    pub(crate) thumbnail: Option<PathBuf>,
    /// Of other programs, and whether it is copied there.
    pub(crate) folders: Vec<(LoraFolder, bool)>,
    /// What came of the copies so far.
    pub(crate) copies: Copies,
    pub(crate) sent: bool,
    /// The finished file is being read back.
    pub(crate) checking: bool,
    /// What the finished file is good for.
    pub(crate) checked: Option<Result<Checked, String>>,
}

impl ExportForm {
    /// `favourite`: the step that was marked.
    pub(crate) fn suggest(run_dir: &Path, name: &str, trigger: &str, state: &State, favourite: Option<u64>) -> Self {
        let steps: Vec<u64> = state.saves.keys().rev().copied().collect();
        let newest = steps.first().copied().or(state.step.map(|step| step.step)).unwrap_or(0);
        // Names come from folders, whose letters files may have too, except where they part folders.
        let file = name.replace(['/', '\\'], "-");
        let step = favourite.filter(|step| steps.contains(step) && *step != newest);
        let wanted = step.unwrap_or(newest);
        let to = run_dir.join(format!("{file}-step{wanted}.safetensors"));
        let hint = if trigger.is_empty() { String::new() } else { texts::export::use_trigger(trigger) };
        Self {
            to: to.to_string_lossy().into_owned(),
            dtype: ExportDtype::F16,
            names: ExportNames::Kohya,
            about: About { title: name.to_owned(), usage_hint: hint, ..About::default() },
            tags: String::new(),
            step,
            steps,
            newest,
            thumbnail: export_more::previews(state, wanted).into_iter().next().map(|(_, path)| path),
            folders: Vec::new(),
            copies: Vec::new(),
            sent: false,
            checking: false,
            checked: None,
        }
    }

    pub(crate) fn request(&self, run_dir: PathBuf) -> lorikeet_protocol::ExportRequest {
        let tags = self.tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
        lorikeet_protocol::ExportRequest {
            run_dir,
            step: self.step,
            to: with_ending(self.to.trim()),
            dtype: self.dtype,
            names: self.names,
            about: About { tags, ..self.about.clone() },
            thumbnail: self.thumbnail.clone(),
        }
    }

    /// The step that is exported.
    pub(crate) fn wanted(&self) -> u64 {
        self.step.unwrap_or(self.newest)
    }

    pub(crate) fn chosen_folders(&self) -> Vec<PathBuf> {
        self.folders.iter().filter(|(_, on)| *on).map(|(folder, _)| folder.path.clone()).collect()
    }

    /// Another save, whose name and picture go with it unless they are the user's own.
    fn choose(&mut self, step: Option<u64>, state: &State) {
        let ending = |step: u64| format!("-step{step}.safetensors");
        let (before, pictures) = (self.wanted(), export_more::previews(state, self.wanted()));
        let at = pictures.iter().position(|(_, path)| Some(path) == self.thumbnail.as_ref());
        self.step = step;
        if let Some(name) = self.to.strip_suffix(&ending(before)) {
            self.to = name.to_owned() + &ending(self.wanted());
        }
        if let Some(at) = at {
            let now = export_more::previews(state, self.wanted());
            self.thumbnail = now.into_iter().nth(at).map(|(_, path)| path);
        }
    }
}

pub(super) fn show(app: &mut StudioApp, ctx: &Context) {
    let Some(mut form) = app.export.take() else { return };
    let exporting = app.state.exporting();
    let (keep, close) = modal(ctx, "export", |ui| {
        let over = form.sent && !exporting && app.state.export_failure.is_none();
        let window = ui.ctx().content_rect().size();
        ui.set_width(if over || window.x < WIDE + MARGIN { NARROW } else { WIDE });
        title(ui, texts::dialogs::EXPORT);
        if over {
            return done(app, ui, &form);
        }
        ScrollArea::vertical().max_height((window.y - 200.0).max(160.0)).show(ui, |ui| {
            ui.add_enabled_ui(!exporting, |ui| {
                let file = |(app, form): &mut (&mut StudioApp, &mut ExportForm), ui: &mut Ui| {
                    place(app, ui, form);
                    export_more::thumbnail(app, ui, form);
                };
                columns::beside(ui, &mut (&mut *app, &mut form), 0.5, file, |(_, form), ui| {
                    told(ui, form);
                    export_more::folders(ui, form);
                });
            });
        });
        if let Some(failure) = &app.state.export_failure {
            plan::failure_text(ui, failure);
        }
        let mut keep = true;
        actions(ui, |ui| {
            let ready = !form.to.trim().is_empty() && !exporting;
            let text = if exporting { texts::export::EXPORTING } else { texts::export::EXPORT };
            if primary_button(ui, Icon::Share, text, ready).clicked() {
                app.actions.push(Action::Export);
            }
            if text_button(ui, Icon::X, texts::common::CANCEL, true).clicked() {
                keep = false;
            }
        });
        keep
    });
    if keep && !close {
        app.export = Some(form);
    }
}

/// Which save, where to, in which form.
fn place(app: &mut StudioApp, ui: &mut Ui, form: &mut ExportForm) {
    row(ui, texts::export::FILE, texts::export::FILE_HELP, "", |ui| {
        let edit = TextEdit::singleline(&mut form.to)
            .desired_width(ui.available_width() - 36.0)
            .margin(Margin::symmetric(8, 5));
        let response = ui.add(edit);
        if icon_button(ui, Icon::FolderOpen, texts::common::CHOOSE_FILE).clicked() {
            app.actions.push(Action::Choose(Choose::ExportFile(PathBuf::from(&form.to))));
        }
        response
    });
    if form.steps.len() > 1 {
        let mut picked = None;
        row(ui, texts::export::SAVE, texts::export::SAVE_HELP, "", |ui| {
            let name = |step: Option<u64>| match step {
                None => texts::export::newest(form.steps[0]),
                Some(step) => texts::common::step(step),
            };
            ComboBox::from_id_salt("export-step")
                .selected_text(name(form.step))
                .show_ui(ui, |ui| {
                    for step in std::iter::once(None).chain(form.steps.iter().skip(1).copied().map(Some)) {
                        if ui.selectable_label(form.step == step, name(step)).clicked() {
                            picked = Some(step);
                        }
                    }
                })
                .response
        });
        if let Some(step) = picked {
            form.choose(step, &app.state);
        }
    }
    row(ui, texts::export::NAMES, texts::export::NAMES_HELP, "", |ui| {
        choice(ui, &NAMES.map(|(_, label)| label), NAMES.iter().position(|(names, _)| *names == form.names), |picked| {
            form.names = NAMES[picked].0;
        })
    });
    row(ui, texts::export::NUMBERS, texts::export::NUMBERS_HELP, "", |ui| {
        let chosen = FORMATS.iter().position(|(dtype, ..)| *dtype == form.dtype);
        choice(ui, &FORMATS.map(|(_, label, _)| label), chosen, |picked| form.dtype = FORMATS[picked].0)
    });
    if let Some(plan) = &app.state.plan {
        let bytes = FORMATS.iter().find(|(dtype, ..)| *dtype == form.dtype).map_or(2, |(_, _, bytes)| *bytes);
        hint(ui, texts::export::about_bytes(plan.trainable_parameters * bytes));
    }
}

fn choice(ui: &mut Ui, labels: &[&str], chosen: Option<usize>, mut pick: impl FnMut(usize)) -> Response {
    ui.scope(|ui| {
        let choices: Vec<_> = labels.iter().map(|label| (None, *label)).collect();
        if let Some(picked) = segmented(ui, &choices, chosen.unwrap_or(0)) {
            pick(picked);
        }
    })
    .response
}

/// What people are told by the file.
fn told(ui: &mut Ui, form: &mut ExportForm) {
    ui.add_space(4.0);
    hint(ui, texts::export::ABOUT_HELP);
    let about = &mut form.about;
    line(ui, texts::export::NAME, "", &mut about.title);
    line(ui, texts::export::USAGE, texts::export::USAGE_HELP, &mut about.usage_hint);
    line(ui, texts::export::DESCRIPTION, texts::export::DESCRIPTION_HELP, &mut about.description);
    line(ui, texts::export::AUTHOR, texts::export::AUTHOR_HELP, &mut about.author);
    line(ui, texts::export::LICENCE, texts::export::LICENCE_HELP, &mut about.license);
    line(ui, texts::export::TAGS, texts::export::TAGS_HELP, &mut form.tags);
}

fn line(ui: &mut Ui, name: &str, about: &str, text: &mut String) {
    row(ui, name, about, "", |ui| {
        let width = ui.available_width();
        ui.add(TextEdit::singleline(text).hint_text(about).desired_width(width).margin(Margin::symmetric(8, 5)))
    });
}

/// The file is there: what it holds, and who reads it. Whether the dialog stays.
fn done(app: &mut StudioApp, ui: &mut Ui, form: &ExportForm) -> bool {
    let t = Tokens::get(ui);
    let path = app.state.exported.clone().unwrap_or_else(|| with_ending(form.to.trim()));
    let name = RichText::new(path.display().to_string()).monospace().color(t.dim);
    ui.add(egui::Label::new(name).truncate()).on_hover_text(path.display().to_string());
    match &form.checked {
        None => progress::labelled(ui, texts::export::READING_BACK, "", None),
        Some(Err(error)) => {
            notice(ui, Tone::Error, super::sentence(error));
        }
        Some(Ok(checked)) => {
            notice(ui, Tone::Ok, texts::export::read_back(checked.modules as u64));
            fact(ui, texts::export::SIZE, format::bytes(checked.bytes));
            for (consumer, verdict) in &checked.consumers {
                verdict_line(ui, *consumer, verdict.as_deref());
            }
        }
    }
    export_more::copies(app, ui, form);
    let mut keep = true;
    actions(ui, |ui| {
        if primary_button(ui, Icon::Check, texts::export::DONE, true).clicked() {
            keep = false;
        }
        if text_button(ui, Icon::FolderOpen, texts::common::SHOW_FILE, true).clicked() {
            app.actions.push(Action::Open(path));
        }
    });
    keep
}

fn verdict_line(ui: &mut Ui, consumer: Consumer, problem: Option<&str>) {
    match problem {
        None => notice(ui, Tone::Ok, texts::export::good_for(consumer.label())),
        Some(problem) => notice(ui, Tone::Warn, texts::export::not_for(consumer.label(), problem)),
    };
}

/// Other programs find LoRAs by their ending.
fn with_ending(path: &str) -> PathBuf {
    if path.to_lowercase().ends_with(".safetensors") {
        PathBuf::from(path)
    } else {
        PathBuf::from(format!("{path}.safetensors"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_export_always_has_its_ending() {
        assert_eq!(with_ending("/a/ink"), PathBuf::from("/a/ink.safetensors"));
        assert_eq!(with_ending("/a/ink.Safetensors"), PathBuf::from("/a/ink.Safetensors"));
    }

    #[test]
    fn the_suggested_name_stays_in_the_run_folder_and_the_trigger_word_is_told() {
        let form = ExportForm::suggest(Path::new("/runs/1"), "my/style", "zib", &State::default(), None);
        assert_eq!(Path::new(&form.to), Path::new("/runs/1/my-style-step0.safetensors"));
        let request = ExportForm { tags: "a, ,b ".to_owned(), ..form }.request("/runs/1".into());
        assert_eq!(request.about.usage_hint, "Use \"zib\" in the prompt");
        assert_eq!(request.about.tags, ["a", "b"]);
    }

    #[test]
    fn the_favourite_is_exported_with_its_picture_and_another_save_takes_them_along() {
        let mut state = State::default();
        let sample = |step: u64| lorikeet_protocol::Sample {
            step,
            epoch: 1,
            prompt_index: 0,
            prompt: "a cat".to_owned(),
            seed: 1,
            path: format!("{step}.png").into(),
        };
        for step in [100, 200] {
            state.apply(lorikeet_protocol::Event::Sample(sample(step)));
            state.apply(lorikeet_protocol::Event::Saved { step, path: "save".into() });
        }
        let mut form = ExportForm::suggest(Path::new("/runs/1"), "ink", "", &state, Some(100));
        assert_eq!((form.step, form.thumbnail.as_deref()), (Some(100), Some(Path::new("100.png"))));
        assert_eq!(Path::new(&form.to), Path::new("/runs/1/ink-step100.safetensors"));
        form.choose(None, &state);
        assert_eq!((form.wanted(), form.thumbnail.as_deref()), (200, Some(Path::new("200.png"))));
        assert_eq!(Path::new(&form.to), Path::new("/runs/1/ink-step200.safetensors"));
        // A favourite whose save is gone.
        assert_eq!(ExportForm::suggest(Path::new("/runs/1"), "ink", "", &state, Some(150)).wanted(), 200);
    }
}
