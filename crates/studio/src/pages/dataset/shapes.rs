//! How many pictures fall into which bucket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use egui::{Align2, Rect, Sense, Ui, WidgetInfo, vec2};
use lorikeet_dataset::{BucketRules, Bucketing, Dataset};

use crate::app::StudioApp;
use crate::browse::Show;
use crate::format;
use crate::kit::{Tokens, card, card::hint, tokens};
use crate::texts;

/// Pictures by the size they are trained at. Made anew when pictures or rules change.
#[derive(Default)]
pub(crate) struct Shapes {
    made_of: Option<(u64, BucketRules)>,
    buckets: BTreeMap<(u32, u32), Arc<Vec<PathBuf>>>,
}

impl Shapes {
    fn update(&mut self, data: &Dataset, generation: u64, rules: BucketRules) {
        if self.made_of == Some((generation, rules)) {
            return;
        }
        self.made_of = Some((generation, rules));
        let mut buckets: BTreeMap<_, Vec<PathBuf>> = BTreeMap::new();
        let bucketing = Bucketing::new(&rules);
        for picture in &data.images {
            let bucket = bucketing.assign(picture.width, picture.height).bucket;
            buckets.entry(bucket).or_default().push(picture.path.clone());
        }
        self.buckets = buckets.into_iter().map(|(bucket, pictures)| (bucket, Arc::new(pictures))).collect();
    }
}

pub(super) fn show(app: &mut StudioApp, ui: &mut Ui, data: &Dataset) {
    app.shapes.update(data, app.draft.generation, app.rules());
    let most = app.shapes.buckets.values().map(|pictures| pictures.len()).max().unwrap_or(1) as f32;
    let mut chosen = None;
    card(ui, texts::dataset::SHAPES, |ui| {
        hint(ui, texts::dataset::SHAPES_HELP);
        ui.spacing_mut().item_spacing.y = 2.0;
        for (&(width, height), pictures) in &app.shapes.buckets {
            let count = pictures.len();
            if bar(ui, width, height, count, count as f32 / most) {
                chosen = Some(Show::These(format::size(width, height), Arc::clone(pictures)));
            }
        }
    });
    if let Some(show) = chosen {
        app.browse.show = show;
    }
}

/// One bucket, its form at the left in small. Whether it was clicked.
fn bar(ui: &mut Ui, width: u32, height: u32, count: usize, part: f32) -> bool {
    const NAME: f32 = 112.0;
    let t = Tokens::get(ui);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 24.0), Sense::click());
    let name = format::size(width, height);
    response
        .widget_info(|| WidgetInfo::labeled(egui::Role::Button, true, texts::dataset::show_size(&name, count as u64)));
    if !ui.is_rect_visible(rect) {
        return false;
    }
    let longest = width.max(height).max(1) as f32;
    let form = vec2(width as f32, height as f32) * (16.0 / longest);
    let color = if response.hovered() { t.text } else { t.dim };
    let at = Rect::from_center_size(rect.left_center() + vec2(10.0, 0.0), form);
    ui.painter().rect_stroke(at, 1, egui::Stroke::new(1.0, color), egui::StrokeKind::Inside);
    let font = egui::TextStyle::Body.resolve(ui.style());
    ui.painter().text(rect.left_center() + vec2(28.0, 0.0), Align2::LEFT_CENTER, name, font.clone(), color);
    let room = (rect.width() - NAME - 48.0).max(10.0);
    let bar = Rect::from_min_size(rect.left_center() + vec2(NAME, -5.0), vec2((room * part).max(3.0), 10.0));
    ui.painter().rect_filled(bar, tokens::RADIUS / 2, t.accent_fill);
    ui.painter().text(rect.right_center(), Align2::RIGHT_CENTER, format::count(count as u64), font, t.dim);
    response.clicked()
}
