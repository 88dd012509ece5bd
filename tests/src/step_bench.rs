//! Seconds and memory of one training step, beside `tests/bench/torch_step.py` (which makes the weights):
//! `step-bench WORK FOLDER [--steps N] [--segments N] [--weights file|int8|int4] [--device cpu|cuda|vulkan]`. WORK is one of [`WORKS`] or `vae-512`, which encodes; FOLDER holds `config.json` and
//! `weights.safetensors`. `step-bench load BASE` loads each part of a base, as a run does. Prints the seconds of each step by the clock and by processors, then the largest resident set in GB
//! or, of a card, what its memory pools came to.
//!
//! LoRA of rank 16 on all attention and feed-forward layers, AdamW, clipping at 1, in the dtype in which models compute on the device.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_adapters::{LoraSet, Size, transformer_targets};
use lorikeet_checkpoint::{Dtype, SafetensorsFile};
use lorikeet_models::flux::{FluxConfig, FluxTransformer};
use lorikeet_models::unet::{Added, UNet2DConditionModel, UNetConfig};
use lorikeet_models::vae::{AutoencoderKl, VaeConfig};
use lorikeet_nn::segmented::{self, Blocks, Segments, Side, Wanted};
use lorikeet_nn::{DeviceKind, LayerInfo, Loader, RawFormat, RawTensor, Storage, WeightSource, device};
use lorikeet_seeded::{Purpose, Stream};
use lorikeet_trainer::Base;
use lorikeet_trainer::optim::{self, AdamW, AdamWConfig};

/// Name, batch, and edge of the latents.
const WORKS: [(&str, usize, usize); 8] = [
    ("demo", 8, 16),
    ("sd15-256", 1, 32),
    ("sd15-512", 1, 64),
    ("sdxl-512", 1, 64),
    ("sdxl-1024", 1, 128),
    ("flux-blocks", 1, 64),
    ("flux-blocks-1024", 1, 128),
    ("flux-1024", 1, 128),
];
const TEXT_TOKENS: usize = 77;
const FLUX_TEXT_TOKENS: usize = 512;
const RANK: usize = 16;

struct Weights(Arc<SafetensorsFile>);

impl Weights {
    fn open(folder: &Path) -> Result<Self, Box<dyn Error>> {
        Ok(Self(Arc::new(SafetensorsFile::open(folder.join("weights.safetensors"))?)))
    }
}

impl WeightSource for Weights {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.info(name).map(|info| info.shape.clone())
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        self.0.f32(name).map_err(|error| error.to_string())
    }

    fn raw(&self, name: &str) -> Option<RawTensor> {
        let info = self.0.info(name)?;
        let format = match info.dtype {
            Dtype::F32 => RawFormat::F32,
            Dtype::F16 => RawFormat::F16,
            Dtype::Bf16 => RawFormat::Bf16,
            _ => return None,
        };
        let start = self.0.file_size() as usize - self.0.data_section().len();
        Some(RawTensor::new(format, self.0.clone(), start + info.range.start..start + info.range.end))
    }

    fn copied(&self, name: &str) {
        self.0.let_go(name);
    }
}

/// What is trained, on made-up inputs.
struct Work {
    blocks: Box<dyn Blocks>,
    layers: Vec<LayerInfo>,
    latents: Tensor<4>,
    side: Side,
}

fn main() -> ExitCode {
    lorikeet_e2e::tool(run)
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "step-bench WORK FOLDER [--steps N] [--segments N] [--weights file|int8|int4] [--device cpu|cuda|vulkan], \
        or step-bench load BASE";
    let [name, folder, options @ ..] = arguments else { return Err(USAGE.into()) };
    let (mut steps, mut storage) = (6, Storage::Resident);
    // The whole of FLUX keeps no activations of its 57 blocks but where they meet; PyTorch's side does the same.
    let mut segments = if name == "flux-1024" { Segments::PerBlock } else { Segments::One };
    let mut kind = DeviceKind::Cpu;
    for option in options.chunks(2) {
        match option {
            [option, value] if option == "--steps" => steps = value.parse()?,
            [option, value] if option == "--segments" => segments = Segments::Count(value.parse()?),
            [option, value] if option == "--device" => kind = value.parse()?,
            [option, value] if option == "--weights" => {
                storage = match value.as_str() {
                    "file" => Storage::Resident,
                    "int8" => Storage::Int8 { block: Some(128) },
                    "int4" => Storage::Int4 { block: 64 },
                    _ => return Err(USAGE.into()),
                }
            }
            _ => return Err(USAGE.into()),
        }
    }
    if name == "load" {
        load(folder)?;
        println!("peak {:.2}", peak(&Device::flex()));
        return Ok(());
    }
    let device = device::open(kind)?;
    let dtype = device::compute_dtype(kind, &device);
    if name.starts_with("vae") {
        encode(Path::new(folder), steps, &device, dtype)?;
        println!("peak {:.2}", peak(&device));
        return Ok(());
    }
    let Work { blocks, layers, latents, side } = work(name, Path::new(folder), storage, &device, dtype)?;
    let mut set = LoraSet::new(&layers, |_| Size { rank: RANK, alpha: RANK as f32 }, 0.0, 0, &device);
    println!("{} layers, {:.2} M trained numbers", layers.len(), set.parameters() as f64 / 1e6);
    let config = AdamWConfig { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 1e-2 };
    let mut adamw = AdamW::default();
    for step in 0..steps {
        let (start, before) = (Instant::now(), processor());
        let noise: Tensor<4> = random(latents.dims(), 100 + step, &device, DType::F32);
        let noisy = (latents.clone() * 0.7 + noise.clone() * 0.7).cast(dtype);
        let loss = |output: Tensor<4>| {
            let error = output.cast(DType::F32) - noise;
            (error.clone() * error).mean()
        };
        let outcome = segmented::backward(&*blocks, segments, noisy, &side, &Wanted::default(), &set, loss);
        let mut gradients = set.take_gradients();
        let norm = optim::global_norm(&gradients)?;
        optim::clip(&mut gradients, norm, 1.0);
        adamw.step(&config, &mut set, gradients, |_| 1e-4);
        let loss = optim::scalar(outcome.loss)?;
        println!("step {:.3} processor {:.2} loss {loss:.4}", start.elapsed().as_secs_f64(), processor() - before);
    }
    println!("peak {:.2}", peak(&device));
    Ok(())
}

