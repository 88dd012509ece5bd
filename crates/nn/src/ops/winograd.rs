//! Convolution with a 3 x 3 kernel and stride 1 by Winograd's F(4x4, 3x3) (Lavin and Gray 2016): tiles of 4 x 4 outputs
//! are made of 36 products instead of 144.
//!
//! The input's tiles are transformed for a few hundred tiles at once; then, for each block of output channels, the
//! kernel's transform, 36 matrix products and the transform back stay in the cache of one processor.

use rayon::prelude::*;

use super::cpu_conv::{Kernel, Sizes};
use super::pool;
use super::product::{View, product};
use super::scratch::with_scratch;
use super::vector::wide;

/// Outputs of a tile along each axis, inputs that it needs, and the numbers of a transformed tile.
const OUT: usize = 4;
const IN: usize = 6;
const POINTS: usize = IN * IN;
/// Tiles transformed at once, at most, unless one row of tiles has more.
const TILES: usize = 256;
/// With fewer tiles the products run along the channels.
const FEW_TILES: usize = 48;
/// Numbers between transformed kernels, so that the same place in each does not fall onto the same lines of the cache.
const PAD: usize = 64;

/// Whether this way is faster than by columns, as measured: below 64 channels its transforms cost what they save, and with
/// a handful of tiles the kernel's transform does.
pub(super) fn pays(sizes: &Sizes) -> bool {
    let [height, width] = sizes.out();
    let tiles = sizes.batch * height.div_ceil(OUT) * width.div_ceil(OUT);
    sizes.inputs.min(sizes.outputs) >= 64 && tiles > 8
}

/// For a kernel of 3 x 3 and stride 1.
pub(super) fn convolve(sizes: Sizes, x: &[f32], kernel: Kernel, bias: Option<&[f32]>) -> Vec<f32> {
    let [height, width] = sizes.out();
    let mut y = pool::take(sizes.batch * sizes.outputs * height * width);
    let columns = width.div_ceil(OUT);
    let rows = height.div_ceil(OUT);
    let all_rows = sizes.batch * rows;
    let at_once = (TILES / columns).clamp(1, all_rows);
    // A little longer than the tiles, so that rows do not fall onto the same lines of the cache.
    let tiles_row = (at_once * columns).next_multiple_of(16) + if at_once * columns > 64 { 16 } else { 0 };
    let mut transformed = vec![0.0; POINTS * sizes.inputs * tiles_row];
    for first in (0..all_rows).step_by(at_once) {
        let chunk = Chunk { sizes, rows: first..(first + at_once).min(all_rows), per_image: rows, columns, tiles_row };
        chunk.transform_input(x, &mut transformed);
        chunk.multiply(&transformed, kernel, bias, &mut y);
    }
    y
}

/// Some rows of tiles, counted over the images of the batch.
struct Chunk {
    sizes: Sizes,
    rows: std::ops::Range<usize>,
    per_image: usize,
    columns: usize,
    /// Numbers from one channel's tiles to the next.
    tiles_row: usize,
}

impl Chunk {
    fn tiles(&self) -> usize {
        self.rows.len() * self.columns
    }

    /// `out` `[36, inputs, tiles_row]`.
    fn transform_input(&self, x: &[f32], out: &mut [f32]) {
        let Sizes { inputs, height, width, padding, .. } = self.sizes;
        let per_task = inputs.div_ceil(4 * rayon::current_num_threads()).clamp(1, 16);
        let mut parts: Vec<Vec<&mut [f32]>> = (0..inputs.div_ceil(per_task)).map(|_| Vec::new()).collect();
        for point in out.chunks_mut(inputs * self.tiles_row) {
            for (part, slice) in parts.iter_mut().zip(point.chunks_mut(per_task * self.tiles_row)) {
                part.push(slice);
            }
        }
        let (columns, tiles) = (self.columns, self.tiles());
        parts.into_par_iter().enumerate().for_each(|(part, mut out)| {
            let padded = OUT * columns + IN - OUT;
            with_scratch(padded + POINTS * tiles, |scratch| {
                let (line, half) = scratch.split_at_mut(padded);
                for channel in 0..out[0].len() / self.tiles_row {
                    let c = part * per_task + channel;
                    for (row, global) in self.rows.clone().enumerate() {
                        let (image, row_of_image) = (global / self.per_image, global % self.per_image);
                        let plane = &x[(image * inputs + c) * height * width..][..height * width];
                        for i in 0..IN {
                            let place = (i * IN * tiles) + row * columns;
                            let y = (OUT * row_of_image + i).wrapping_sub(padding);
                            line.fill(0.0);
                            if y < height {
                                let end = (padding + width).min(padded);
                                line[padding..end].copy_from_slice(&plane[y * width..][..end - padding]);
                            }
                            let mut lines = half[place..].chunks_mut(tiles);
                            let lines: [&mut [f32]; IN] =
                                std::array::from_fn(|_| &mut lines.next().unwrap_or_default()[..columns]);
                            input_line(line, lines);
                        }
                    }
                    for j in 0..IN {
                        let from: [&[f32]; IN] = std::array::from_fn(|i| &half[(i * IN + j) * tiles..][..tiles]);
                        let range = channel * self.tiles_row..channel * self.tiles_row + tiles;
                        let mut points = out.iter_mut().skip(j).step_by(IN);
                        let to: [&mut [f32]; IN] = std::array::from_fn(|_| {
                            &mut points.next().map(|p| &mut **p).unwrap_or_default()[range.clone()]
                        });
                        input_lines(from, to);
                    }
                }
            });
        });
    }

