//! However many segments a model is cut into, outputs and gradients are the same.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::cell::RefCell;

use burn::Tensor;
use burn::tensor::{DType, Device, Gradients, TensorData};
use lorikeet_nn::segmented::{self, Blocks, LeafSource, Leaves, Segments, Side, State, Wanted};
use lorikeet_nn::{Context, ConvGeometry, Deltas};
use lorikeet_seeded::{Purpose, Stream};

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

fn values<const D: usize>(t: Tensor<D>) -> Vec<f32> {
    t.into_data().iter::<f32>().collect()
}

/// Seven blocks; the third leaves a skip that the sixth takes.
struct Model;

const BLOCKS: usize = 7;

impl Blocks for Model {
    fn len(&self) -> usize {
        BLOCKS
    }

    fn run(&self, cx: &Context, block: usize, mut state: State, side: &Side) -> State {
        let _ = cx;
        let x = state[0].clone();
        let [b, c, h, w] = x.dims();
        let mixed = x.reshape([b, c, h * w]).matmul(random([1, h * w, h * w], block as u64)) * 0.3;
        state[0] = (mixed + side[0].clone()).tanh().reshape([b, c, h, w]);
        if block == 2 {
            let skip = state[0].clone() * 2.0;
            state.push(skip);
        }
        if block == 5 {
            let skip = state.pop().unwrap();
            state[0] = state[0].clone() * skip;
        }
        state
    }
}

/// No adapters, but a count of the segments that ran under autodiff.
#[derive(Default)]
struct Count(RefCell<usize>);

struct Nothing<'a>(&'a Count);

impl Deltas for Nothing<'_> {
    fn linear(&self, _: &str, _: &Tensor<3>) -> Option<Tensor<3>> {
        None
    }

    fn conv2d(&self, _: &str, _: &Tensor<4>, _: ConvGeometry) -> Option<Tensor<4>> {
        None
    }
}

impl Leaves for Nothing<'_> {
    fn collect(self: Box<Self>, _: &mut Gradients) {
        *self.0.0.borrow_mut() += 1;
    }

    fn deltas(&self) -> &dyn Deltas {
        self
    }
}

impl LeafSource for Count {
    fn plain(&self) -> Box<dyn Deltas + '_> {
        Box::new(Nothing(self))
    }

    fn tracked(&self) -> Box<dyn Leaves + '_> {
        Box::new(Nothing(self))
    }
}

#[test]
fn any_number_of_segments_agrees() {
    let run = |segments| {
        let count = Count::default();
        let side = vec![random([2, 3, 16], 20)];
        let wanted = Wanted { input: true, side: vec![true] };
        let outcome =
            segmented::backward(&Model, segments, random([2, 3, 4, 4], 21), &side, &wanted, &count, |output| {
                (output.clone() * output).mean()
            });
        let side = outcome.side[0].clone().unwrap();
        (count.0.take(), values(outcome.output), values(outcome.input.unwrap()), values(side))
    };
    let (_, output, input, side) = run(Segments::One);
    for (segments, expected) in [
        (Segments::One, 1),
        (Segments::Count(0), 1),
        (Segments::Count(1), 1),
        (Segments::Count(2), 2),
        (Segments::Count(3), 3),
        (Segments::Count(BLOCKS), BLOCKS),
        (Segments::Count(100), BLOCKS),
        (Segments::PerBlock, BLOCKS),
    ] {
        let found = run(segments);
        assert_eq!(found.0, expected, "{segments:?}");
        assert_eq!(found.1, output, "{segments:?}");
        for (found, expected) in [(&found.2, &input), (&found.3, &side)] {
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() <= 1e-6 * largest, "{segments:?}: {found}, not {expected}");
            }
        }
    }
}
