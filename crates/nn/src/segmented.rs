//! Segmented backward: the graph of one segment lives at a time.
//!
//! A model is a row of blocks that map [`State`] to [`State`]. The forward pass runs on plain tensors and keeps only
//! what enters each segment. Then, from the last segment to the first, the segment runs again under autodiff, its
//! backward starts from the gradient of its output, adapters collect theirs, and the gradient of its input goes on.
//! One segment over all blocks is the ordinary full graph without recomputation.
//!
//! Several micro-batches can go through each segment before the next one's turn ([`backward_all`]): where weights are
//! brought in from a file or the computer's memory, a step then reads them once in each direction, however many micro-batches it adds up. Sums
//! come about in the same order as one micro-batch after the other, so every number is the same.

use std::ops::Range;
use std::sync::LazyLock;

use burn::Tensor;
use burn::tensor::{Gradients, StreamId};

use crate::{Context, Deltas, Linear, RawTensor};

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

    /// The linear layers of a block, whose weights may lie in a file. A block not told here is read when it runs.
    fn linears(&self, block: usize) -> Vec<&Linear> {
        let _ = block;
        Vec::new()
    }
}

/// Trainable tensors, handed out per segment as fresh autodiff leaves.
pub trait LeafSource {
    /// For the plain forward pass.
    fn plain(&self) -> Box<dyn Deltas + '_>;
    /// For a segment under autodiff.
    fn tracked(&self) -> Box<dyn Leaves + '_>;
    /// What runs next belongs to the micro-batch of this index within its step: for dropout masks.
    fn turn_to(&self, micro_batch: usize) {
        let _ = micro_batch;
    }
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

/// How a backward pass is carried out. But for `segments` in the last bits, it changes no number.
pub struct Way<'a> {
    pub segments: Segments,
    /// Whether weights that lie in a file or in the computer's memory are kept on the device while their segment is the live
    /// one. On a card it saves transfers, and those from memory are under way while the segment before is computed; on the
    /// CPU, where tiles are read from the system's page cache, it would only take memory.
    pub hold: bool,
    /// Told the weights that lie in a file of the segment after this one, when this one starts.
    pub ahead: Option<&'a dyn Fn(Vec<RawTensor>)>,
    /// Asked between blocks; `false` ends the pass.
    pub go_on: &'a dyn Fn() -> bool,
}

impl Way<'_> {
    /// Nothing but the number of segments.
    pub fn plain(segments: Segments) -> Self {
        Way { segments, hold: false, ahead: None, go_on: &|| true }
    }
}

/// A pass was ended by [`Way::go_on`]; gradients collected so far are of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended;

/// The loss maps the output (under autodiff) to one number.
pub type Loss<'a> = Box<dyn FnOnce(Tensor<4>) -> Tensor<1> + 'a>;

/// A micro-batch on its way.
pub struct Batch<'a> {
    pub input: Tensor<4>,
    pub side: Side,
    pub wanted: Wanted,
    pub loss: Loss<'a>,
}

/// Runs all blocks on plain tensors.
pub fn forward(blocks: &dyn Blocks, cx: &Context, input: Tensor<4>, side: &Side) -> Tensor<4> {
    let run = |state, block| blocks.run(cx, block, state, side);
    (0..blocks.len()).fold(vec![input], run).swap_remove(0)
}

/// Forward and backward of one micro-batch.
pub fn backward<'a>(
    blocks: &dyn Blocks,
    segments: Segments,
    input: Tensor<4>,
    side: &Side,
    wanted: &Wanted,
    leaves: &dyn LeafSource,
    loss: impl FnOnce(Tensor<4>) -> Tensor<1> + 'a,
) -> Outcome {
    let batch = Batch { input, side: side.clone(), wanted: wanted.clone(), loss: Box::new(loss) };
    let outcomes = backward_all(blocks, &Way::plain(segments), vec![batch], 0, leaves);
    outcomes.ok().and_then(|mut all| all.pop()).unwrap_or_else(|| unreachable!("nothing ends a plain pass"))
}

/// Forward and backward of several micro-batches, segment by segment; `first` is the index of the first within its step.
///
/// # Errors
/// When [`Way::go_on`] said no.
pub fn backward_all(
    blocks: &dyn Blocks,
    way: &Way,
    batches: Vec<Batch>,
    first: usize,
    leaves: &dyn LeafSource,
) -> Result<Vec<Outcome>, Ended> {
    let cuts = way.segments.cut(blocks.len());
    let tell = |next: Option<&Range<usize>>| {
        if let (Some(ahead), Some(next)) = (way.ahead, next) {
            ahead(next.clone().flat_map(|block| blocks.linears(block)).filter_map(Linear::in_file).cloned().collect());
        }
    };
    let start = |Batch { input, side, wanted, loss }| Traveller {
        saved: vec![vec![input]],
        sums: vec![None; Side::len(&side)],
        side,
        wanted,
        loss: Some(loss),
        upstream: Vec::new(),
        result: None,
    };
    let mut travellers: Vec<Traveller> = batches.into_iter().map(start).collect();
    let mut coming = None;

    for (index, cut) in cuts[..cuts.len() - 1].iter().enumerate() {
        let next = cuts.get(index + 1);
        tell(next);
        let _held = Held::bring(blocks, cut, way, coming.take());
        coming = next.map(|next| Held::send(blocks, next, way));
        for (at, traveller) in travellers.iter_mut().enumerate() {
            leaves.turn_to(first + at);
            let plain = leaves.plain();
            let state = traveller.saved[index].clone();
            let state = run(blocks, &Context::with(&*plain), cut.clone(), state, &traveller.side, way)?;
            traveller.saved.push(state);
        }
    }
    for (index, cut) in cuts.iter().enumerate().rev() {
        let next = index.checked_sub(1).and_then(|before| cuts.get(before));
        tell(next);
        let _held = Held::bring(blocks, cut, way, coming.take());
        coming = next.map(|next| Held::send(blocks, next, way));
        for (at, traveller) in travellers.iter_mut().enumerate() {
            leaves.turn_to(first + at);
            traveller.back(blocks, cut, index == 0, leaves, way)?;
        }
    }
    Ok(travellers.into_iter().map(Traveller::outcome).collect())
}

