use super::*;
use egui::pos2;

fn canvas() -> Canvas {
    Canvas::new((Mask::filled(64, 32, 0), None))
}

#[test]
fn strokes_are_painted_erased_and_taken_back() {
    let mut canvas = canvas();
    let brush = Brush { radius: 4.0, ..Brush::default() };
    canvas.stroke(pos2(10.0, 16.0), &brush);
    canvas.stroke(pos2(50.0, 16.0), &brush);
    canvas.last = None;
    let at = |canvas: &Canvas, x: usize, y: usize| canvas.mask.grey[y * 64 + x];
    assert_eq!((at(&canvas, 30, 16), at(&canvas, 30, 25), at(&canvas, 60, 16)), (255, 0, 0), "a line, not two dots");
    canvas.stroke(pos2(30.0, 16.0), &Brush { erase: true, ..brush });
    canvas.last = None;
    assert_eq!((at(&canvas, 30, 16), at(&canvas, 12, 16)), (0, 255));
    canvas.step(false);
    assert_eq!(at(&canvas, 30, 16), 255);
    canvas.step(false);
    assert!(canvas.learned() == 0.0 && !canvas.can_step(false), "a stroke is one step");
    canvas.step(true);
    assert_eq!(at(&canvas, 30, 16), 255);
    canvas.invert();
    assert!(!canvas.can_step(true) && at(&canvas, 30, 16) == 0);
    canvas.fill(255);
    assert_eq!(canvas.learned(), 1.0);
    canvas.stroke(pos2(-90.0, 500.0), &brush);
    assert_eq!(canvas.learned(), 1.0, "beside the canvas is nothing");
}

#[test]
fn the_canvas_is_as_large_as_the_picture_up_to_a_bound() {
    for size in [(640, 480), (6000, 4000), (1, 32_768)] {
        assert_eq!(canvas_size(size), size);
    }
    let (width, height) = canvas_size((30_000, 10_000));
    assert_eq!(width, 10_954);
    assert!(u64::from(width) * u64::from(height) <= MOST_PIXELS + u64::from(width) && height == 3652);
}

#[test]
fn a_large_canvas_is_painted_to_the_pixel_shown_small_and_taken_back_in_squares() {
    let mut seen = Mask::filled(3000, 2000, 0);
    // Finer than what is shown.
    (0..3000).step_by(2).for_each(|x| seen.grey[1500 * 3000 + x] = 255);
    let mut canvas = Canvas::new((seen.clone(), None));
    assert_eq!(canvas.shown().0, [1024, 683]);
    assert_eq!(canvas.shown().1.count(), 1024 * 683);
    canvas.stroke(pos2(700.0, 300.0), &Brush { radius: 50.0, ..Brush::default() });
    canvas.last = None;
    let radius = 50.0 * canvas.scale();
    let area = canvas.learned() * 3000.0 * 2000.0 - 1500.0;
    assert!((area / (std::f32::consts::PI * radius * radius) - 1.0).abs() < 0.01, "{area}");
    let shown = canvas.shown().1.filter(|grey| *grey == 255).count();
    assert!((7_000..9_000).contains(&shown), "as on a small canvas: {shown}");
    assert!(canvas.undo[0].len() <= 6, "only what was touched is kept");
    assert_eq!(canvas.mask.grey[1500 * 3000..1501 * 3000], seen.grey[1500 * 3000..1501 * 3000]);
    canvas.invert();
    canvas.step(false);
    canvas.step(false);
    assert_eq!(canvas.mask, seen);
    canvas.step(true);
    assert_eq!(canvas.mask.grey[300 * 3000 + 700], 255);
}