/// One part after the other: text encoders and autoencoder are let go of before the denoiser comes.
fn load(base: &str) -> Result<(), Box<dyn Error>> {
    let (start, before) = (Instant::now(), processor());
    let base = Base::open(base, DeviceKind::Cpu)?;
    let told = |part: &str| println!("{part} {:.3}", start.elapsed().as_secs_f64());
    drop(base.load_text()?);
    told("text encoders");
    drop(base.load_vae()?);
    told("autoencoder");
    drop(base.load_denoiser()?);
    told("denoiser");
    println!("step {:.3} processor {:.2}", start.elapsed().as_secs_f64(), processor() - before);
    Ok(())
}

/// An autoencoder's way from a picture of 512 x 512 to latents.
fn encode(folder: &Path, runs: u64, device: &Device, dtype: DType) -> Result<(), Box<dyn Error>> {
    let config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let weights = Weights::open(folder)?;
    let loader = Loader::new(&weights, "vae", device, dtype);
    let model = AutoencoderKl::load(&VaeConfig::from_json(&config)?, &loader)?;
    for run in 0..runs {
        let picture = random([1, 3, 512, 512], run, device, dtype);
        let (start, before) = (Instant::now(), processor());
        drop(model.encode(picture).mean.into_data());
        println!("step {:.3} processor {:.2}", start.elapsed().as_secs_f64(), processor() - before);
    }
    Ok(())
}

fn work(name: &str, folder: &Path, storage: Storage, device: &Device, dtype: DType) -> Result<Work, Box<dyn Error>> {
    let (_, batch, edge) = WORKS.into_iter().find(|work| work.0 == name).ok_or("WORK is none of those there are")?;
    let config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)?;
    let weights = Weights::open(folder)?;
    let loader = |part| Loader::new(&weights, part, device, dtype).with_storage(storage);
    if name.starts_with("flux") {
        let config = FluxConfig::from_json(&config)?;
        let model = FluxTransformer::load(&config, &loader("transformer"))?;
        let states = random([batch, FLUX_TEXT_TOKENS, config.context_in_dim], 2, device, dtype);
        let side =
            model.side(&vec![0.5; batch], Some(1.0), states, random([batch, config.vec_in_dim], 3, device, dtype));
        let trained = |layer: &LayerInfo| layer.name.contains("_blocks.") && !layer.name.ends_with(".lin");
        let layers = model.layers().into_iter().filter(trained).collect();
        let latents = random([batch, config.in_channels / 4, edge, edge], 1, device, DType::F32);
        return Ok(Work { blocks: Box::new(model), layers, latents, side });
    }
    let config = UNetConfig::from_json(&config)?;
    let model = UNet2DConditionModel::load(&config, &loader("unet"))?;
    let states = random([batch, TEXT_TOKENS, config.cross_attention_dim], 2, device, dtype);
    let added = config.pooled_width().map(|width| Added {
        pooled: random([batch, width], 3, device, dtype),
        time_ids: vec![[512.0, 512.0, 0.0, 0.0, 512.0, 512.0]; batch],
    });
    let side = model.side(&vec![500.0; batch], states, added.as_ref());
    let latents = random([batch, config.in_channels, edge, edge], 1, device, DType::F32);
    Ok(Work { layers: transformer_targets(&model.layers()), blocks: Box::new(model), latents, side })
}

fn random<const D: usize>(shape: [usize; D], seed: u64, device: &Device, dtype: DType) -> Tensor<D> {
    let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
    Tensor::from_data(TensorData::new(values, shape), (device, dtype))
}

/// Seconds of processors that this process used so far, on Linux: they tell more than the clock where others use the
/// machine too.
fn processor() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanoseconds = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<f64>().ok()
    };
    tasks.filter_map(nanoseconds).sum::<f64>() / 1e9
}

/// Largest resident set of this process in GB, or what the pools of a card hold, which seldom shrink; zero where the system does not tell.
fn peak(device: &Device) -> f64 {
    if let Some(bytes) = device::memory_reserved(device).filter(|_| *device != Device::flex()) {
        return bytes as f64 / 1e9;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(0.0) * 1024.0 / 1e9
}
