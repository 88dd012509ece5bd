//! Working the studio without a pointer: for tests, and for pictures of the window.

use std::path::PathBuf;

use lorikeet_queue::QueueFile;

use crate::actions::Action;
use crate::app::StudioApp;
use crate::closing::Closing;
use crate::comparing::CompareAction;
use crate::drawing::DrawAction;
use crate::hub::HubAction;
use crate::kit::toast::Toasts;
use crate::masks::MaskAction;
use crate::prefs;
use crate::queue::QueueAction;

impl StudioApp {
    /// Waits for all that threads are doing. For tests and screenshots: a window never waits.
    pub fn settle(&mut self) {
        while let Some(answer) = self.work.wait() {
            self.answer(answer);
        }
        self.pictures.settle();
        self.settle_watched();
    }

    pub fn set_theme(&mut self, theme: egui::ThemePreference) {
        self.prefs.theme = match theme {
            egui::ThemePreference::System => prefs::Theme::System,
            egui::ThemePreference::Light => prefs::Theme::Light,
            egui::ThemePreference::Dark => prefs::Theme::Dark,
        };
    }

    /// As the Train button.
    pub fn train(&mut self) {
        self.perform(Action::Train);
    }

    /// As dropping a folder.
    pub fn choose_folder(&mut self, folder: PathBuf) {
        self.use_folder(folder);
    }

    /// As dropping a folder beside those there are.
    pub fn drop_folder(&mut self, folder: PathBuf) {
        self.add_folder(folder);
    }

    /// As the button beside the selected picture.
    pub fn paint_selected(&mut self) {
        let picture = self.browse.selected().next().cloned();
        if let Some(picture) = picture {
            self.perform(Action::Mask(MaskAction::Paint(picture)));
        }
    }

    /// A stroke along these places, in parts of the picture's sides.
    pub fn stroke_mask(&mut self, places: &[egui::Vec2]) {
        let brush = self.masks.brush;
        let Some(canvas) = self.masks.canvas() else { return };
        let size = egui::vec2(canvas.mask.width as f32, canvas.mask.height as f32);
        places.iter().for_each(|place| canvas.stroke((*place * size).to_pos2(), &brush));
        canvas.last = None;
    }

    pub fn discard_mask(&mut self) {
        self.perform(Action::Mask(MaskAction::Discard));
    }

    /// With the recipe of a run folder or file; `None` ends it.
    pub fn compare_with(&mut self, path: Option<PathBuf>) {
        self.perform(Action::Compare(path.map_or(CompareAction::Close, CompareAction::With)));
    }

    /// Shows a preview large, by index of prompt and step.
    pub fn enlarge(&mut self, which: Option<(usize, u64)>) {
        self.perform(Action::Enlarge(which));
    }

    pub fn show_advanced(&mut self, open: bool) {
        self.advanced.open = open;
    }

    pub fn ask_stop(&mut self, ask: bool) {
        self.confirm_stop = ask;
    }

    pub fn ask_export(&mut self) {
        self.perform(Action::OpenExport);
    }

    /// Selects pictures by their places on screen.
    pub fn select_pictures(&mut self, places: &[usize]) {
        let Some(data) = self.draft.data.ready() else { return };
        let shown = self.browse.visible(data, self.draft.generation, &self.trigger).to_vec();
        self.browse.select(places.iter().filter_map(|at| Some(data.images.get(*shown.get(*at)?)?.path.clone())));
    }

    /// Captions as tags rather than text.
    pub fn show_tags(&mut self, chips: bool) {
        self.browse.chips = chips;
    }

    /// As choosing a file for a part of the base, by id of its setting.
    pub fn use_part(&mut self, id: &'static str, path: String) {
        self.perform(Action::UsePart(id, path));
    }

    /// The Samples page with the panel that draws.
    pub fn open_drawing(&mut self) {
        self.perform(Action::Drawing(DrawAction::Open(true)));
    }

    /// As its button.
    pub fn draw_pictures(&mut self) {
        self.perform(Action::Drawing(DrawAction::Draw));
    }

    /// As choosing a file for the workflow of a picture.
    pub fn save_workflow(&mut self, picture: PathBuf, to: PathBuf) {
        self.work.write_workflow(picture, to);
    }

    /// Every strength of these saves.
    pub fn sweep(&mut self, saves: &[u64]) {
        if let Some(form) = &mut self.drawing.form {
            form.sweep = true;
            form.saves = saves.iter().copied().collect();
        }
    }

    /// As its cross.
    pub fn close_welcome(&mut self) {
        self.perform(Action::Welcome(false));
    }

    /// As dropping a recipe or another trainer's settings.
    pub fn open_recipe(&mut self, file: PathBuf) {
        self.work.read_recipe(file);
    }

    pub fn cancel_import(&mut self) {
        self.imported = None;
    }

    pub fn use_example_at(&mut self, index: usize) {
        self.perform(Action::UseExample(index));
    }

    /// Previews compared with a slider.
    pub fn wipe(&mut self, wipe: bool) {
        self.compare.wipe = wipe;
    }

    /// As the button of the export dialog.
    pub fn send_export(&mut self) {
        self.perform(Action::Export);
    }

    /// As the crosses of all messages.
    pub fn dismiss_toasts(&mut self) {
        self.toasts = Toasts::default();
    }

    pub fn open_palette(&mut self, open: bool) {
        self.perform(Action::Palette(open));
    }

    /// Tiles of pictures drawn in the last frame, and how often their order was made.
    pub fn grid_work(&self) -> (usize, u64) {
        (self.drawn_tiles, self.browse.made)
    }

    /// Keeps the queue in this file.
    pub fn keep_queue(&mut self, file: PathBuf) {
        self.keep_queue_in(QueueFile::new(file));
    }

    /// As a second later.
    pub fn see_queue(&mut self) {
        self.look_at_queue();
    }

    /// As its button.
    pub fn add_to_queue_now(&mut self) {
        self.perform(Action::Queue(QueueAction::Add));
    }

    /// As its button on the Runs page.
    pub fn ask_longer(&mut self, run_dir: PathBuf) {
        self.perform(Action::AskLonger(run_dir));
    }

    pub fn cancel_longer(&mut self) {
        self.longer = None;
    }

    /// Shows the curve of an earlier run, or hides it.
    pub fn toggle_curve(&mut self, run_dir: PathBuf) {
        self.perform(Action::Overlay(run_dir));
    }

    /// As the window's cross while a run is on.
    pub fn ask_close(&mut self) {
        self.closing = Closing::Asked;
    }

    pub fn cancel_close(&mut self) {
        self.closing = Closing::No;
    }

    /// As looking a model of the hub up, and as its button after that.
    pub fn look_up_on_hub(&mut self, name: &str) {
        self.perform(Action::Hub(HubAction::Name(name.to_owned())));
        self.perform(Action::Hub(HubAction::Look(None)));
    }

    pub fn fetch_from_hub(&mut self) {
        self.perform(Action::Hub(HubAction::Fetch));
    }

    pub fn cancel_export(&mut self) {
        self.export = None;
    }
}
