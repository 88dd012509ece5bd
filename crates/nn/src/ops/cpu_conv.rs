//! Convolution on the CPU, by whichever way is fastest for its sizes.

use rayon::prelude::*;

use super::pool;
use super::product::{View, product_into, threads};
use super::scratch::with_scratch;
use super::winograd;

/// Numbers of one matrix of neighbourhoods: 4 MB.
const COLUMNS: usize = 1 << 20;
/// With fewer pixels a product runs along the output channels, where the kernel's numbers lie side by side.
const FEW_PIXELS: usize = 128;

/// `x` `[batch, inputs, height, width]` and a square kernel → `[batch, outputs, ..out()]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) batch: usize,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) padding: usize,
}

impl Sizes {
    /// Height and width.
    pub(super) fn out(&self) -> [usize; 2] {
        [self.height, self.width].map(|n| (n + 2 * self.padding - self.kernel) / self.stride + 1)
    }

    /// Whether [`forward`] and [`backward`] can do it.
    pub(super) fn possible(&self) -> bool {
        let fits = self.kernel <= self.height.min(self.width) + 2 * self.padding;
        let some = self.batch * self.inputs * self.outputs > 0;
        fits && some && self.padding < self.kernel && self.stride > 0
    }

    /// The convolution that a backward is: of the gradient, with zeros between its rows and columns, by the turned kernel.
    fn turned(&self) -> Self {
        let spread = |n: usize| n + 2 * self.padding + 1 - self.kernel;
        Self {
            inputs: self.outputs,
            outputs: self.inputs,
            height: spread(self.height),
            width: spread(self.width),
            stride: 1,
            padding: self.kernel - 1 - self.padding,
            ..*self
        }
    }
}

/// A kernel `[k, k, a, b]`, from `a` to `b` channels. Turned, it is that of the backward: from `b` to `a` channels and
/// mirrored in both directions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel<'a> {
    pub(super) data: &'a [f32],
    pub(super) shape: [usize; 2],
    pub(super) turned: bool,
}

pub(super) fn forward(sizes: Sizes, x: &[f32], kernel: Kernel, bias: Option<&[f32]>) -> Vec<f32> {
    if sizes.kernel == 3 && sizes.stride == 1 && winograd::pays(&sizes) {
        return winograd::convolve(sizes, x, kernel, bias);
    }
    let mut y = pool::take(sizes.batch * sizes.outputs * sizes.out().iter().product::<usize>());
    by_columns(sizes, x, kernel, bias, &mut y);
    y
}

/// The gradient of an input of these sizes from that of the output.
pub(super) fn backward(sizes: Sizes, grad: &[f32], kernel: Kernel) -> Vec<f32> {
    let kernel = Kernel { turned: true, ..kernel };
    if sizes.stride == 1 {
        return forward(sizes.turned(), grad, kernel, None);
    }
    let (turned, [height, width]) = (sizes.turned(), sizes.out());
    let mut spread = vec![0.0; turned.batch * turned.inputs * turned.height * turned.width];
    let planes = spread.par_chunks_mut(turned.height * turned.width).zip(grad.par_chunks(height * width));
    planes.for_each(|(to, from)| {
        for (row, from) in from.chunks_exact(width).enumerate() {
            let to = &mut to[row * sizes.stride * turned.width..][..turned.width];
            to.iter_mut().step_by(sizes.stride).zip(from).for_each(|(to, from)| *to = *from);
        }
    });
    forward(turned, &spread, kernel, None)
}

