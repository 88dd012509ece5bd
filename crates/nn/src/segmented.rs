//! Segmented backward: the graph of one segment lives at a time.
//!
//! A model is a row of blocks that map [`State`] to [`State`]. The forward pass runs on plain tensors and keeps only
//! what enters each segment. Then, from the last segment to the first, the segment runs again under autodiff, its
//! backward starts from the gradient of its output, adapters collect theirs, and the gradient of its input goes on.
//! One segment over all blocks is the ordinary full graph without recomputation.

use std::ops::Range;

use burn::Tensor;
use burn::tensor::Gradients;

use crate::{Context, Deltas};

/// What flows from block to block: the hidden tensor first, then the skips that later blocks will take.
pub type State = Vec<Tensor<4>>;

/// Tensors that many blocks read, `[b, n, d]` each: text states, the timestep's embedding.
pub type Side = Vec<Tensor<3>>;

/// A model cut into blocks.
pub trait Blocks {
    fn len(&self) -> usize;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn run(&self, cx: &Context, block: usize, state: State, side: &Side) -> State;
}

/// Trainable tensors, handed out per segment as fresh autodiff leaves.
pub trait LeafSource {
    /// For the plain forward pass.
    fn plain(&self) -> Box<dyn Deltas + '_>;
    /// For a segment under autodiff.
    fn tracked(&self) -> Box<dyn Leaves + '_>;
}

/// Leaves that were handed out.
pub trait Leaves: Deltas {
    /// Adds the gradients of the leaves used to their owner's.
    fn collect(self: Box<Self>, gradients: &mut Gradients);
    fn deltas(&self) -> &dyn Deltas;
}

/// How many segments to cut a model into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Segments {
    /// The full graph at once: fastest, most memory.
    One,
    /// This many, of nearly equal numbers of blocks: fewer than there are blocks need more memory and the same time.
    Count(usize),
    /// A segment a block: smallest, with one forward more.
    PerBlock,
}

impl Segments {
    fn cut(self, blocks: usize) -> Vec<Range<usize>> {
        match self {
            Segments::One => std::iter::once(0..blocks).collect(),
            Segments::Count(count) => {
                let count = count.clamp(1, blocks.max(1));
                (0..count).map(|i| i * blocks / count..(i + 1) * blocks / count).collect()
            }
            Segments::PerBlock => (0..blocks).map(|i| i..i + 1).collect(),
        }
    }
}

/// Which inputs want a gradient beside the adapters.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub input: bool,
    /// By index into the side inputs.
    pub side: Vec<bool>,
}

/// What a backward pass gives beside the adapters' gradients.
pub struct Outcome {
    /// The model's output, plain.
    pub output: Tensor<4>,
    /// One number, plain.
    pub loss: Tensor<1>,
    pub input: Option<Tensor<4>>,
    pub side: Vec<Option<Tensor<3>>>,
}

/// Runs all blocks on plain tensors.
pub fn forward(blocks: &dyn Blocks, cx: &Context, input: Tensor<4>, side: &Side) -> Tensor<4> {
    let mut state = run(blocks, cx, 0..blocks.len(), vec![input], side);
    state.swap_remove(0)
}

/// Forward and backward. `loss` maps the output (under autodiff) to one number.
pub fn backward(
    blocks: &dyn Blocks,
    segments: Segments,
    input: Tensor<4>,
    side: &Side,
    wanted: &Wanted,
    leaves: &dyn LeafSource,
    loss: impl FnOnce(Tensor<4>) -> Tensor<1>,
) -> Outcome {
    let cuts = segments.cut(blocks.len());
    let mut saved = vec![vec![input]];
    {
        let plain = leaves.plain();
        let cx = Context::with(&*plain);
        for cut in &cuts[..cuts.len() - 1] {
            let state = saved[saved.len() - 1].clone();
            saved.push(run(blocks, &cx, cut.clone(), state, side));
        }
    }

    let mut loss = Some(loss);
    let mut result = None;
    let mut upstream: Vec<Option<Tensor<4>>> = Vec::new();
    let mut side_sums: Vec<Option<Tensor<3>>> = vec![None; side.len()];
    for (index, cut) in cuts.iter().enumerate().rev() {
        // The last segment's state is dropped here, so it does not outlive its graph.
        let state: State = saved.pop().unwrap_or_default();
        let want_input = index > 0 || wanted.input;
        let live: State = state.into_iter().map(|t| if want_input { t.autodiff().require_grad() } else { t }).collect();
        let live_side: Side = side
            .iter()
            .enumerate()
            .map(
                |(i, t)| {
                    if wanted.side.get(i) == Some(&true) { t.clone().autodiff().require_grad() } else { t.clone() }
                },
            )
            .collect();
        let tracked = leaves.tracked();
        let cx = Context::with(tracked.deltas());
        let mut out = run(blocks, &cx, cut.clone(), live.clone(), &live_side);
        let seed = match loss.take() {
            Some(loss) => {
                let output = out.swap_remove(0);
                let value = loss(output.clone());
                result = Some((output.without_autodiff(), value.clone().without_autodiff()));
                Some(value)
            }
            // The sum's gradient with respect to `out` is `upstream`, whatever the sum's own value.
            None => out
                .into_iter()
                .zip(std::mem::take(&mut upstream))
                .filter_map(|(out, gradient)| Some((out.is_tracked(), out, gradient?)))
                .filter(|(tracked, ..)| *tracked)
                .map(|(_, out, gradient)| (out * gradient).sum())
                .reduce(|a, b| a + b),
        };
        upstream = vec![None; live.len()];
        let Some(seed) = seed.filter(Tensor::is_tracked) else { continue };
        let mut gradients = seed.backward();
        if want_input {
            upstream = live.iter().map(|t| t.grad_remove(&mut gradients)).collect();
        }
        for (sum, live) in side_sums.iter_mut().zip(&live_side) {
            if let Some(gradient) = live.is_tracked().then(|| live.grad_remove(&mut gradients)).flatten() {
                *sum = Some(match sum.take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
        }
        tracked.collect(&mut gradients);
    }
    let (output, loss) = result.unwrap_or_else(|| unreachable!("there is at least one segment"));
    Outcome { output, loss, input: upstream.into_iter().next().flatten(), side: side_sums }
}

fn run(blocks: &dyn Blocks, cx: &Context, range: Range<usize>, state: State, side: &Side) -> State {
    range.fold(state, |state, block| blocks.run(cx, block, state, side))
}
