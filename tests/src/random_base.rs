//! Writes a base of real size with random weights, to measure speed and memory without any download:
//! `cargo run --release -p lorikeet-e2e --bin random-base -- sd15|sd2|sdxl|flux-dev OUT [--dtype f16|bf16|f32] [--only PART]`
//!
//! `OUT` is a folder. SD families become one file; FLUX becomes `flux1-dev.safetensors`, `ae.safetensors`,
//! `clip_l.safetensors` and `t5xxl.safetensors` (34 GB in bf16). Names and shapes are those of `tests/fixtures/keys`.
//! The numbers are uniform with a spread of half of 1/sqrt(inputs), norms are one and biases zero, so that activations
//! stay finite. A run gives the same bytes every time.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use lorikeet_checkpoint::{Dtype, from_f32, write_streamed};

type Tensors = Vec<(String, Dtype, Vec<usize>)>;

/// A key list and where its tensors go: file, name of the part for `--only`, list, column of names, of shapes, prefix.
type Source = (&'static str, &'static str, &'static str, usize, usize, &'static str);

const SD15: [Source; 3] = [
    ("sd15.safetensors", "unet", "unet_sd15", 0, 2, "model.diffusion_model."),
    ("sd15.safetensors", "vae", "vae_sd_4ch", 0, 2, "first_stage_model."),
    ("sd15.safetensors", "text_encoder", "clip_l", 0, 1, "cond_stage_model.transformer."),
];
const SD2: [Source; 3] = [
    ("sd2.safetensors", "unet", "unet_sd2", 0, 2, "model.diffusion_model."),
    ("sd2.safetensors", "vae", "vae_sd_4ch", 0, 2, "first_stage_model."),
    ("sd2.safetensors", "text_encoder", "openclip_H", 0, 2, "cond_stage_model.model."),
];
const SDXL: [Source; 4] = [
    ("sdxl.safetensors", "unet", "unet_sdxl", 0, 2, "model.diffusion_model."),
    ("sdxl.safetensors", "vae", "vae_sd_4ch", 0, 2, "first_stage_model."),
    ("sdxl.safetensors", "text_encoder", "clip_l", 0, 1, "conditioner.embedders.0.transformer."),
    ("sdxl.safetensors", "text_encoder_2", "openclip_bigG", 0, 2, "conditioner.embedders.1.model."),
];
const FLUX: [Source; 4] = [
    ("flux1-dev.safetensors", "transformer", "flux_dev", 0, 2, ""),
    ("ae.safetensors", "vae", "vae_flux_16ch", 0, 2, ""),
    ("clip_l.safetensors", "text_encoder", "clip_l", 0, 1, ""),
    ("t5xxl.safetensors", "text_encoder_2", "t5xxl_encoder", 0, 1, ""),
];

fn main() -> ExitCode {
    lorikeet_e2e::tool(run)
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    const USAGE: &str = "random-base sd15|sd2|sdxl|flux-dev OUT [--dtype f16|bf16|f32] [--only PART]";
    let [family, out, options @ ..] = arguments else { return Err(USAGE.into()) };
    let sources: &[Source] = match family.as_str() {
        "sd15" => &SD15,
        "sd2" => &SD2,
        "sdxl" => &SDXL,
        "flux-dev" => &FLUX,
        _ => return Err(USAGE.into()),
    };
    let (mut dtype, mut only) = (Dtype::Bf16, None);
    for option in options.chunks(2) {
        match option {
            [name, value] if name == "--dtype" => {
                let known = [Dtype::F16, Dtype::Bf16, Dtype::F32];
                let named = |dtype: &&Dtype| dtype.name().eq_ignore_ascii_case(value);
                dtype = *known.iter().find(named).ok_or("--dtype is f16, bf16 or f32")?;
            }
            [name, value] if name == "--only" => only = Some(value.as_str()),
            _ => return Err(USAGE.into()),
        }
    }
    let mut files: BTreeMap<&str, Tensors> = BTreeMap::new();
    for (file, part, list, name, shape, prefix) in sources {
        if only.is_none_or(|only| only == *part) {
            files.entry(file).or_default().extend(tensors(list, *name, *shape, prefix, dtype)?);
        }
    }
    if files.is_empty() {
        return Err(format!("{family} has no part '{}'", only.unwrap_or_default()).into());
    }
    std::fs::create_dir_all(out)?;
    for (file, tensors) in files {
        let path = PathBuf::from(out).join(file);
        write_streamed(&path, &tensors, &BTreeMap::new(), |index, out| fill(&tensors[index], index, out))?;
        println!("{} ({:.2} GB)", path.display(), std::fs::metadata(&path)?.len() as f64 / 1e9);
    }
    Ok(())
}

fn tensors(list: &str, name: usize, shape: usize, prefix: &str, dtype: Dtype) -> Result<Tensors, Box<dyn Error>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/keys").join(format!("{list}.tsv"));
    let text = std::fs::read_to_string(path)?;
    let mut tensors = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<&str> = line.split('\t').collect();
        let (Some(name), Some(shape)) = (columns.get(name), columns.get(shape)) else { continue };
        if *shape != "scalar" {
            let shape = shape.split('x').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
            tensors.push((format!("{prefix}{name}"), dtype, shape));
        }
    }
    Ok(tensors)
}

/// Numbers made at a time.
const BLOCK: usize = 1 << 18;

fn fill(tensor: &(String, Dtype, Vec<usize>), index: usize, out: &mut dyn Write) -> std::io::Result<()> {
    let (name, dtype, shape) = tensor;
    let count: usize = shape.iter().product();
    let inputs: usize = shape[1..].iter().product();
    // A matrix or a kernel spreads around zero. A vector is a norm or a bias, and norms are one.
    let spread = if shape.len() > 1 { 0.5 * (3.0 / inputs as f32).sqrt() } else { 0.0 };
    let middle = if shape.len() == 1 && (name.ends_with(".weight") || name.ends_with(".scale")) { 1.0 } else { 0.0 };
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ ((index as u64 + 1) << 32);
    let mut left = count;
    while left > 0 {
        let block = left.min(BLOCK);
        let values: Vec<f32> = (0..block)
            .map(|_| {
                // xorshift64 (Marsaglia 2003): cheap, and good enough for weights that mean nothing.
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                middle + spread * ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0)
            })
            .collect();
        out.write_all(&from_f32(*dtype, &values).ok_or_else(|| std::io::Error::other("no such type"))?)?;
        left -= block;
    }
    Ok(())
}
