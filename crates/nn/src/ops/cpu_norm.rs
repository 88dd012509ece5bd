//! Normalisations on the CPU: each number is read once forward and once backward, but for statistics that stay in the
//! cache. Statistics are computed anew in the backward, so that nothing is kept but the input.

use rayon::prelude::*;

use super::pool;
use super::vector::{LANES, sigmoid, wide};

/// Numbers whose sums are kept in f32 before they go into an f64.
const SUM: usize = 4096;
/// Numbers of the rows that are one task.
const TASK: usize = 1 << 14;

/// `x` `[b, channels, pixels]`; `weight` and `bias` `[channels]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub(super) channels: usize,
    pub(super) groups: usize,
    pub(super) pixels: usize,
    pub(super) epsilon: f64,
    /// Followed by `x * sigmoid(x)`.
    pub(super) silu: bool,
}

impl Groups {
    /// Channels of a group.
    fn wide(&self) -> usize {
        self.channels / self.groups
    }

    /// Of each channel of a group what `x` is multiplied by and what is added.
    fn affine(&self, group: usize, [mean, scale]: [f32; 2], weight: &[f32], bias: &[f32]) -> Vec<[f32; 2]> {
        let first = group % self.groups * self.wide();
        let channels = weight[first..].iter().zip(&bias[first..]).take(self.wide());
        channels.map(|(weight, bias)| [weight * scale, bias - mean * weight * scale]).collect()
    }
}

/// Wu and He 2018, and SiLU if wanted.
pub(super) fn group_norm(groups: &Groups, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut y = pool::take(x.len());
    let slab = groups.wide() * groups.pixels;
    y.par_chunks_mut(slab).zip(x.par_chunks(slab)).enumerate().for_each(|(group, (y, x))| {
        let affine = groups.affine(group, statistics(x, groups.epsilon), weight, bias);
        let planes = y.chunks_exact_mut(groups.pixels).zip(x.chunks_exact(groups.pixels)).zip(affine);
        for ((y, x), [factor, add]) in planes {
            wide(
                #[inline(always)]
                || {
                    if groups.silu {
                        y.iter_mut().zip(x).for_each(|(y, x)| {
                            let z = x * factor + add;
                            *y = z * sigmoid(z);
                        });
                    } else {
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = x * factor + add);
                    }
                },
            );
        }
    });
    y
}

/// The gradient of x. With n = (x - mean) / deviation and g = dy w (times the slope of SiLU): (g - mean(g) -
/// n mean(g n)) / deviation.
pub(super) fn group_norm_backward(groups: &Groups, x: &[f32], weight: &[f32], bias: &[f32], dy: &[f32]) -> Vec<f32> {
    let mut dx = pool::take(x.len());
    let slab = groups.wide() * groups.pixels;
    let slabs = dx.par_chunks_mut(slab).zip(x.par_chunks(slab)).zip(dy.par_chunks(slab));
    slabs.enumerate().for_each(|(group, ((dx, x), dy))| {
        let [mean, scale] = statistics(x, groups.epsilon);
        let affine = groups.affine(group, [mean, scale], weight, bias);
        let first = group % groups.groups * groups.wide();
        let pixels = groups.pixels;
        let mut sums = [0.0f64; 2];
        for (channel, [factor, add]) in affine.into_iter().enumerate() {
            let weight = weight[first + channel];
            let plane = channel * pixels..(channel + 1) * pixels;
            let parts = dx[plane.clone()].chunks_mut(SUM).zip(x[plane.clone()].chunks(SUM)).zip(dy[plane].chunks(SUM));
            for ((dx, x), dy) in parts {
                wide(
                    #[inline(always)]
                    || {
                        if groups.silu {
                            for ((dx, x), dy) in dx.iter_mut().zip(x).zip(dy) {
                                let z = x * factor + add;
                                let s = sigmoid(z);
                                *dx = dy * weight * (s + z * s * (1.0 - s));
                            }
                        } else {
                            dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = dy * weight);
                        }
                    },
                );
                let [sum, product] = sums_of(dx, x, mean, scale);
                sums = [sums[0] + sum, sums[1] + product];
            }
        }
        let [mean_g, mean_gn] = sums.map(|sum| (sum / x.len() as f64) as f32);
        finish(dx, x, mean, scale, [mean_g, mean_gn]);
    });
    dx
}

/// Rows of `width` numbers; row i is scaled and shifted by row `i / per_scale` of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    pub(super) width: usize,
    pub(super) per_scale: usize,
    pub(super) epsilon: f64,
}