    fn multiply(&self, transformed: &[f32], kernel: Kernel, bias: Option<&[f32]>, y: &mut [f32]) {
        let Sizes { inputs, outputs, .. } = self.sizes;
        let [height, width] = self.sizes.out();
        let tiles = self.tiles();
        // Output channels of a part: as many parts for each thread.
        let few = tiles <= FEW_TILES;
        let (depth, largest) = if few { (32, 192) } else { (128, 96) };
        let threads = rayon::current_num_threads();
        let block = outputs.div_ceil(threads * outputs.div_ceil(threads * largest)).next_multiple_of(16);
        let mut parts: Vec<Vec<&mut [f32]>> = (0..outputs.div_ceil(block)).map(|_| Vec::new()).collect();
        for image in y.chunks_mut(outputs * height * width) {
            for (part, slice) in parts.iter_mut().zip(image.chunks_mut(block * height * width)) {
                part.push(slice);
            }
        }
        parts.into_par_iter().enumerate().for_each(|(part, mut y)| {
            let first = part * block;
            let n = block.min(outputs - first);
            let point_length = depth.min(inputs) * n + PAD;
            with_scratch(POINTS * (point_length + n * tiles), |scratch| {
                let (weights, products) = scratch.split_at_mut(POINTS * point_length);
                for start in (0..inputs).step_by(depth) {
                    let count = depth.min(inputs - start);
                    transform_kernel(kernel, start..start + count, first..first + n, point_length, weights);
                    for (point, out) in products.chunks_exact_mut(n * tiles).enumerate() {
                        let weights = &weights[point * point_length..][..count * n];
                        // [count, n]
                        let weights = match kernel.turned {
                            true => View::dense(weights, count).transposed(),
                            false => View::dense(weights, n),
                        };
                        let x = View::dense(&transformed[(point * inputs + start) * self.tiles_row..], self.tiles_row);
                        if few {
                            product(out, [tiles, count, n], start > 0, 1.0, x.transposed(), weights);
                        } else {
                            product(out, [n, count, tiles], start > 0, 1.0, weights.transposed(), x);
                        }
                    }
                }
                match few {
                    true => self.output_by_channels(products, n, bias.map(|b| &b[first..first + n]), &mut y),
                    false => self.output_by_tiles(products, n, bias.map(|b| &b[first..first + n]), &mut y),
                }
            });
        });
    }

    /// `products` `[36, n, tiles]`.
    fn output_by_tiles(&self, products: &[f32], n: usize, bias: Option<&[f32]>, y: &mut [&mut [f32]]) {
        let [height, width] = self.sizes.out();
        let (columns, tiles) = (self.columns, self.tiles());
        let mut half = vec![0.0; OUT * IN * columns];
        let mut line = vec![0.0; OUT * columns];
        for channel in 0..n {
            let bias = bias.map_or(0.0, |b| b[channel]);
            for (row, global) in self.rows.clone().enumerate() {
                let (image, row_of_image) = (global / self.per_image, global % self.per_image);
                let plane = &mut y[image][channel * height * width..][..height * width];
                for j in 0..IN {
                    let from: [&[f32]; IN] = std::array::from_fn(|i| {
                        &products[((i * IN + j) * n + channel) * tiles + row * columns..][..columns]
                    });
                    let mut lines = half[j * columns..].chunks_mut(IN * columns);
                    let to: [&mut [f32]; OUT] =
                        std::array::from_fn(|_| &mut lines.next().unwrap_or_default()[..columns]);
                    output_lines(from, to);
                }
                for i in 0..OUT.min(height - OUT * row_of_image) {
                    let from: [&[f32]; IN] = std::array::from_fn(|j| &half[(i * IN + j) * columns..][..columns]);
                    output_line(from, bias, &mut line);
                    plane[(OUT * row_of_image + i) * width..][..width].copy_from_slice(&line[..width]);
                }
            }
        }
    }

