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
use crate::texts;

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
    add(Icon::Play, texts::commands::TRAIN, "", Some(ctrl(Key::Enter)), Action::Train, app.can_train());
    let ready = app.draft.missing().is_none();
    let (waiting, going) = (app.queue.waits(), app.queue.is_going());
    add(
        Icon::ListPlus,
        texts::commands::ADD_TO_QUEUE,
        texts::commands::ADD_TO_QUEUE_BESIDE,
        None,
        Action::Queue(QueueAction::Add),
        ready,
    );
    add(Icon::Play, texts::commands::START_QUEUE, "", None, Action::Queue(QueueAction::Go(true)), waiting && !going);
    add(Icon::Pause, texts::commands::HOLD_QUEUE, "", None, Action::Queue(QueueAction::Go(false)), waiting && going);
    add(Icon::Pause, texts::commands::PAUSE, "", None, Action::Pause, *phase == Phase::Running);
    add(Icon::Play, texts::commands::RESUME, "", None, Action::Resume, *phase == Phase::Paused);
    add(Icon::Square, texts::commands::STOP, "", None, Action::AskStop, held);
    add(Icon::Save, texts::commands::SAVE_NOW, "", None, Action::SaveNow, running);
    add(Icon::Camera, texts::commands::DRAW_PREVIEWS, "", None, Action::SampleNow, running);
    let draw = Action::Drawing(crate::drawing::DrawAction::Open(true));
    add(Icon::Sparkles, texts::commands::DRAW, texts::commands::DRAW_BESIDE, None, draw, !active);
    add(Icon::Share, texts::commands::EXPORT, "", Some(ctrl(Key::E)), Action::OpenExport, app.state.can_export());
    for (page, key) in Page::ALL.into_iter().zip(PAGE_KEYS) {
        add(page.icon(), &texts::commands::go_to(page.label()), "", Some(ctrl(key)), Action::Go(page), true);
    }
    for (redo, word, icon, shortcut) in
        [(false, texts::commands::UNDO, Icon::Undo, UNDO), (true, texts::commands::REDO, Icon::Redo, REDO)]
    {
        let next = app.history.next(redo);
        let action = if redo { Action::Redo } else { Action::Undo };
        add(icon, word, next.as_deref().unwrap_or(""), Some(shortcut), action, next.is_some());
    }
    add(
        Icon::FolderOpen,
        texts::commands::ADD_FOLDER,
        "",
        Some(ctrl(Key::O)),
        Action::Choose(Choose::DatasetFolder),
        !active,
    );
    add(Icon::Refresh, texts::commands::LOOK_AGAIN, "", None, Action::Rescan, !active && app.draft.folder().is_some());
    add(Icon::File, texts::commands::CHOOSE_MODEL_FILE, "", None, Action::Choose(Choose::BaseFile), !active);
    add(Icon::FolderOpen, texts::commands::CHOOSE_MODEL_FOLDER, "", None, Action::Choose(Choose::BaseFolder), !active);
    add(Icon::Download, texts::commands::DOWNLOAD_MODEL, texts::commands::HUB, None, Action::Go(Page::Model), true);
    for base in &BUILT_IN {
        add(
            Icon::Bird,
            texts::commands::USE_DEMO_BASE,
            base.title,
            None,
            Action::UseBase(base.name.to_owned()),
            !active,
        );
    }
    add(
        Icon::FolderOpen,
        texts::commands::OPEN_RECIPE,
        texts::commands::OPEN_RECIPE_BESIDE,
        None,
        Action::Choose(Choose::RecipeToOpen),
        !active,
    );
    let pick = Action::Compare(CompareAction::Pick);
    add(Icon::Columns, texts::commands::COMPARE_RECIPE, "", None, pick, app.page == Page::Training);
    let save = Action::Choose(Choose::RecipeToSave(app.draft.name()));
    add(Icon::Save, texts::commands::SAVE_RECIPE, "", Some(ctrl(Key::S)), save, true);
    let changed = app.draft.recipe.typed().next().is_some();
    add(Icon::Reset, texts::commands::RESET_ALL, "", None, Action::ResetRecipe, changed);
    for preset in Preset::ALL {
        let other = app.draft.recipe.preset() != preset;
        add(
            Icon::Sliders,
            &texts::commands::preset(preset.label()),
            preset.help(),
            None,
            Action::SetPreset(preset),
            other,
        );
    }
    for (index, example) in app.start.examples.iter().enumerate() {
        add(Icon::Images, &example.title, texts::commands::EXAMPLE_BESIDE, None, Action::UseExample(index), !active);
    }
    let has_pictures = matches!(&app.draft.data, Load::Ready(data) if !data.images.is_empty());
    add(
        Icon::Stethoscope,
        texts::commands::CHECK_PICTURES,
        texts::commands::CHECK_PICTURES_BESIDE,
        None,
        Action::CheckPictures,
        has_pictures,
    );
    add(Icon::Images, texts::commands::SELECT_ALL, "", None, Action::SelectAll, has_pictures);
    for (theme, word, icon) in [
        (Theme::Dark, texts::commands::DARK, Icon::Moon),
        (Theme::Light, texts::commands::LIGHT, Icon::Sun),
        (Theme::System, texts::commands::AS_SYSTEM, Icon::Monitor),
    ] {
        add(icon, &texts::commands::theme(word), "", None, Action::Theme(theme), app.prefs.theme != theme);
    }
    for device in app.start.devices.iter().filter(|device| device.available) {
        let other = app.prefs.device != device.id && !active;
        add(
            Icon::Settings,
            &texts::commands::device(&device.label),
            "",
            None,
            Action::Device(device.id.clone()),
            other,
        );
    }
    for setting in SETTINGS.iter().filter(|setting| settings_in_form(setting)) {
        let label = texts::commands::setting(setting.label);
        add(Icon::Sliders, &label, section_label(setting.section()), None, Action::ShowSetting(setting.id), true);
    }
    for (id, page) in [("base.path", Page::Model), ("dataset.folder", Page::Dataset), ("run.device", Page::Settings)] {
        if let Some(setting) = setting(id) {
            add(Icon::Sliders, &texts::commands::setting(setting.label), page.label(), None, Action::Go(page), true);
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
