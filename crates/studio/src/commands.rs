//! Everything that can be done, once: the command palette and the keyboard shortcuts come from this list.

use egui::{Key, KeyboardShortcut, Modifiers};
use lorikeet_recipe::{BUILT_IN, Preset, SETTINGS, setting};

use crate::actions::Action;
use crate::app::StudioApp;
use crate::choosing::Choose;
use crate::comparing::CompareAction;
use crate::draft::Load;
use crate::kit::Icon;
use crate::pages::{Page, settings_in_form};
use crate::prefs::Theme;
use crate::queue::QueueAction;
use crate::state::Phase;

pub(crate) struct Command {
    pub(crate) icon: Icon,
    pub(crate) label: String,
    /// Small text behind the label, which is searched too.
    pub(crate) beside: String,
    pub(crate) shortcut: Option<KeyboardShortcut>,
    pub(crate) action: Action,
    /// Whether it can be done now.
    pub(crate) enabled: bool,
}

const fn ctrl(key: Key) -> KeyboardShortcut {
    KeyboardShortcut::new(Modifiers::COMMAND, key)
}

pub(crate) const PALETTE: KeyboardShortcut = ctrl(Key::K);
pub(crate) const UNDO: KeyboardShortcut = ctrl(Key::Z);
pub(crate) const REDO: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND.plus(Modifiers::SHIFT), Key::Z);
/// As in other programs.
pub(crate) const REDO_TOO: KeyboardShortcut = ctrl(Key::Y);

const PAGE_KEYS: [Key; 7] = [Key::Num1, Key::Num2, Key::Num3, Key::Num4, Key::Num5, Key::Num6, Key::Num7];