    /// `products` `[36, tiles, n]`.
    fn output_by_channels(&self, products: &[f32], n: usize, bias: Option<&[f32]>, y: &mut [&mut [f32]]) {
        let [height, width] = self.sizes.out();
        let (columns, tiles) = (self.columns, self.tiles());
        let mut half = vec![0.0; OUT * IN * n];
        let mut out = vec![0.0; OUT * OUT * n];
        for tile in 0..tiles {
            let (global, column) = (self.rows.start + tile / columns, tile % columns);
            let (image, row) = (global / self.per_image, global % self.per_image);
            for j in 0..IN {
                let from: [&[f32]; IN] = std::array::from_fn(|i| &products[((i * IN + j) * tiles + tile) * n..][..n]);
                let mut lines = half[j * n..].chunks_mut(IN * n);
                let to: [&mut [f32]; OUT] = std::array::from_fn(|_| &mut lines.next().unwrap_or_default()[..n]);
                output_lines(from, to);
            }
            for i in 0..OUT {
                let from: [&[f32]; IN] = std::array::from_fn(|j| &half[(i * IN + j) * n..][..n]);
                let mut lines = out[i * OUT * n..].chunks_mut(n);
                let to: [&mut [f32]; OUT] = std::array::from_fn(|_| lines.next().unwrap_or_default());
                output_lines(from, to);
            }
            let rows = OUT.min(height - OUT * row);
            let across = OUT.min(width - OUT * column);
            for channel in 0..n {
                let bias = bias.map_or(0.0, |b| b[channel]);
                for i in 0..rows {
                    let place = (channel * height + OUT * row + i) * width + OUT * column;
                    for (j, value) in y[image][place..place + across].iter_mut().enumerate() {
                        *value = out[(i * OUT + j) * n + channel] + bias;
                    }
                }
            }
        }
    }
}

/// `out` `[36, inputs, outputs]`, or `[36, outputs, inputs]` if the kernel is turned, of the channels named.
fn transform_kernel(
    kernel: Kernel,
    inputs: std::ops::Range<usize>,
    outputs: std::ops::Range<usize>,
    point_length: usize,
    out: &mut [f32],
) {
    let [a, b] = kernel.shape;
    let (rows, row) = if kernel.turned { (outputs, inputs) } else { (inputs, outputs) };
    let length = row.len();
    let mut half = vec![0.0; IN * 3 * length];
    for (index, i) in rows.enumerate() {
        let tap = |y: usize, x: usize| {
            let (y, x) = if kernel.turned { (2 - y, 2 - x) } else { (y, x) };
            &kernel.data[((y * 3 + x) * a + i) * b..][row.clone()]
        };
        for x in 0..3 {
            let mut lines = half[x * length..].chunks_mut(3 * length);
            let to: [&mut [f32]; IN] = std::array::from_fn(|_| &mut lines.next().unwrap_or_default()[..length]);
            kernel_lines([tap(0, x), tap(1, x), tap(2, x)], to);
        }
        for i in 0..IN {
            let from = [0, 1, 2].map(|x| &half[(i * 3 + x) * length..][..length]);
            let mut lines = out[i * IN * point_length + index * length..].chunks_mut(point_length);
            let to: [&mut [f32]; IN] = std::array::from_fn(|_| &mut lines.next().unwrap_or_default()[..length]);
            kernel_lines(from, to);
        }
    }
}

macro_rules! vectorised {
    ($body:expr) => {
        wide(
            #[inline(always)]
            || $body,
        )
    };
}

/// `B^T d` for a row of overlapping tiles.
fn input_line(line: &[f32], to: [&mut [f32]; IN]) {
    let n = to[0].len();
    let [t0, t1, t2, t3, t4, t5] = to;
    let line = &line[..OUT * n + IN - OUT];
    vectorised!({
        let (t0, t1, t2, t3, t4, t5) =
            (&mut t0[..n], &mut t1[..n], &mut t2[..n], &mut t3[..n], &mut t4[..n], &mut t5[..n]);
        for t in 0..n {
            let d = |j: usize| line[OUT * t + j];
            let r = input_points([d(0), d(1), d(2), d(3), d(4), d(5)]);
            (t0[t], t1[t], t2[t], t3[t], t4[t], t5[t]) = (r[0], r[1], r[2], r[3], r[4], r[5]);
        }
    });
}

