//! Noise that is not white.

/// Adds ever coarser noise to that of one sample, `[channels, height, width]`, and scales the sum to unit deviation:
/// large shapes and brightness can then be learned. Whitaker 2023; numbers as in kohya's multires noise.
///
/// Layer `i` has `r^i` times fewer pixels along an edge, with `r` between 2 and 4 drawn anew from `uniform` in [0, 1), is
/// enlarged bilinearly and counts `discount^i`. `normals` gives so many unit normal numbers.
pub fn pyramid_noise(
    noise: &mut [f32],
    [channels, height, width]: [usize; 3],
    iterations: u32,
    discount: f64,
    uniform: &mut dyn FnMut() -> f64,
    normals: &mut dyn FnMut(usize) -> Vec<f32>,
) {
    for i in 0..iterations {
        let shrink = (2.0 + 2.0 * uniform()).powi(i as i32);
        let small = [height, width].map(|side| ((side as f64 / shrink) as usize).max(1));
        let layer = normals(channels * small[0] * small[1]);
        let weight = discount.powi(i as i32);
        let planes = layer.chunks_exact(small[0] * small[1]);
        for (plane, out) in planes.zip(noise.chunks_exact_mut((height * width).max(1))) {
            for (y, row) in out.chunks_exact_mut(width).enumerate() {
                let (above, below, down) = between(y, small[0], height);
                for (x, value) in row.iter_mut().enumerate() {
                    let (left, right, across) = between(x, small[1], width);
                    let line = |y: usize| {
                        let [from, to] = [left, right].map(|x| f64::from(plane[y * small[1] + x]));
                        from + (to - from) * across
                    };
                    let (top, bottom) = (line(above), line(below));
                    *value += (weight * (top + (bottom - top) * down)) as f32;
                }
            }
        }
        if small.contains(&1) {
            break;
        }
    }
    let n = noise.len() as f64;
    let mean = noise.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    let variance = noise.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    if variance > 0.0 {
        noise.iter_mut().for_each(|v| *v = (f64::from(*v) / variance.sqrt()) as f32);
    }
}

/// The two pixels of `small` that pixel `at` of `large` lies between by its middle, and how far toward the second.
fn between(at: usize, small: usize, large: usize) -> (usize, usize, f64) {
    let place = ((at as f64 + 0.5) * small as f64 / large as f64 - 0.5).max(0.0);
    let first = (place as usize).min(small - 1);
    (first, (first + 1).min(small - 1), place - first as f64)
}