/// By matrix products with the pixels around each output, for a few rows of outputs at a time. A kernel of one pixel
/// needs no copies.
fn by_columns(sizes: Sizes, x: &[f32], kernel: Kernel, bias: Option<&[f32]>, y: &mut [f32]) {
    let Sizes { inputs, outputs, .. } = sizes;
    let [height, width] = sizes.out();
    let pixels = height * width;
    let taps = sizes.kernel * sizes.kernel;
    let [a, b] = kernel.shape;
    if let Some(bias) = bias {
        y.par_chunks_mut(pixels).enumerate().for_each(|(plane, y)| y.fill(bias[plane % outputs]));
    }
    let images = x.chunks_exact(inputs * sizes.height * sizes.width).zip(y.chunks_exact_mut(outputs * pixels));
    if sizes.kernel == 1 && sizes.stride == 1 {
        for (x, y) in images {
            let weight = View::dense(kernel.data, b);
            let weight = if kernel.turned { weight } else { weight.transposed() };
            let sizes = [outputs, inputs, pixels];
            product_into(y, pixels, sizes, bias.is_some(), 1.0, weight, View::dense(x, pixels), threads(sizes));
        }
        return;
    }
    // The taps of a turned kernel do not lie side by side: one product for each.
    let taps_at_once = if kernel.turned { 1 } else { taps };
    let rows = (COLUMNS / (taps_at_once * inputs * width)).clamp(1, height);
    for (x, y) in images {
        for first in (0..height).step_by(rows) {
            let rows = first..(first + rows).min(height);
            let n = rows.len() * width;
            for tap in (0..taps).step_by(taps_at_once) {
                let deep = taps_at_once * inputs;
                with_scratch((deep + outputs) * n, |scratch| {
                    let (columns, across) = scratch.split_at_mut(deep * n);
                    columns.par_chunks_mut(n).enumerate().for_each(|(i, line)| {
                        gather(&sizes, x, tap + i / inputs, i % inputs, rows.clone(), line);
                    });
                    let columns = View::dense(columns, n);
                    let to = &mut y[rows.start * width..];
                    let product_sizes = [outputs, deep, n];
                    let add = bias.is_some() || tap > 0;
                    if kernel.turned {
                        let weight = View::dense(&kernel.data[(taps - 1 - tap) * a * b..][..a * b], b);
                        product_into(to, pixels, product_sizes, add, 1.0, weight, columns, threads(product_sizes));
                    } else if n > FEW_PIXELS {
                        let weight = View::dense(kernel.data, b).transposed();
                        product_into(to, pixels, product_sizes, add, 1.0, weight, columns, threads(product_sizes));
                    } else {
                        let (weight, sizes) = (View::dense(kernel.data, b), [n, deep, outputs]);
                        product_into(across, outputs, sizes, false, 1.0, columns.transposed(), weight, threads(sizes));
                        for (channel, to) in to.chunks_mut(pixels).enumerate() {
                            for (pixel, to) in to[..n].iter_mut().enumerate() {
                                *to += across[pixel * outputs + channel];
                            }
                        }
                    }
                });
            }
        }
    }
}

/// What one tap of the kernel sees of a channel, for some rows of outputs.
fn gather(sizes: &Sizes, x: &[f32], tap: usize, channel: usize, rows: std::ops::Range<usize>, line: &mut [f32]) {
    let Sizes { height, width, stride, padding, .. } = *sizes;
    let plane = &x[channel * height * width..][..height * width];
    let (down, right) = (tap / sizes.kernel, tap % sizes.kernel);
    let out = sizes.out()[1];
    for (row, line) in rows.zip(line.chunks_exact_mut(out)) {
        line.fill(0.0);
        let Some(y) = (row * stride + down).checked_sub(padding).filter(|y| *y < height) else { continue };
        let from = &plane[y * width..][..width];
        // The first output whose tap is inside.
        let first = padding.saturating_sub(right).div_ceil(stride);
        let from = &from[(first * stride + right - padding).min(width)..];
        if stride == 1 {
            let n = from.len().min(out - first.min(out));
            line[first.min(out)..][..n].copy_from_slice(&from[..n]);
        } else {
            line.iter_mut().skip(first).zip(from.iter().step_by(stride)).for_each(|(to, from)| *to = *from);
        }
    }
}
