//! Weights that lie in a file, in a segmented backward: however they are brought in, and however many micro-batches go
//! through a segment together, the numbers are the same.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::Tensor;
use burn::tensor::{DType, Device, Gradients, TensorData};
use lorikeet_nn::segmented::{
    Batch, Blocks, Ended, LeafSource, Leaves, Outcome, Segments, Side, State, Wanted, Way, backward_all,
};
use lorikeet_nn::{Bits, Context, ConvGeometry, Deltas, Linear, Loader, RawFormat, RawTensor, Storage, WeightSource};
use lorikeet_seeded::{Purpose, Stream};

const WIDTH: usize = 64;
const BLOCKS: usize = 3;

fn normals(n: usize, seed: u64) -> Vec<f32> {
    Stream::new(seed, Purpose::RandomWeights, &[]).normals(n)
}

/// The bytes of a file, and how often someone asked for them.
struct Mapped {
    bytes: Vec<u8>,
    asked: AtomicUsize,
}

impl AsRef<[u8]> for Mapped {
    fn as_ref(&self) -> &[u8] {
        self.asked.fetch_add(1, Ordering::Relaxed);
        &self.bytes
    }
}

struct File(Arc<Mapped>);

const MATRIX: usize = WIDTH * WIDTH * 2;

impl WeightSource for File {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        name.ends_with("weight").then(|| vec![WIDTH, WIDTH])
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        Err(format!("{name} is only mapped"))
    }

    fn raw(&self, name: &str) -> Option<RawTensor> {
        let block: usize = name.split('.').next()?.parse().ok()?;
        let range = block * MATRIX..(block + 1) * MATRIX;
        Some(RawTensor::new(RawFormat::Bf16, self.0.clone(), range))
    }
}

struct Model {
    layers: Vec<Linear>,
    /// For each block that ran: its number, and which blocks' weights were on the device then.
    there: RefCell<Vec<(usize, Vec<usize>)>>,
}

impl Model {
    fn new(storage: Storage) -> (Self, Arc<Mapped>) {
        let values = normals(BLOCKS * WIDTH * WIDTH, 1);
        let bytes = values.iter().flat_map(|v| half::bf16::from_f32(0.2 * v).to_le_bytes()).collect();
        let mapped = Arc::new(Mapped { bytes, asked: AtomicUsize::new(0) });
        let (file, device) = (File(mapped.clone()), Device::flex());
        let loader = Loader::new(&file, "unet", &device, DType::F32).with_storage(storage);
        let layers = (0..BLOCKS).map(|i| Linear::load(&loader.at(i), WIDTH, WIDTH, false).unwrap()).collect();
        mapped.asked.store(0, Ordering::Relaxed);
        (Self { layers, there: RefCell::default() }, mapped)
    }
}

impl Blocks for Model {
    fn len(&self) -> usize {
        BLOCKS
    }

    fn run(&self, cx: &Context, block: usize, state: State, _: &Side) -> State {
        let there = (0..BLOCKS).filter(|at| self.layers[*at].is_brought()).collect();
        self.there.borrow_mut().push((block, there));
        state.into_iter().map(|x| self.layers[block].forward(cx, x).tanh()).collect()
    }

    fn linears(&self, block: usize) -> Vec<&Linear> {
        vec![&self.layers[block]]
    }
}

/// No adapters; remembers which micro-batches had their turn.
#[derive(Default)]
struct Turns(RefCell<Vec<usize>>);

struct Nothing;

impl Deltas for Nothing {
    fn linear(&self, _: &str, _: &Tensor<3>) -> Option<Tensor<3>> {
        None
    }

    fn conv2d(&self, _: &str, _: &Tensor<4>, _: ConvGeometry) -> Option<Tensor<4>> {
        None
    }
}

impl Leaves for Nothing {
    fn collect(self: Box<Self>, _: &mut Gradients) {}

    fn deltas(&self) -> &dyn Deltas {
        self
    }
}

impl LeafSource for Turns {
    fn plain(&self) -> Box<dyn Deltas + '_> {
        Box::new(Nothing)
    }

    fn tracked(&self) -> Box<dyn Leaves + '_> {
        Box::new(Nothing)
    }

    fn turn_to(&self, micro_batch: usize) {
        self.0.borrow_mut().push(micro_batch);
    }
}

fn batch(seed: u64) -> Batch<'static> {
    let data = TensorData::new(normals(2 * WIDTH, seed), [1, 1, 2, WIDTH]);
    Batch {
        input: Tensor::from_data(data, (&Device::flex(), DType::F32)),
        side: Side::new(),
        wanted: Wanted { input: true, side: Vec::new() },
        loss: Box::new(|output| (output.clone() * output).mean()),
    }
}

fn numbers(outcome: Outcome) -> Vec<f32> {
    let values = |t: Tensor<4>| t.into_data().iter::<f32>().collect::<Vec<_>>();
    [values(outcome.output), values(outcome.input.unwrap())].concat()
}

fn run(way: &Way, batches: Vec<Batch>, first: usize) -> (Vec<Vec<f32>>, usize, Vec<usize>) {
    run_kept(Storage::Streamed, way, batches, first)
}

