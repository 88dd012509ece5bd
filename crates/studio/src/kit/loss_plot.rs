//! Loss by step: raw values faint, the average over them, validation as points, saves as ticks.

use egui::Ui;
use egui_plot::{AxisHints, GridMark, Line, LineStyle, MarkerShape, Plot, PlotPoints, Points, VLine};

use super::Tokens;
use crate::format;
use crate::overlay::Overlay;
use crate::state::State;
use crate::texts;

/// `log`: losses as powers of ten.
/// Drag to move, Ctrl and the wheel or a drag with the right button to zoom, a double click for all of it again.
pub(crate) fn show(ui: &mut Ui, state: &State, overlays: &[Overlay], height: f32, log: bool) -> egui::Rect {
    let t = Tokens::get(ui);
    let y = |loss: f32| if log { f64::from(loss.max(1e-8)).log10() } else { f64::from(loss) };
    let back = move |y: f64| if log { 10f64.powf(y) as f32 } else { y as f32 };
    // A group of steps is drawn as its lowest and highest loss: at most two points a pixel.
    let points = state.losses.downsampled(ui.available_width() as usize);
    let raw: Vec<[f64; 2]> = points
        .iter()
        .flat_map(|p| {
            let x = p.step as f64;
            let both = [[x, y(p.low)], [x, y(p.high)]];
            if p.low == p.high { both[..1].to_vec() } else { both.to_vec() }
        })
        .collect();
    let smoothed: Vec<[f64; 2]> = points.iter().map(|p| [p.step as f64, y(p.smoothed)]).collect();
    let validation: Vec<[f64; 2]> =
        state.validation.iter().filter(|v| v.loss.is_finite()).map(|v| [v.step as f64, y(v.loss)]).collect();
    let (_, drawn_at) = state.sample_grid();
    let last = state.step.as_ref().map_or(1, |step| step.steps).max(1) as f64;
    let others: Vec<_> = overlays
        .iter()
        .map(|other| {
            let points = other.losses.downsampled(ui.available_width() as usize);
            let line: Vec<[f64; 2]> = points.iter().map(|p| [p.step as f64, y(p.smoothed)]).collect();
            let held: Vec<[f64; 2]> = other.validation.iter().map(|v| [v.step as f64, y(v.loss)]).collect();
            (other.name.clone(), t.curves[other.color % t.curves.len()], line, held)
        })
        .collect();
    let label = move |name: &str, x: f64, value: f64| texts::monitor::point(name, x.max(0.0) as u64, back(value));

    Plot::new("loss")
        .height(height)
        .show_background(false)
        .allow_scroll(false)
        .allow_zoom([true, false])
        .allow_drag([true, false])
        .allow_boxed_zoom(true)
        .allow_axis_zoom_drag(false)
        .allow_double_click_reset(true)
        .show_crosshair(true)
        .set_margin_fraction(egui::vec2(0.01, 0.08))
        .grid_color(t.line)
        // All lines alike: only those are asked for that carry a number.
        .grid_spacing(1.0..=2.0)
        .x_grid_spacer(|input| round_marks(input.bounds, 6, 1.0))
        .y_grid_spacer(|input| round_marks(input.bounds, 5, 0.0))
        .include_x(0.0)
        .include_x(last)
        .custom_x_axes(vec![AxisHints::new_x().label_spacing(1.0..=2.0).tick_label_color(t.mute).formatter(
            |mark, _| {
                if mark.value < 0.0 || mark.value.fract() != 0.0 {
                    String::new()
                } else {
                    format::count(mark.value as u64)
                }
            },
        )])
        .custom_y_axes(vec![
            AxisHints::new_y()
                .label_spacing(1.0..=2.0)
                .tick_label_color(t.mute)
                .min_thickness(44.0)
                .formatter(move |mark, _| format::plain(f64::from(back(mark.value)))),
        ])
        .label_formatter(move |hover| match hover {
            egui_plot::HoverPosition::NearDataPoint { plot_name, position, .. } => {
                Some(label(plot_name, position.x, position.y))
            }
            egui_plot::HoverPosition::Elsewhere { .. } => None,
        })
        .show(ui, |plot| {
            for step in &drawn_at {
                let mark = VLine::new("", *step as f64).color(t.mute.gamma_multiply(0.7)).width(1.0);
                plot.vline(mark.style(LineStyle::dotted_loose()).allow_hover(false));
            }
            for step in state.saves.keys() {
                plot.vline(
                    VLine::new("", *step as f64).color(t.mute.gamma_multiply(0.7)).width(1.0).allow_hover(false),
                );
            }
            for (name, color, line, held) in others {
                plot.line(Line::new(name.clone(), PlotPoints::from(line)).color(color).width(1.5));
                let held = Points::new(name, PlotPoints::from(held)).color(color);
                plot.points(held.radius(3.0).shape(MarkerShape::Diamond));
            }
            plot.line(
                Line::new(texts::monitor::RAW, PlotPoints::from(raw))
                    .color(t.accent.gamma_multiply(0.25))
                    .width(1.0)
                    .allow_hover(false),
            );
            plot.line(Line::new(texts::monitor::SMOOTHED, PlotPoints::from(smoothed)).color(t.accent).width(2.0));
            if !validation.is_empty() {
                plot.line(
                    Line::new(texts::monitor::VALIDATION, PlotPoints::from(validation.clone()))
                        .color(t.warn.gamma_multiply(0.6))
                        .width(1.0)
                        .allow_hover(false),
                );
                plot.points(
                    Points::new(texts::monitor::VALIDATION, PlotPoints::from(validation))
                        .color(t.warn)
                        .radius(3.5)
                        .shape(MarkerShape::Circle),
                );
            }
        })
        .response
        .rect
}