impl Rows {
    fn per_task(&self) -> usize {
        (TASK / self.width).max(1)
    }
}

/// `scale (x - mean) / deviation + shift` (Ba, Kiros and Hinton 2016). `scale` and `shift` `[rows / per_scale, width]`.
pub(super) fn layer_norm(rows: &Rows, x: &[f32], scale: &[f32], shift: &[f32]) -> Vec<f32> {
    let (width, per_task) = (rows.width, rows.per_task());
    let mut y = pool::take(x.len());
    y.par_chunks_mut(width * per_task).zip(x.par_chunks(width * per_task)).enumerate().for_each(|(task, (y, x))| {
        for (i, (y, x)) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate() {
            let at = (task * per_task + i) / rows.per_scale * width;
            let (scale, shift) = (&scale[at..at + width], &shift[at..at + width]);
            let [mean, deviation] = statistics(x, rows.epsilon);
            wide(
                #[inline(always)]
                || {
                    for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                        *y = (x - mean) * deviation * scale + shift;
                    }
                },
            );
        }
    });
    y
}

/// Gradients of x and, if `affine`, of scale and shift, which are else empty.
pub(super) fn layer_norm_backward(rows: &Rows, x: &[f32], scale: &[f32], dy: &[f32], affine: bool) -> [Vec<f32>; 3] {
    let width = rows.width;
    // Tasks end where another row of the scale begins.
    let per_scale = rows.per_scale.min(x.len() / width);
    let per_task = if affine { rows.per_task().min(per_scale) } else { rows.per_task() };
    let scales = x.len() / (width * per_scale).max(1);
    let mut dx = pool::take(x.len());
    let backward = |first: usize, dx: &mut [f32], x: &[f32], dy: &[f32], sums: &mut [f32]| {
        for (i, ((dx, x), dy)) in
            dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width)).enumerate()
        {
            let at = (first + i) / rows.per_scale * width;
            let scale = &scale[at..at + width];
            let [mean, deviation] = statistics(x, rows.epsilon);
            dx.iter_mut().zip(dy).zip(scale).for_each(|((dx, dy), scale)| *dx = dy * scale);
            let means = sums_of(dx, x, mean, deviation).map(|sum| (sum / width as f64) as f32);
            finish(dx, x, mean, deviation, means);
            if affine {
                let (d_scale, d_shift) = sums.split_at_mut(width);
                wide(
                    #[inline(always)]
                    || {
                        for (((d_scale, d_shift), x), dy) in d_scale.iter_mut().zip(&mut *d_shift).zip(x).zip(dy) {
                            *d_scale += (x - mean) * deviation * dy;
                            *d_shift += dy;
                        }
                    },
                );
            }
        }
    };
    let mut sums = vec![0.0; if affine { 2 * scales * width } else { 0 }];
    if affine {
        let per_row = width * per_scale;
        let tasks: Vec<(usize, Vec<f32>)> = dx
            .par_chunks_mut(per_row)
            .zip(x.par_chunks(per_row).zip(dy.par_chunks(per_row)))
            .enumerate()
            .flat_map(|(row, (dx, (x, dy)))| {
                let parts = dx.par_chunks_mut(width * per_task).zip(x.par_chunks(width * per_task));
                parts.zip(dy.par_chunks(width * per_task)).map(move |((dx, x), dy)| {
                    let mut sums = vec![0.0; 2 * width];
                    backward(row * per_scale, dx, x, dy, &mut sums);
                    (row, sums)
                })
            })
            .collect();
        for (row, part) in tasks {
            let (d_scale, d_shift) = sums.split_at_mut(scales * width);
            let to = d_scale[row * width..][..width].iter_mut().chain(&mut d_shift[row * width..][..width]);
            to.zip(part).for_each(|(sum, part)| *sum += part);
        }
    } else {
        let parts = dx.par_chunks_mut(width * per_task).zip(x.par_chunks(width * per_task));
        parts.zip(dy.par_chunks(width * per_task)).enumerate().for_each(|(task, ((dx, x), dy))| {
            backward(task * per_task, dx, x, dy, &mut []);
        });
    }
    let d_shift = sums.split_off(sums.len() / 2);
    [dx, sums, d_shift]
}