fn run_kept(storage: Storage, way: &Way, batches: Vec<Batch>, first: usize) -> (Vec<Vec<f32>>, usize, Vec<usize>) {
    let (model, mapped) = Model::new(storage);
    let turns = Turns::default();
    let outcomes = backward_all(&model, way, batches, first, &turns).unwrap();
    let asked = mapped.asked.load(Ordering::Relaxed);
    (outcomes.into_iter().map(numbers).collect(), asked, turns.0.take())
}

#[test]
fn micro_batches_together_and_alone() {
    let way = Way::plain(Segments::PerBlock);
    let alone: Vec<Vec<f32>> = (0..3).flat_map(|i| run(&way, vec![batch(10 + i)], i as usize).0).collect();
    let all = || (0..3).map(|i| batch(10 + i)).collect();
    let (together, read, turns) = run(&way, all(), 4);
    assert_eq!(together, alone);
    assert_eq!(turns, [4, 5, 6].repeat(2 * BLOCKS - 1));
    // Forward but for the last block, and again with backward, for each micro-batch.
    assert_eq!(read, 3 * (BLOCKS - 1 + 2 * BLOCKS));

    let (held, read, _) = run(&Way { hold: true, ..way }, all(), 0);
    assert_eq!(held, alone);
    assert_eq!(read, 2 * BLOCKS - 1, "once on the way there and once on the way back, for all");
}

#[test]
fn weights_from_memory_change_nothing() {
    let alone: Vec<Vec<f32>> =
        (0..2).flat_map(|i| run(&Way::plain(Segments::PerBlock), vec![batch(10 + i)], i as usize).0).collect();
    for segments in [Segments::PerBlock, Segments::Count(2), Segments::One] {
        for hold in [true, false] {
            let way = Way { hold, ..Way::plain(segments) };
            let batches = vec![batch(10), batch(11)];
            let (found, read, _) = run_kept(Storage::Host(Bits::Computed), &way, batches, 0);
            assert_eq!(read, 0, "they were read from their file while loading");
            for (found, alone) in found.iter().flatten().zip(alone.iter().flatten()) {
                assert!((found - alone).abs() <= 1e-5 * alone.abs().max(1e-3), "{segments:?}: {found}, not {alone}");
            }
        }
    }
}

#[test]
fn the_next_segments_weights_are_there_before_it_runs_and_gone_after() {
    let way = Way { hold: true, ..Way::plain(Segments::PerBlock) };
    let there = |storage| {
        let (model, _) = Model::new(storage);
        backward_all(&model, &way, vec![batch(1)], 0, &Turns::default()).unwrap();
        assert!(model.layers.iter().all(|layer| !layer.is_brought()), "{storage:?}");
        model.there.take()
    };
    let order = [0, 1, 2, 1, 0];
    let ahead = [(0, vec![0, 1]), (1, vec![1, 2]), (2, vec![1, 2]), (1, vec![0, 1]), (0, vec![0])];
    assert_eq!(there(Storage::Host(Bits::Computed)), ahead);
    // From a file it would wait for the disk, so that is read when it is its turn.
    assert_eq!(there(Storage::Streamed), order.map(|block| (block, vec![block])));
}

#[test]
fn a_layer_is_brought_once_and_let_go_of() {
    for storage in [Storage::Streamed, Storage::Host(Bits::Computed)] {
        let layers = Model::new(storage).0.layers;
        let x = || Tensor::<2>::ones([1, WIDTH], (&Device::flex(), DType::F32));
        let y = || layers[0].forward(&Context::base(), x()).into_data();
        let before = y();
        layers[0].bring();
        layers[0].bring();
        assert_eq!(y(), before);
        layers[0].release();
        assert_eq!(y(), before);
        assert_eq!(layers[0].in_host_memory(), storage != Storage::Streamed);
    }
}

#[test]
fn the_next_segment_is_told_and_changes_nothing() {
    let told = RefCell::new(Vec::new());
    let ahead = |weights: Vec<RawTensor>| {
        told.borrow_mut().extend(weights.iter().map(|weight| weight.pieces[0].range.start / MATRIX));
    };
    let plain = run(&Way::plain(Segments::PerBlock), vec![batch(1), batch(2)], 0).0;
    let with = run(&Way { ahead: Some(&ahead), ..Way::plain(Segments::PerBlock) }, vec![batch(1), batch(2)], 0).0;
    assert_eq!(with, plain);
    assert_eq!(told.take(), [1, 2, 1, 0]);
}

#[test]
fn a_pass_can_be_ended_between_any_two_blocks() {
    for segments in [Segments::One, Segments::PerBlock] {
        let blocks = if segments == Segments::One { BLOCKS } else { 2 * BLOCKS - 1 };
        for after in 0..=blocks {
            let asked = RefCell::new(0);
            let go_on = || {
                *asked.borrow_mut() += 1;
                *asked.borrow() <= after
            };
            let (model, _) = Model::new(Storage::Streamed);
            let way = Way { go_on: &go_on, ..Way::plain(segments) };
            let ended = backward_all(&model, &way, vec![batch(1)], 0, &Turns::default()).map(drop);
            assert_eq!(ended, if after < blocks { Err(Ended) } else { Ok(()) });
        }
    }
}
