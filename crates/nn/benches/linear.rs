//! Seconds for forward and backward of a linear layer by how its weight is kept, and what that takes in memory:
//! `cargo bench --workspace --bench linear`. The shape is that of FLUX's feed-forward layers for 1024 tokens.
#![allow(clippy::unwrap_used, reason = "a benchmark may fail by panicking")]

use std::sync::Arc;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use half::bf16;
use lorikeet_nn::{Context, Linear, Loader, RawFormat, RawTensor, Storage, WeightSource};
use lorikeet_seeded::{Purpose, Stream};

const SHAPE: [usize; 2] = [12_288, 3072];
const TOKENS: usize = 1024;
const RUNS: usize = 3;

struct File(Arc<Vec<u8>>);

impl WeightSource for File {
    fn shape(&self, _: &str) -> Option<Vec<usize>> {
        Some(SHAPE.to_vec())
    }

    fn f32(&self, _: &str) -> Result<Vec<f32>, String> {
        Ok(self.0.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect())
    }

    fn raw(&self, _: &str) -> Option<RawTensor> {
        Some(RawTensor::new(RawFormat::Bf16, self.0.clone(), 0..self.0.len()))
    }
}

/// Anonymous memory of this process in MB; zero where the system does not tell.
fn anonymous() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0 / 1e6
}

fn random(shape: [usize; 2], seed: u64) -> Tensor<2> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (&Device::flex(), DType::F32))
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, without this word.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let weights = Stream::new(1, Purpose::RandomWeights, &[]).normals(SHAPE[0] * SHAPE[1]);
    let file = File(Arc::new(weights.iter().flat_map(|v| bf16::from_f32(0.02 * v).to_le_bytes()).collect()));
    drop(weights);
    let device = Device::flex();
    let (x, dy) = (random([TOKENS, SHAPE[1]], 2), random([TOKENS, SHAPE[0]], 3));
    println!("[{TOKENS}, {}] x [{}, {}], best of {RUNS}", SHAPE[1], SHAPE[1], SHAPE[0]);
    println!("{:>24}  {:>8}  {:>9}  {:>8}  {:>8}", "kept", "load s", "memory MB", "forward", "both");
    let storages = [
        Storage::Resident,
        Storage::Int8 { block: None },
        Storage::Int8 { block: Some(64) },
        Storage::Int4 { block: 32 },
        Storage::Int4 { block: 64 },
    ];
    // All are loaded first: what the runs leave to the allocator would hide what a weight takes.
    let layers = storages.map(|storage| {
        let (before, start) = (anonymous(), Instant::now());
        let loader = Loader::new(&file, "bench", &device, DType::F32).with_storage(storage);
        let layer = Linear::load(&loader, SHAPE[1], SHAPE[0], false).unwrap();
        (storage, layer, start.elapsed().as_secs_f64(), anonymous() - before)
    });
    for (storage, layer, loaded, memory) in &layers {
        let mut best = [f64::INFINITY; 2];
        for _ in 0..RUNS {
            let start = Instant::now();
            let leaf = x.clone().autodiff().require_grad();
            let y = layer.forward(&Context::base(), leaf.clone());
            best[0] = best[0].min(start.elapsed().as_secs_f64());
            let mut gradients = (y * dy.clone()).sum().backward();
            let gradient = leaf.grad_remove(&mut gradients).unwrap();
            best[1] = best[1].min(start.elapsed().as_secs_f64());
            drop(gradient);
        }
        println!("{:>24}  {loaded:8.2}  {memory:9.1}  {:8.3}  {:8.3}", format!("{storage:?}"), best[0], best[1]);
    }
}