/// A micro-batch between segments.
struct Traveller<'a> {
    /// What enters each segment that has not gone back yet.
    saved: Vec<State>,
    side: Side,
    wanted: Wanted,
    /// Until the last segment has run.
    loss: Option<Loss<'a>>,
    /// The gradient of the state that the next segment gives.
    upstream: Vec<Option<Tensor<4>>>,
    /// The side inputs' gradients.
    sums: Vec<Option<Tensor<3>>>,
    result: Option<(Tensor<4>, Tensor<1>)>,
}

impl Traveller<'_> {
    /// Runs a segment again under autodiff, and back.
    fn back(
        &mut self,
        blocks: &dyn Blocks,
        cut: &Range<usize>,
        to_input: bool,
        leaves: &dyn LeafSource,
        way: &Way,
    ) -> Result<(), Ended> {
        // The segment's state is dropped here, so it does not outlive its graph.
        let state: State = self.saved.pop().unwrap_or_default();
        let want_input = !to_input || self.wanted.input;
        let live: State = state.into_iter().map(|t| if want_input { t.autodiff().require_grad() } else { t }).collect();
        let wants = |i: usize| self.wanted.side.get(i) == Some(&true);
        let leaf = |(i, t): (usize, &Tensor<3>)| if wants(i) { t.clone().autodiff().require_grad() } else { t.clone() };
        let live_side: Side = self.side.iter().enumerate().map(leaf).collect();
        let tracked = leaves.tracked();
        let mut out = run(blocks, &Context::with(tracked.deltas()), cut.clone(), live.clone(), &live_side, way)?;
        let seed = match self.loss.take() {
            Some(loss) => {
                let output = out.swap_remove(0);
                let value = loss(output.clone());
                self.result = Some((output.without_autodiff(), value.clone().without_autodiff()));
                Some(value)
            }
            // The sum's gradient with respect to `out` is `upstream`, whatever the sum's own value.
            None => out
                .into_iter()
                .zip(std::mem::take(&mut self.upstream))
                .filter_map(|(out, gradient)| Some((out.is_tracked(), out, gradient?)))
                .filter(|(tracked, ..)| *tracked)
                .map(|(_, out, gradient)| (out * gradient).sum())
                .reduce(|a, b| a + b),
        };
        self.upstream = vec![None; live.len()];
        let Some(seed) = seed.filter(Tensor::is_tracked) else { return Ok(()) };
        let mut gradients = seed.backward();
        if want_input {
            self.upstream = live.iter().map(|t| t.grad_remove(&mut gradients)).collect();
        }
        for (sum, live) in self.sums.iter_mut().zip(&live_side) {
            if let Some(gradient) = live.is_tracked().then(|| live.grad_remove(&mut gradients)).flatten() {
                *sum = Some(match sum.take() {
                    Some(sum) => sum + gradient,
                    None => gradient,
                });
            }
        }
        tracked.collect(&mut gradients);
        Ok(())
    }

    fn outcome(self) -> Outcome {
        let (output, loss) = self.result.unwrap_or_else(|| unreachable!("there is at least one segment"));
        Outcome { output, loss, input: self.upstream.into_iter().next().flatten(), side: self.sums }
    }
}

/// Weights that were brought in for one segment; dropping it lets them go.
struct Held<'a>(Vec<&'a Linear>);

/// Copies that may be under way while the device computes: on a card the work of a stream waits for what came before it
/// there, and only for that. Who uses a tensor of another stream waits for it, which CubeCL sees to.
static COPIES: LazyLock<StreamId> = LazyLock::new(StreamId::allocate);

impl<'a> Held<'a> {
    /// All weights of a segment. `coming`: those of them that were sent before.
    fn bring(blocks: &'a dyn Blocks, cut: &Range<usize>, way: &Way, coming: Option<Self>) -> Self {
        let linears = Self::linears(blocks, cut, way);
        linears.iter().for_each(|linear| linear.bring());
        // They are this segment's now, which lets go of them.
        if let Some(mut coming) = coming {
            coming.0.clear();
        }
        Self(linears)
    }

    /// Starts the copies of a segment's weights that are ready to travel.
    fn send(blocks: &'a dyn Blocks, cut: &Range<usize>, way: &Way) -> Self {
        let mut linears = Self::linears(blocks, cut, way);
        linears.retain(|linear| linear.in_host_memory());
        COPIES.executes(|| linears.iter().for_each(|linear| linear.bring()));
        Self(linears)
    }

    fn linears(blocks: &'a dyn Blocks, cut: &Range<usize>, way: &Way) -> Vec<&'a Linear> {
        match way.hold {
            true => cut.clone().flat_map(|block| blocks.linears(block)).collect(),
            false => Vec::new(),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|linear| linear.release());
    }
}

fn run(
    blocks: &dyn Blocks,
    cx: &Context,
    range: Range<usize>,
    mut state: State,
    side: &Side,
    way: &Way,
) -> Result<State, Ended> {
    for block in range {
        if !(way.go_on)() {
            return Err(Ended);
        }
        state = blocks.run(cx, block, state, side);
    }
    Ok(state)
}
