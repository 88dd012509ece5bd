//! The losses of a run as a picture.

use std::path::Path;
use std::{fs, io};

use image::{ImageError, Rgb};
use serde_json::Value;

use super::canvas::{Align, Canvas, Colour};

const SIZE: (u32, u32) = (960, 540);
/// Left, top, right, bottom of the axes.
const FRAME: (f32, f32, f32, f32) = (72.0, 48.0, 936.0, 492.0);
const INK: Colour = Rgb([28, 25, 23]);
const MUTE: Colour = Rgb([120, 113, 108]);
const GRID: Colour = Rgb([231, 229, 228]);
const RAW: Colour = Rgb([20, 150, 130]);
const HELD_OUT: Colour = Rgb([214, 84, 40]);

type Series = Vec<(f64, f64)>;

/// What `metrics.jsonl` holds.
#[derive(Debug, Default, PartialEq)]
struct Losses {
    raw: Series,
    smoothed: Series,
    validation: Series,
}

/// Draws the plot. `false` if there is nothing to draw.
pub(crate) fn draw(metrics: &Path, to: &Path) -> Result<bool, ImageError> {
    let losses = read(&fs::read_to_string(metrics).or_else(missing_is_empty)?);
    if losses.raw.is_empty() {
        return Ok(false);
    }
    picture(&losses).picture.save(to)?;
    Ok(true)
}

fn missing_is_empty(error: io::Error) -> io::Result<String> {
    if error.kind() == io::ErrorKind::NotFound { Ok(String::new()) } else { Err(error) }
}

fn read(text: &str) -> Losses {
    let mut losses = Losses::default();
    for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let number = |key: &str| line[key].as_f64();
        let Some(step) = number("step") else { continue };
        for (key, series) in
            [("loss", &mut losses.raw), ("smoothed", &mut losses.smoothed), ("validation_loss", &mut losses.validation)]
        {
            series.extend(number(key).map(|loss| (step, loss)));
        }
    }
    losses
}

fn picture(losses: &Losses) -> Canvas {
    let all = || [&losses.raw, &losses.smoothed, &losses.validation].into_iter().flatten();
    let steps = all().map(|point| point.0).fold(1.0, f64::max);
    let mut sorted: Vec<f64> = losses.raw.iter().map(|point| point.1).collect();
    sorted.sort_by(f64::total_cmp);
    // In a long run a few spikes would press everything else flat.
    let spikes = if sorted.len() < 100 { 0 } else { sorted.len() / 50 };
    let usual = sorted[sorted.len() - 1 - spikes];
    let high = losses.smoothed.iter().chain(&losses.validation).map(|point| point.1).fold(usual, f64::max);
    let tick = nice(high / 6.0);
    let top = (high * 1.05 / tick).ceil() * tick;

    let (left, upper, right, lower) = FRAME;
    let place = |(step, loss): (f64, f64)| {
        let x = left + (right - left) * (step / steps) as f32;
        (x, lower - (lower - upper) * (loss / top).clamp(0.0, 1.0) as f32)
    };
    let mut canvas = Canvas::new(SIZE.0, SIZE.1, Rgb([255, 255, 255]));
    let decimals = (-tick.log10().floor()).clamp(0.0, 8.0) as usize;
    let mut loss = 0.0;
    while loss <= top * 1.0001 {
        let (_, y) = place((0.0, loss));
        canvas.line((left, y), (right, y), 1.0, GRID, 1.0);
        canvas.words(&format!("{loss:.decimals$}"), left - 10.0, y + 5.0, 14.0, Align::Right, MUTE);
        loss += tick;
    }
    let every = nice(steps / 8.0).max(1.0);
    let mut step = 0.0;
    while step <= steps {
        let (x, _) = place((step, 0.0));
        canvas.line((x, lower), (x, lower + 5.0), 1.0, MUTE, 1.0);
        canvas.words(&format!("{step:.0}"), x, lower + 22.0, 14.0, Align::Centre, MUTE);
        step += every;
    }
    canvas.words("step", right, lower + 42.0, 14.0, Align::Right, MUTE);

    let mut series = |points: &Series, thick: f32, colour: Colour, strength: f32| {
        for pair in points.windows(2) {
            canvas.line(place(pair[0]), place(pair[1]), thick, colour, strength);
        }
    };
    series(&losses.raw, 1.0, RAW, 0.35);
    series(&losses.smoothed, 2.5, RAW, 1.0);
    series(&losses.validation, 2.5, HELD_OUT, 1.0);
    for point in &losses.validation {
        let (x, y) = place(*point);
        canvas.rectangle(x as i64 - 3, y as i64 - 3, 7, 7, HELD_OUT);
    }
    legend(&mut canvas, !losses.validation.is_empty());
    canvas
}

fn legend(canvas: &mut Canvas, validation: bool) {
    canvas.words("Loss", FRAME.0, 30.0, 20.0, Align::Left, INK);
    let entries = [("each step", RAW, 0.35), ("smoothed", RAW, 1.0), ("held-out pictures", HELD_OUT, 1.0)];
    let mut x = 560.0;
    for (name, colour, strength) in entries.into_iter().take(if validation { 3 } else { 2 }) {
        canvas.line((x, 25.0), (x + 22.0, 25.0), 3.0, colour, strength);
        canvas.words(name, x + 30.0, 30.0, 14.0, Align::Left, MUTE);
        x += 120.0;
    }
}

/// 1, 2 or 5 times a power of ten, at least `at_least`.
fn nice(at_least: f64) -> f64 {
    if !at_least.is_finite() || at_least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(at_least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|tick| *tick >= at_least).unwrap_or(power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_read_whatever_is_cut_short() {
        let text =
            "{\"step\":1,\"loss\":0.5,\"smoothed\":0.6}\n{\"step\":1,\"validation_loss\":0.25}\n{\"step\":2,\"los";
        let losses = Losses { raw: vec![(1.0, 0.5)], smoothed: vec![(1.0, 0.6)], validation: vec![(1.0, 0.25)] };
        assert_eq!(read(text), losses);
    }

    #[test]
    fn a_falling_loss_is_drawn_falling() {
        let raw: Series = (0..=100).map(|step| (f64::from(step), 1.0 - f64::from(step) / 200.0)).collect();
        let canvas = picture(&Losses { smoothed: raw.clone(), raw, validation: Vec::new() });
        let height_at = |x: u32| (50..490).find(|y| canvas.picture.get_pixel(x, *y).0 == RAW.0).unwrap();
        assert!(height_at(200) + 50 < height_at(800));
    }

    #[test]
    fn nothing_to_draw_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        let plot = folder.path().join("loss.png");
        assert!(!draw(&folder.path().join("metrics.jsonl"), &plot).unwrap());
        assert!(!plot.exists());
        fs::write(folder.path().join("metrics.jsonl"), "{\"step\":1,\"loss\":0.5}\n").unwrap();
        assert!(draw(&folder.path().join("metrics.jsonl"), &plot).unwrap());
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(nice(0.013), 0.02);
        assert_eq!(nice(0.02), 0.02);
        assert_eq!(nice(3.0), 5.0);
        assert_eq!(nice(0.0), 1.0);
    }
}
