//! Lucide icons: white SVGs, tinted where they are drawn.

use egui::{Color32, Image, ImageSource, Rect, Ui, Vec2};

macro_rules! icons {
    ($($name:ident = $file:literal),+ $(,)?) => {
        /// One of `assets/icons`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Icon { $($name),+ }

        impl Icon {
            #[cfg(test)]
            const ALL: &[Icon] = &[$(Icon::$name),+];

            fn source(self) -> ImageSource<'static> {
                match self {
                    $(Icon::$name => egui::include_image!(concat!("../../../../assets/icons/", $file, ".svg"))),+
                }
            }
        }
    };
}

icons! {
    Activity = "activity",
    Bird = "bird",
    Boxes = "boxes",
    Camera = "camera",
    Check = "check",
    ChevronDown = "chevron-down",
    ChevronLeft = "chevron-left",
    ChevronRight = "chevron-right",
    ChevronUp = "chevron-up",
    CircleAlert = "circle-alert",
    CircleCheck = "circle-check",
    Columns = "columns-2",
    Copy = "copy",
    Download = "download",
    File = "file",
    FolderOpen = "folder-open",
    FolderPlus = "folder-plus",
    Grip = "grip-vertical",
    History = "history",
    Images = "images",
    Info = "info",
    ListPlus = "list-plus",
    Monitor = "monitor",
    Moon = "moon",
    Palette = "palette",
    Pause = "pause",
    Play = "play",
    Plus = "plus",
    Redo = "redo-2",
    Refresh = "refresh-cw",
    Reset = "rotate-ccw",
    Save = "save",
    Search = "search",
    Settings = "settings",
    Shapes = "shapes",
    Share = "share",
    Sliders = "sliders-horizontal",
    Smile = "smile",
    Sparkles = "sparkles",
    Square = "square",
    Star = "star",
    Stethoscope = "stethoscope",
    Sun = "sun",
    Tag = "tag",
    Trash = "trash-2",
    Triangle = "triangle-alert",
    Undo = "undo-2",
    X = "x",
}

impl Icon {
    pub(crate) fn sized(self, size: f32, color: Color32) -> Image<'static> {
        Image::new(self.source()).fit_to_exact_size(Vec2::splat(size)).tint(color).show_loading_spinner(false)
    }

    /// Draws without taking part in the layout.
    pub(crate) fn paint(self, ui: &Ui, rect: Rect, color: Color32) {
        self.sized(rect.width(), color).paint_at(ui, rect);
    }

    /// Takes up its size in the layout; silent for screen readers, as text stands beside it.
    pub(crate) fn show(self, ui: &mut Ui, size: f32, color: Color32) {
        let (rect, _) = ui.allocate_exact_size(Vec2::splat(size), egui::Sense::hover());
        self.paint(ui, rect, color);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_icon_is_white_so_that_its_tint_is_its_colour() {
        for icon in Icon::ALL {
            let ImageSource::Bytes { bytes, .. } = icon.source() else { panic!("{icon:?} is not embedded") };
            let text = std::str::from_utf8(&bytes).expect("an SVG is text");
            assert!(text.contains("stroke=\"#fff\""), "{icon:?}");
            assert!(!text.contains("currentColor"), "{icon:?}");
        }
    }
}
