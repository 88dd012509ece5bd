//! How a page uses its width: groups beside each other where there is room, below each other where there is not.

use egui::{Align, Layout, Ui, vec2};

use super::tokens::{COLUMN_GAP, COLUMN_MIN, COLUMN_WIDTH, RAIL_MOST, RAIL_PART, RAIL_WIDTH};

/// How many columns of at least `min` fit into `width`.
pub(crate) fn count(width: f32, min: f32, most: usize) -> usize {
    (((width + COLUMN_GAP) / (min + COLUMN_GAP)).max(1.0) as usize).min(most)
}

/// Of the right rail, in a window of that width.
pub(crate) fn rail(window: f32) -> f32 {
    on_grid(window * RAIL_PART).clamp(RAIL_WIDTH, RAIL_MOST)
}

/// Keeps a page of forms from stretching beyond two columns.
pub(crate) fn page<R>(ui: &mut Ui, body: impl FnOnce(&mut Ui) -> R) -> R {
    let width = ui.available_width().min(2.0 * COLUMN_WIDTH + COLUMN_GAP);
    ui.allocate_ui(vec2(width, 0.0), |ui| {
        ui.set_width(width);
        body(ui)
    })
    .inner
}

/// Two groups, the first with its part of the width; where either would be too narrow for a form, the second below the
/// first.
pub(crate) fn beside<T>(
    ui: &mut Ui,
    with: &mut T,
    part: f32,
    first: impl FnOnce(&mut T, &mut Ui),
    second: impl FnOnce(&mut T, &mut Ui),
) {
    let Some(widths) = split(ui.available_width(), part) else {
        first(with, ui);
        second(with, ui);
        return;
    };
    let (mut first, mut second) = (Some(first), Some(second));
    columns(ui, &widths, |ui, at| {
        if let Some(first) = first.take_if(|_| at == 0) {
            first(with, ui);
        } else if let Some(second) = second.take() {
            second(with, ui);
        }
    });
}

/// Columns of these widths.
pub(crate) fn columns(ui: &mut Ui, widths: &[f32], mut column: impl FnMut(&mut Ui, usize)) {
    let spacing = ui.spacing().item_spacing;
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = COLUMN_GAP;
        for (at, width) in widths.iter().enumerate() {
            ui.allocate_ui_with_layout(vec2(*width, 0.0), Layout::top_down(Align::Min), |ui| {
                ui.set_width(*width);
                ui.spacing_mut().item_spacing = spacing;
                column(ui, at);
            });
        }
    });
}

/// Items of one height in rows: as many beside each other as there is room for.
pub(crate) fn grid(ui: &mut Ui, min: f32, most: usize, items: usize, mut item: impl FnMut(&mut Ui, usize)) {
    let width = ui.available_width();
    let count = count(width, min, most);
    let each = on_grid((width + COLUMN_GAP) / count as f32 - COLUMN_GAP);
    for row in (0..items).step_by(count) {
        columns(ui, &vec![each; count.min(items - row)], |ui, at| item(ui, row + at));
    }
}

/// Where to break a list of groups of these heights into two columns, so that the taller one is as short as can be.
pub(crate) fn middle(heights: &[usize]) -> usize {
    let all: usize = heights.iter().sum();
    let taller = |at: &usize| {
        let first: usize = heights[..*at].iter().sum();
        first.max(all - first)
    };
    (0..=heights.len()).min_by_key(taller).unwrap_or(0)
}

fn split(width: f32, part: f32) -> Option<[f32; 2]> {
    let first = on_grid((width - COLUMN_GAP) * part);
    let second = width - COLUMN_GAP - first;
    (first.min(second) >= COLUMN_MIN).then_some([first, second])
}

fn on_grid(width: f32) -> f32 {
    (width / 4.0).floor() * 4.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_begin_on_the_grid_and_are_never_too_narrow_for_a_form() {
        assert_eq!(split(1172.0, 0.5), Some([580.0, 580.0]));
        assert_eq!(split(971.0, 0.5), None);
        for width in (972..3000).step_by(7) {
            let [first, second] = split(width as f32, 0.5).unwrap_or_default();
            assert!(first % 4.0 == 0.0 && second >= COLUMN_MIN, "{width}: {first} and {second}");
            assert_eq!(first + COLUMN_GAP + second, width as f32);
        }
        assert_eq!([687.0, 1052.0, 1692.0].map(|width| count(width, 640.0, 2)), [1, 1, 2]);
        assert_eq!(count(100.0, 640.0, 2), 1);
    }

    #[test]
    fn the_rail_grows_with_the_window_within_bounds() {
        assert_eq!([1140.0, 1280.0, 1920.0, 3840.0].map(rail), [RAIL_WIDTH, RAIL_WIDTH, 536.0, RAIL_MOST]);
    }

    #[test]
    fn a_list_is_broken_where_both_columns_are_alike() {
        assert_eq!(middle(&[3, 3, 6]), 2);
        assert_eq!(middle(&[9, 1, 1]), 1);
        assert_eq!(middle(&[]), 0);
    }
}
