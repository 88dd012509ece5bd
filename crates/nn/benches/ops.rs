//! Milliseconds of each operation at the shapes of the models, forward and with backward, beside what the device can do:
//! `cargo bench --workspace --bench ops [-- WORD]` runs those whose names hold WORD, on `LORIKEET_BENCH_DEVICE` (`cpu`) and in the dtype in which
//! models compute there.
//!
//! A share is that of the measured speed of one large matrix product, for the operations of the definition: a convolution
//! by Winograd's way needs fewer and can pass 1. Operations without products are given in GB a second, each input and
//! output counted once.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::sync::LazyLock;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_nn::{ConvGeometry, DeviceKind, device, ops};
use lorikeet_seeded::{Purpose, Stream};

const RUNS: usize = 5;

static PLACE: LazyLock<(Device, DType)> = LazyLock::new(|| {
    let kind = std::env::var("LORIKEET_BENCH_DEVICE").map_or(DeviceKind::Cpu, |name| name.parse().unwrap());
    let device = device::open(kind).unwrap();
    let dtype = device::compute_dtype(kind, &device);
    (device, dtype)
});

type Function = Box<dyn Fn(Tensor<4>) -> Tensor<4>>;

struct Case {
    name: String,
    input: Tensor<4>,
    function: Function,
    /// Of the forward, multiplications and additions counted apart.
    operations: f64,
}

fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    let (device, dtype) = &*PLACE;
    Tensor::from_data(TensorData::new(values, shape), (device, *dtype))
}

/// Seconds, the best of a few.
fn best(mut f: impl FnMut()) -> f64 {
    let mut run = || {
        f();
        PLACE.0.sync().unwrap();
    };
    run();
    let time = |_| {
        let start = Instant::now();
        run();
        start.elapsed().as_secs_f64()
    };
    (0..RUNS).map(time).fold(f64::INFINITY, f64::min)
}

fn convolutions() -> impl Iterator<Item = Case> {
    // Inputs, outputs, kernel, stride, pixels along an edge.
    let shapes = [
        [4, 320, 3, 1, 64],
        [320, 320, 3, 1, 64],
        [960, 320, 3, 1, 64],
        [640, 640, 3, 1, 32],
        [1280, 1280, 3, 1, 16],
        [1280, 1280, 3, 1, 8],
        [320, 320, 3, 2, 64],
        [320, 320, 1, 1, 64],
        [64, 64, 3, 1, 16],
        [128, 128, 3, 1, 512],
        [512, 512, 3, 1, 128],
    ];
    shapes.into_iter().map(|[inputs, outputs, kernel, stride, edge]| {
        // As the loader lays it out.
        let weight = random([kernel, kernel, inputs, outputs], 2).permute([3, 2, 0, 1]);
        let geometry = ConvGeometry { stride, padding: kernel / 2 };
        Case {
            name: format!("conv{kernel}x{kernel} stride {stride}, {inputs} to {outputs}, {edge} px"),
            input: random([1, inputs, edge, edge], 1),
            function: Box::new(move |x| ops::frozen_conv2d(x, weight.clone(), None, geometry)),
            operations: 2.0 * (inputs * outputs * kernel * kernel * (edge / stride).pow(2)) as f64,
        }
    })
}

fn products() -> impl Iterator<Item = Case> {
    let linears = [[4096, 320, 320], [4096, 320, 2560], [1024, 640, 5120], [256, 5120, 1280], [1536, 3072, 9216]];
    let linears = linears.into_iter().map(|[rows, inputs, outputs]| {
        let weight: Tensor<2> = random([inputs, outputs], 2);
        Case {
            name: format!("linear {rows} x {inputs} x {outputs}"),
            input: random([1, 1, rows, inputs], 1),
            function: Box::new(move |x| burn::tensor::module::linear(x, weight.clone(), None)),
            operations: 2.0 * (rows * inputs * outputs) as f64,
        }
    });
    let attentions =
        [[8, 4096, 4096, 40], [8, 4096, 77, 40], [8, 1024, 1024, 80], [10, 1024, 1024, 64], [24, 1536, 1536, 128]];
    linears.chain(attentions.into_iter().map(|[heads, queries, keys, width]| {
        let (k, v) = (random([1, heads, keys, width], 2), random([1, heads, keys, width], 3));
        Case {
            name: format!("attention {heads} x {queries} x {keys} x {width}, backward to q"),
            input: random([1, heads, queries, width], 1),
            function: Box::new(move |q| ops::sdpa(q, k.clone(), v.clone())),
            operations: 4.0 * (heads * queries * keys * width) as f64,
        }
    }))
}