/// About `count` marks at round numbers, not closer than `least`.
fn round_marks((from, to): (f64, f64), count: u32, least: f64) -> Vec<GridMark> {
    let rough = ((to - from) / f64::from(count)).max(1e-9);
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= rough).unwrap_or(rough).max(least);
    let (first, last) = ((from / step).ceil() as i64, (to / step).floor() as i64);
    (first..=last.min(first + 50)).map(|i| GridMark { value: i as f64 * step, step_size: step }).collect()
}

/// Of a mark in the legend, with the gap to its name.
const MARK: f32 = 20.0;

/// How something looks on the plot.
enum Mark {
    Line,
    Dot,
    Upright,
    Dotted,
}

/// What the lines and marks are, in words.
pub(crate) fn legend(ui: &mut Ui, state: &State, overlays: &[Overlay]) {
    let t = Tokens::get(ui);
    let mut entries = vec![
        (texts::monitor::RAW, t.accent.gamma_multiply(0.45), Mark::Line),
        (texts::monitor::SMOOTHED, t.accent, Mark::Line),
    ];
    let color = |other: &Overlay| t.curves[other.color % t.curves.len()];
    entries.extend(overlays.iter().map(|other| (other.name.as_str(), color(other), Mark::Line)));
    if !state.validation.is_empty() {
        entries.push((texts::monitor::VALIDATION, t.warn, Mark::Dot));
    }
    if !state.saves.is_empty() {
        entries.push((texts::monitor::SAVE, t.mute, Mark::Upright));
    }
    if !state.samples.is_empty() {
        entries.push((texts::monitor::PREVIEW, t.mute, Mark::Dotted));
    }
    for (name, color, mark) in entries {
        entry(ui, name, color, mark);
    }
}

/// A mark with its name; a line is broken between entries only.
fn entry(ui: &mut Ui, name: &str, color: egui::Color32, mark: Mark) {
    let t = Tokens::get(ui);
    let small = egui::TextStyle::Small.resolve(ui.style());
    let name_in_small = ui.painter().layout_no_wrap(name.to_owned(), small, t.dim);
    let size = egui::vec2(MARK + name_in_small.size().x + 4.0, 16.0);
    let (rect, response) = ui.allocate_exact_size(size, egui::Sense::hover());
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Label, true, name));
    let painter = ui.painter();
    let middle = rect.left_center() + egui::vec2(6.0, 0.0);
    match mark {
        Mark::Line => {
            painter.hline(middle.x - 6.0..=middle.x + 6.0, middle.y, egui::Stroke::new(2.0, color));
        }
        Mark::Dot => {
            painter.circle_filled(middle, 3.5, color);
        }
        Mark::Upright => {
            painter.vline(middle.x, middle.y - 6.0..=middle.y + 6.0, egui::Stroke::new(1.0, color));
        }
        Mark::Dotted => [-4.0, 0.0, 4.0].iter().for_each(|y| {
            painter.circle_filled(middle + egui::vec2(0.0, *y), 1.0, color);
        }),
    }
    let at = rect.left_center() + egui::vec2(MARK, -name_in_small.size().y / 2.0);
    painter.galley(at, name_in_small, t.dim);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_few() {
        let values =
            |bounds, least| round_marks(bounds, 5, least).into_iter().map(|mark| mark.value).collect::<Vec<_>>();
        assert_eq!(values((0.0, 400.0), 1.0), [0.0, 100.0, 200.0, 300.0, 400.0]);
        assert_eq!(values((0.0, 3.0), 1.0), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(values((0.0, 0.0), 0.0).len(), 1);
    }
}