fn input_lines(from: [&[f32]; IN], to: [&mut [f32]; IN]) {
    let n = to[0].len();
    let [t0, t1, t2, t3, t4, t5] = to;
    vectorised!({
        let f = from.map(|f| &f[..n]);
        let (t0, t1, t2, t3, t4, t5) =
            (&mut t0[..n], &mut t1[..n], &mut t2[..n], &mut t3[..n], &mut t4[..n], &mut t5[..n]);
        for t in 0..n {
            let r = input_points([f[0][t], f[1][t], f[2][t], f[3][t], f[4][t], f[5][t]]);
            (t0[t], t1[t], t2[t], t3[t], t4[t], t5[t]) = (r[0], r[1], r[2], r[3], r[4], r[5]);
        }
    });
}

fn kernel_lines(from: [&[f32]; 3], to: [&mut [f32]; IN]) {
    let n = to[0].len();
    let [t0, t1, t2, t3, t4, t5] = to;
    vectorised!({
        let f = from.map(|f| &f[..n]);
        let (t0, t1, t2, t3, t4, t5) =
            (&mut t0[..n], &mut t1[..n], &mut t2[..n], &mut t3[..n], &mut t4[..n], &mut t5[..n]);
        for t in 0..n {
            let r = kernel_points([f[0][t], f[1][t], f[2][t]]);
            (t0[t], t1[t], t2[t], t3[t], t4[t], t5[t]) = (r[0], r[1], r[2], r[3], r[4], r[5]);
        }
    });
}

fn output_lines(from: [&[f32]; IN], to: [&mut [f32]; OUT]) {
    let n = to[0].len();
    let [t0, t1, t2, t3] = to;
    vectorised!({
        let f = from.map(|f| &f[..n]);
        let (t0, t1, t2, t3) = (&mut t0[..n], &mut t1[..n], &mut t2[..n], &mut t3[..n]);
        for t in 0..n {
            let r = outputs_of([f[0][t], f[1][t], f[2][t], f[3][t], f[4][t], f[5][t]]);
            (t0[t], t1[t], t2[t], t3[t]) = (r[0], r[1], r[2], r[3]);
        }
    });
}

fn output_line(from: [&[f32]; IN], bias: f32, to: &mut [f32]) {
    let n = to.len() / OUT;
    vectorised!({
        let f = from.map(|f| &f[..n]);
        let to = &mut to[..OUT * n];
        for t in 0..n {
            let r = outputs_of([f[0][t], f[1][t], f[2][t], f[3][t], f[4][t], f[5][t]]);
            for (j, r) in r.into_iter().enumerate() {
                to[OUT * t + j] = r + bias;
            }
        }
    });
}

/// B^T of Lavin and Gray, for the points 0, 1, -1, 2, -2 and infinity.
#[inline(always)]
fn input_points(d: [f32; IN]) -> [f32; IN] {
    let a = d[4] - 4.0 * d[2];
    let b = d[3] - 4.0 * d[1];
    let c = d[4] - d[2];
    let e = 2.0 * (d[3] - d[1]);
    [4.0 * d[0] - 5.0 * d[2] + d[4], a + b, a - b, c + e, c - e, 4.0 * d[1] - 5.0 * d[3] + d[5]]
}

/// G.
#[inline(always)]
fn kernel_points(g: [f32; 3]) -> [f32; IN] {
    let outer = (g[0] + g[2]) * (1.0 / 6.0);
    let middle = g[1] * (1.0 / 6.0);
    let far = g[0] * (1.0 / 24.0) + g[2] * (1.0 / 6.0);
    let near = g[1] * (1.0 / 12.0);
    [g[0] * 0.25, -outer - middle, middle - outer, far + near, far - near, g[2]]
}

/// A^T.
#[inline(always)]
fn outputs_of(m: [f32; IN]) -> [f32; OUT] {
    let (a, b) = (m[1] + m[2], m[1] - m[2]);
    let (c, d) = (m[3] + m[4], m[3] - m[4]);
    [m[0] + a + c, b + 2.0 * d, a + 4.0 * c, b + 8.0 * d + m[5]]
}