/// What can be done, in the order of the palette without a search: what the state of things asks for first.
pub(crate) fn all(app: &StudioApp) -> Vec<Command> {
    let mut list = Vec::new();
    let mut add = |icon, label: &str, beside: &str, shortcut, action, enabled| {
        list.push(Command { icon, label: label.to_owned(), beside: beside.to_owned(), shortcut, action, enabled });
    };
    let phase = &app.state.phase;
    // One that is only watched can be paused and stopped, no more.
    let watched = app.watched.is_some();
    let (active, running) = (app.state.active(), *phase == Phase::Running && !watched);
    let held = running || watched || *phase == Phase::Paused;
    add(Icon::Play, "Train", "", Some(ctrl(Key::Enter)), Action::Train, app.can_train());
    let ready = app.draft.missing().is_none();
    let (waiting, going) = (app.queue.waits(), app.queue.is_going());
    add(Icon::ListPlus, "Add to queue", "train later", None, Action::Queue(QueueAction::Add), ready);
    add(Icon::Play, "Start queue", "", None, Action::Queue(QueueAction::Go(true)), waiting && !going);
    add(Icon::Pause, "Hold queue", "", None, Action::Queue(QueueAction::Go(false)), waiting && going);
    add(Icon::Pause, "Pause", "", None, Action::Pause, *phase == Phase::Running);
    add(Icon::Play, "Resume", "", None, Action::Resume, *phase == Phase::Paused);
    add(Icon::Square, "Stop…", "", None, Action::AskStop, held);
    add(Icon::Save, "Save now", "", None, Action::SaveNow, running);
    add(Icon::Camera, "Draw previews now", "", None, Action::SampleNow, running);
    let draw = Action::Drawing(crate::drawing::DrawAction::Open(true));
    add(Icon::Sparkles, "Draw with LoRAs…", "strength sweep", None, draw, !active);
    add(Icon::Share, "Export LoRA…", "", Some(ctrl(Key::E)), Action::OpenExport, app.state.can_export());
    for (page, key) in Page::ALL.into_iter().zip(PAGE_KEYS) {
        add(page.icon(), &format!("Go to {}", page.label()), "", Some(ctrl(key)), Action::Go(page), true);
    }
    for (redo, word, icon, shortcut) in [(false, "Undo", Icon::Undo, UNDO), (true, "Redo", Icon::Redo, REDO)] {
        let next = app.history.next(redo);
        let action = if redo { Action::Redo } else { Action::Undo };
        add(icon, word, next.as_deref().unwrap_or(""), Some(shortcut), action, next.is_some());
    }
    add(
        Icon::FolderOpen,
        "Add folder of pictures…",
        "",
        Some(ctrl(Key::O)),
        Action::Choose(Choose::DatasetFolder),
        !active,
    );
    add(Icon::Refresh, "Look at the folder again", "", None, Action::Rescan, !active && app.draft.folder().is_some());
    add(Icon::File, "Choose model file…", "", None, Action::Choose(Choose::BaseFile), !active);
    add(Icon::FolderOpen, "Choose model folder…", "", None, Action::Choose(Choose::BaseFolder), !active);
    add(Icon::Download, "Download model…", "Hugging Face hub", None, Action::Go(Page::Model), true);
    for base in &BUILT_IN {
        add(Icon::Bird, "Use a demo base", base.title, None, Action::UseBase(base.name.to_owned()), !active);
    }
    add(
        Icon::FolderOpen,
        "Open or import recipe…",
        "kohya, OneTrainer",
        None,
        Action::Choose(Choose::RecipeToOpen),
        !active,
    );
    let pick = Action::Compare(CompareAction::Pick);
    add(Icon::Columns, "Compare with another recipe…", "", None, pick, app.page == Page::Training);
    let save = Action::Choose(Choose::RecipeToSave(app.draft.name()));
    add(Icon::Save, "Save recipe…", "", Some(ctrl(Key::S)), save, true);
    let changed = app.draft.recipe.typed().next().is_some();
    add(Icon::Reset, "Reset all settings to their defaults", "", None, Action::ResetRecipe, changed);
    for preset in Preset::ALL {
        let other = app.draft.recipe.preset() != preset;
        add(
            Icon::Sliders,
            &format!("Preset: {}", preset.label()),
            preset.help(),
            None,
            Action::SetPreset(preset),
            other,
        );
    }
    for (index, example) in app.start.examples.iter().enumerate() {
        add(Icon::Images, &example.title, "example", None, Action::UseExample(index), !active);
    }
    let has_pictures = matches!(&app.draft.data, Load::Ready(data) if !data.images.is_empty());
    add(Icon::Stethoscope, "Check pictures", "dataset doctor", None, Action::CheckPictures, has_pictures);
    add(Icon::Images, "Select all pictures", "", None, Action::SelectAll, has_pictures);
    for (theme, word, icon) in [
        (Theme::Dark, "dark", Icon::Moon),
        (Theme::Light, "light", Icon::Sun),
        (Theme::System, "as the system", Icon::Monitor),
    ] {
        add(icon, &format!("Theme: {word}"), "", None, Action::Theme(theme), app.prefs.theme != theme);
    }
    for device in app.start.devices.iter().filter(|device| device.available) {
        let other = app.prefs.device != device.id && !active;
        add(Icon::Settings, &format!("Device: {}", device.label), "", None, Action::Device(device.id.clone()), other);
    }
    for setting in SETTINGS.iter().filter(|setting| settings_in_form(setting)) {
        let label = format!("Setting: {}", setting.label);
        add(Icon::Sliders, &label, section_label(setting.section()), None, Action::ShowSetting(setting.id), true);
    }
    for (id, page) in [("base.path", Page::Model), ("dataset.folder", Page::Dataset), ("run.device", Page::Settings)] {
        if let Some(setting) = setting(id) {
            add(Icon::Sliders, &format!("Setting: {}", setting.label), page.label(), None, Action::Go(page), true);
        }
    }
    list
}

fn section_label(id: &str) -> &'static str {
    lorikeet_recipe::SECTIONS.iter().find(|section| section.id == id).map_or("", |section| section.label)
}

/// The action whose shortcut was pressed, if any. Undo and redo are left to a text field that is being edited.
pub(crate) fn pressed(app: &StudioApp, ctx: &egui::Context) -> Option<Action> {
    let consume = |shortcut| ctx.input_mut(|i| i.consume_shortcut(&shortcut));
    if consume(PALETTE) {
        return Some(Action::Palette(app.palette.is_none()));
    }
    // A dialog has the keyboard for itself.
    if app.covered() {
        return None;
    }
    if !ctx.text_edit_focused() {
        // The longer shortcut first: it contains the shorter.
        for (shortcut, action) in [(REDO, Action::Redo), (REDO_TOO, Action::Redo), (UNDO, Action::Undo)] {
            if consume(shortcut) {
                return Some(action);
            }
        }
    }
    // The list is only made when a key goes down that could be meant.
    if !ctx
        .input(|i| i.modifiers.command && i.events.iter().any(|e| matches!(e, egui::Event::Key { pressed: true, .. })))
    {
        return None;
    }
    all(app)
        .into_iter()
        .filter(|command| !matches!(command.action, Action::Undo | Action::Redo))
        .find(|command| command.enabled && command.shortcut.is_some_and(consume))
        .map(|command| command.action)
}