/// `weight x / sqrt(mean(x^2) + epsilon)` (Zhang and Sennrich 2019), for rows that start anywhere in `x`.
pub(super) fn rms_norm(rows: &Rows, x: &[f32], starts: &[usize], weight: &[f32]) -> Vec<f32> {
    let (width, per_task) = (rows.width, rows.per_task());
    let mut y = pool::take(starts.len() * width);
    y.par_chunks_mut(width * per_task).zip(starts.par_chunks(per_task)).for_each(|(y, starts)| {
        for (y, start) in y.chunks_exact_mut(width).zip(starts) {
            let x = &x[*start..start + width];
            let scale = root(x, rows.epsilon);
            y.iter_mut().zip(x).zip(weight).for_each(|((y, x), weight)| *y = x * scale * weight);
        }
    });
    y
}

/// The gradient of x. With r = 1 / sqrt(mean(x^2) + epsilon) and g = dy w: r (g - x r^2 mean(g x)).
pub(super) fn rms_norm_backward(rows: &Rows, x: &[f32], starts: &[usize], weight: &[f32], dy: &[f32]) -> Vec<f32> {
    let (width, per_task) = (rows.width, rows.per_task());
    let mut dx = pool::take(dy.len());
    let tasks =
        dx.par_chunks_mut(width * per_task).zip(dy.par_chunks(width * per_task)).zip(starts.par_chunks(per_task));
    tasks.for_each(|((dx, dy), starts)| {
        for ((dx, dy), start) in dx.chunks_exact_mut(width).zip(dy.chunks_exact(width)).zip(starts) {
            let x = &x[*start..start + width];
            let scale = root(x, rows.epsilon);
            dx.iter_mut().zip(dy).zip(weight).for_each(|((dx, dy), weight)| *dx = dy * weight);
            let [_, product] = sums_of(dx, x, 0.0, scale);
            finish(dx, x, 0.0, scale, [0.0, (product / width as f64) as f32]);
        }
    });
    dx
}

fn root(x: &[f32], epsilon: f64) -> f32 {
    let [_, square] = moments(x, 0.0);
    (square / x.len() as f64 + epsilon).sqrt().recip() as f32
}

/// Mean, and one over the root of variance and epsilon.
fn statistics(x: &[f32], epsilon: f64) -> [f32; 2] {
    let n = x.len() as f64;
    let mean = moments(x, 0.0)[0] / n;
    // What the mean lost by rounding to f32 is taken back.
    let [rest, square] = moments(x, mean as f32);
    let variance = square / n - (rest / n).powi(2);
    [mean as f32, (variance + epsilon).sqrt().recip() as f32]
}

/// Sums of `x - shift` and of its squares.
fn moments(x: &[f32], shift: f32) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for x in x.chunks(SUM) {
        wide(
            #[inline(always)]
            || {
                let mut lanes = [[0.0f32; LANES]; 2];
                let (chunks, rest) = x.as_chunks::<LANES>();
                for chunk in chunks {
                    for i in 0..LANES {
                        let x = chunk[i] - shift;
                        lanes[0][i] += x;
                        lanes[1][i] += x * x;
                    }
                }
                for (sum, lanes) in sums.iter_mut().zip(lanes) {
                    *sum += lanes.into_iter().map(f64::from).sum::<f64>();
                }
                for x in rest {
                    let x = f64::from(x - shift);
                    sums[0] += x;
                    sums[1] += x * x;
                }
            },
        );
    }
    sums
}

/// Sums of g and of `g (x - mean) scale`.
fn sums_of(g: &[f32], x: &[f32], mean: f32, scale: f32) -> [f64; 2] {
    wide(
        #[inline(always)]
        || {
            let mut lanes = [[0.0f32; LANES]; 2];
            let (chunks, rest) = g.as_chunks::<LANES>();
            let (x_chunks, x_rest) = x.as_chunks::<LANES>();
            for (g, x) in chunks.iter().zip(x_chunks) {
                for i in 0..LANES {
                    lanes[0][i] += g[i];
                    lanes[1][i] += g[i] * ((x[i] - mean) * scale);
                }
            }
            let mut sums = lanes.map(|lanes| lanes.into_iter().map(f64::from).sum());
            for (g, x) in rest.iter().zip(x_rest) {
                sums[0] += f64::from(*g);
                sums[1] += f64::from(*g) * f64::from((x - mean) * scale);
            }
            sums
        },
    )
}

/// `g` becomes `scale (g - mean_g - n mean_gn)`, n being `(x - mean) scale`.
fn finish(g: &mut [f32], x: &[f32], mean: f32, scale: f32, [mean_g, mean_gn]: [f32; 2]) {
    wide(
        #[inline(always)]
        || {
            for (g, x) in g.iter_mut().zip(x) {
                *g = scale * (*g - mean_g - (x - mean) * scale * mean_gn);
            }
        },
    );
}