fn passes() -> Vec<Case> {
    let case = |name: &str, shape: [usize; 4], function: Function| Case {
        name: format!("{name} {shape:?}"),
        input: random(shape, 1),
        function,
        operations: 0.0,
    };
    let group = |channels| -> Function {
        let weight: Tensor<1> = random([channels], 2);
        Box::new(move |x| ops::group_norm_silu(x, weight.clone(), weight.clone(), 32, 1e-5))
    };
    let rows = |x: Tensor<4>| -> Tensor<3> {
        let [b, _, n, width] = x.dims();
        x.reshape([b, n, width])
    };
    let vector: Tensor<1> = random([320], 2);
    let modulation: Tensor<3> = random([1, 1, 3072], 3);
    let head: Tensor<1> = random([128], 4);
    let angles: Vec<f64> = (0..1536 * 64).map(f64::from).collect();
    let rotary = ops::Rotary::new(&angles, 128, &PLACE.0);
    vec![
        case("group_norm + silu", [1, 320, 64, 64], group(320)),
        case("group_norm + silu", [1, 1280, 16, 16], group(1280)),
        case("group_norm + silu", [1, 128, 512, 512], group(128)),
        case(
            "layer_norm",
            [1, 1, 4096, 320],
            Box::new(move |x| ops::layer_norm(rows(x), vector.clone(), vector.clone(), 1e-5).unsqueeze_dim(1)),
        ),
        case(
            "modulated_layer_norm",
            [1, 1, 1536, 3072],
            Box::new(move |x| {
                ops::modulated_layer_norm(rows(x), modulation.clone(), modulation.clone(), 1e-6).unsqueeze_dim(1)
            }),
        ),
        case("rms_norm", [1, 24, 1536, 128], Box::new(move |x| ops::rms_norm(x, head.clone(), 1e-6))),
        case("geglu", [1, 1, 4096, 2560], Box::new(move |x| ops::geglu(rows(x)).unsqueeze_dim(1))),
        case("gelu_tanh", [1, 1, 1536, 12_288], Box::new(ops::gelu_tanh)),
        case("rotary", [1, 24, 1536, 128], Box::new(move |x| rotary.turn(x))),
    ]
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, without this word.
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let word = arguments.iter().find(|argument| !argument.starts_with("--")).cloned().unwrap_or_default();
    let edge = if PLACE.0 == Device::flex() { 2048 } else { 8192 };
    let square: Tensor<2> = random([edge, edge], 1);
    let ceiling = 2.0 * (edge as f64).powi(3) / best(|| drop(square.clone().matmul(square.clone())));
    println!("a product of {edge} x {edge} x {edge}: {:.0} billion operations a second", ceiling / 1e9);
    println!("{:>56}  {:>10}  {:>8}  {:>10}  {:>8}", "", "forward ms", "", "both ms", "");
    for case in convolutions().chain(products()).chain(passes()).filter(|case| case.name.contains(&word)) {
        let y = (case.function)(case.input.clone());
        let bytes = PLACE.1.size() as f64 * (case.input.shape().num_elements() + y.shape().num_elements()) as f64;
        let forward = best(|| drop((case.function)(case.input.clone())));
        // Backward by a sum: one number's gradient, seen at every place.
        let both = best(|| {
            let leaf = case.input.clone().autodiff().require_grad();
            let mut gradients = (case.function)(leaf.clone()).sum().backward();
            drop(leaf.grad_remove(&mut gradients));
        });
        let rate = |seconds: f64, times: f64| match case.operations > 0.0 {
            true => format!("{:.2}", times * case.operations / ceiling / seconds),
            false => format!("{:.1} GB/s", times * bytes / seconds / 1e9),
        };
        // An attention's backward has five products for the forward's two; others have one for one.
        let times = if case.name.starts_with("attention") { 3.5 } else { 2.0 };
        println!(
            "{:>56}  {:10.2}  {:>8}  {:10.2}  {:>8}",
            case.name,
            forward * 1e3,
            rate(forward, 1.0),
            both * 1e3,
            rate(both, times)
        );
    }
}
