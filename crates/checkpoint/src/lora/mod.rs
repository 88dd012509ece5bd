//! LoRA files: read in any of the namings in use, written with the names of kohya's sd-scripts or of PEFT.

mod check;
mod fuse;
mod names;
mod peft;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::Value;

use crate::detect::{Contents, detect, is_lora_key, lora_family};
use crate::dtype::{Dtype, from_f32, to_f32};
use crate::error::CheckpointError;
use crate::family::Family;
use crate::metadata::{TrainingFacts, legacy_hash};
use crate::safetensors::SafetensorsFile;
use crate::write::{TensorData, Written, data_sha256, ordered, write_safetensors};
pub use check::{Checked, Consumer, check};
use fuse::Split;
use names::{Layer, Role, kohya_name, parse_key};
pub use peft::write_peft;

/// Numbers with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

/// One adapted layer: the change of its weight is `alpha / rank * up @ down`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraModule {
    /// `unet.`, `transformer.`, `text_encoder.` or `text_encoder_2.`, then the layer's path as in [`crate::Component`],
    /// e.g. `unet.mid_block.attentions.0.proj_in` or `transformer.single_blocks.0.linear1`.
    pub name: String,
    pub rank: usize,
    pub alpha: f32,
    /// `[rank, in]`, or `[rank, in, k, k]` for a convolution.
    pub down: Array,
    /// `[out, rank]`, or `[out, rank, 1, 1]` for a convolution.
    pub up: Array,
}

/// A LoRA file in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// The family it was made for, as far as its keys tell.
    pub family: Option<Family>,
    /// Modules by name.
    pub modules: Vec<LoraModule>,
    pub metadata: BTreeMap<String, String>,
}

/// Reads a LoRA for any family that Lorikeet opens, in kohya or diffusers/PEFT naming. Layers that diffusers splits and
/// the FLUX transformer has fused become LoRAs of the fused layers with exactly the same effect.
pub fn read(path: impl AsRef<Path>) -> Result<LoraFile, CheckpointError> {
    read_file(path.as_ref(), None, &HashMap::new())
}

/// As [`read`], for a base of a family: a LoRA for another one is told, and the underscores of kohya names are resolved
/// against the base's own dotted layer names first.
pub fn read_for<S: AsRef<str>>(
    path: impl AsRef<Path>,
    family: Family,
    layers: impl IntoIterator<Item = S>,
) -> Result<LoraFile, CheckpointError> {
    let known: HashMap<String, String> = layers
        .into_iter()
        .filter_map(|layer| kohya_name(family, layer.as_ref()).map(|name| (name, layer.as_ref().to_owned())))
        .collect();
    read_file(path.as_ref(), Some(family), &known)
}

fn read_file(
    path: &Path,
    wanted: Option<Family>,
    known: &HashMap<String, String>,
) -> Result<LoraFile, CheckpointError> {
    let file = SafetensorsFile::open(path)?;
    if !file.names().any(is_lora_key) {
        return Err(not_a_lora(path, &detect(&file)));
    }
    let family = lora_family(&file);
    check_family(path, family, wanted)?;
    let mut keys: BTreeMap<Layer, BTreeMap<Role, &str>> = BTreeMap::new();
    for key in file.names() {
        let fail = |problem| CheckpointError::LoraKey { path: path.to_owned(), key: key.to_owned(), problem };
        let (layer, role) = parse_key(key, known).map_err(fail)?;
        if let Some(other) = keys.entry(layer).or_default().insert(role, key) {
            return Err(fail(format!("it names the same tensor as '{other}': two namings are mixed in one file.")));
        }
    }
    let peft = PeftConfig::of(&file);
    let mut modules: BTreeMap<String, Vec<Split>> = BTreeMap::new();
    for (layer, keys) in &keys {
        let mut module = module(&file, layer.name.clone(), keys, &peft)?;
        if layer.swap_halves {
            module.up = fuse::swapped_halves(&module.up);
        }
        let split = Split { index: layer.index, count: layer.count, module };
        modules.entry(layer.name.clone()).or_default().push(split);
    }
    let fused = |(name, mut splits): (String, Vec<Split>)| match &mut splits[..] {
        [Split { count: 1, module, .. }] => Ok(module.clone()),
        _ => fuse::fuse(&name, &splits).map_err(|problem| CheckpointError::LoraKey {
            path: path.to_owned(),
            key: name.clone(),
            problem,
        }),
    };
    let modules = modules.into_iter().map(fused).collect::<Result<_, _>>()?;
    Ok(LoraFile { family, modules, metadata: file.metadata().clone() })
}

fn check_family(path: &Path, found: Option<Family>, wanted: Option<Family>) -> Result<(), CheckpointError> {
    let Some(found) = found else { return Ok(()) };
    let same = |wanted: Family| wanted == found || (wanted.is_flux1() && found.is_flux1());
    let advice = match wanted {
        Some(wanted) if !same(wanted) => {
            format!("The base is {wanted}: choose a LoRA for that, or the base it is for.")
        }
        None if !found.openable() => {
            "Lorikeet uses LoRAs for Stable Diffusion 1.x and 2.x, SDXL and FLUX.1; choose one of those.".to_owned()
        }
        _ => return Ok(()),
    };
    Err(CheckpointError::Unsupported { path: path.to_owned(), what: format!("a LoRA for {found}"), advice })
}

/// Saves a LoRA with the kohya names of a family, `alpha` beside each module, all in one type (F16, Bf16 or F32), and
/// adds `format`, `sshs_model_hash`, `sshs_legacy_hash` and `modelspec.hash_sha256` to the metadata. An alpha that the
/// type cannot hold exactly is saved as F32, so that the strength stays what was trained.
pub fn write(
    path: impl AsRef<Path>,
    family: Family,
    modules: &[LoraModule],
    dtype: Dtype,
    metadata: &BTreeMap<String, String>,
) -> Result<Written, CheckpointError> {
    let path = path.as_ref();
    checked(path, modules, dtype)?;
    let mut tensors = Vec::with_capacity(3 * modules.len());
    for module in modules {
        let name = kohya_name(family, &module.name).ok_or_else(|| homeless(path, &module.name))?;
        let exact = |dtype| {
            let bytes = from_f32(dtype, &[module.alpha])?;
            (to_f32(dtype, &bytes)?[0] == module.alpha).then_some(dtype)
        };
        let alpha = Array { shape: Vec::new(), values: vec![module.alpha] };
        tensors.push(encoded(path, format!("{name}.alpha"), exact(dtype).unwrap_or(Dtype::F32), &alpha)?);
        tensors.push(encoded(path, format!("{name}.lora_down.weight"), dtype, &module.down)?);
        tensors.push(encoded(path, format!("{name}.lora_up.weight"), dtype, &module.up)?);
    }
    save(path, &tensors, metadata)
}

/// What must be so before anything is written.
fn checked(path: &Path, modules: &[LoraModule], dtype: Dtype) -> Result<(), CheckpointError> {
    let refuse = |problem: String| Err(CheckpointError::NotSavable { path: path.to_owned(), problem });
    if modules.is_empty() {
        return refuse("the LoRA has no layers.".to_owned());
    }
    if !matches!(dtype, Dtype::F16 | Dtype::Bf16 | Dtype::F32) {
        return refuse(format!("LoRA files are saved as F16, BF16 or F32, not {dtype}."));
    }
    modules.iter().try_for_each(|module| {
        check_shapes(module).or_else(|problem| refuse(format!("layer '{}': {problem}", module.name)))
    })
}

fn homeless(path: &Path, layer: &str) -> CheckpointError {
    let problem = format!("layer '{layer}' belongs to no part of the model that a LoRA can change.");
    CheckpointError::NotSavable { path: path.to_owned(), problem }
}

fn encoded(path: &Path, name: String, dtype: Dtype, array: &Array) -> Result<TensorData<'static>, CheckpointError> {
    match encode(dtype, &array.values) {
        Ok(bytes) => Ok(TensorData { name, dtype, shape: array.shape.clone(), bytes: Cow::Owned(bytes) }),
        Err(problem) => Err(CheckpointError::BadValue { path: path.to_owned(), tensor: name, problem }),
    }
}

/// Saves the tensors with the hashes that programs look for.
fn save(
    path: &Path,
    tensors: &[TensorData<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<Written, CheckpointError> {
    let order = ordered(path, tensors)?;
    let hash = data_sha256(&order);
    let mut metadata = metadata.clone();
    metadata.insert("format".to_owned(), "pt".to_owned());
    metadata.insert("sshs_legacy_hash".to_owned(), legacy_hash(path, &order, &metadata)?);
    metadata.insert("sshs_model_hash".to_owned(), hash.clone());
    metadata.insert("modelspec.hash_sha256".to_owned(), format!("0x{hash}"));
    write_safetensors(path, tensors, &metadata)
}

/// The metadata that other programs read: spec keys `ss_*` and `modelspec.*`.
pub fn metadata(facts: &TrainingFacts) -> BTreeMap<String, String> {
    facts.to_metadata()
}

/// The kohya name of a layer of a family, e.g. `lora_unet_mid_block_attentions_0_proj_in`.
pub fn kohya_layer_name(family: Family, dotted: &str) -> Option<String> {
    kohya_name(family, dotted)
}

/// The dotted name of a layer from any spelling in use; see [`LoraModule::name`]. A layer that the model has fused with
/// others gives the name of the fused one.
pub fn dotted_layer_name(name: &str) -> Option<String> {
    names::layer(name, &HashMap::new()).map(|layer| layer.name)
}

fn module(
    file: &SafetensorsFile,
    name: String,
    keys: &BTreeMap<Role, &str>,
    peft: &PeftConfig,
) -> Result<LoraModule, CheckpointError> {
    let any_key = keys.values().next().copied().unwrap_or_default();
    let array = |role: Role, missing: &str| -> Result<Array, CheckpointError> {
        let key = keys.get(&role).ok_or_else(|| CheckpointError::LoraKey {
            path: file.path().to_owned(),
            key: any_key.to_owned(),
            problem: format!("the {missing} matrix of this layer is missing. The file is damaged."),
        })?;
        let values = file.f32(key)?;
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            let problem = format!("it holds {value}. The LoRA is broken; use an earlier save of it.");
            return Err(CheckpointError::tensor(file.path(), key, problem));
        }
        Ok(Array { shape: file.shape(key).unwrap_or_default().to_vec(), values })
    };
    let (down, up) = (array(Role::Down, "down (A)")?, array(Role::Up, "up (B)")?);
    let rank = down.shape.first().copied().unwrap_or(0);
    let mut module = LoraModule { alpha: rank as f32, name, rank, down, up };
    if let Some(key) = keys.get(&Role::Alpha) {
        let values = file.f32(key)?;
        match values[..] {
            [alpha] if alpha.is_finite() => module.alpha = alpha,
            [_] => return Err(CheckpointError::tensor(file.path(), key, "it is not a finite number.")),
            _ => return Err(CheckpointError::tensor(file.path(), key, "an alpha must be a single number.")),
        }
    } else if let Some(alpha) = peft.alpha(&module.name, rank) {
        module.alpha = alpha;
    }
    check_shapes(&module).map_err(|problem| CheckpointError::tensor(file.path(), any_key, problem))?;
    Ok(module)
}

fn check_shapes(module: &LoraModule) -> Result<(), String> {
    let (down, up) = (&module.down.shape[..], &module.up.shape[..]);
    let ranks = match (down, up) {
        ([down, _], [_, up]) | ([down, _, _, _], [_, up, 1, 1]) => (*down, *up),
        _ => return Err(format!("its matrices have shapes {down:?} and {up:?}; expected [rank, in] and [out, rank].")),
    };
    if ranks.0 != ranks.1 || ranks.0 != module.rank || module.rank == 0 {
        return Err(format!("its matrices have shapes {down:?} and {up:?}, whose ranks do not agree."));
    }
    for array in [&module.down, &module.up] {
        if array.shape.iter().product::<usize>() != array.values.len() {
            return Err(format!("a matrix of shape {:?} came with {} numbers.", array.shape, array.values.len()));
        }
    }
    Ok(())
}

fn encode(dtype: Dtype, values: &[f32]) -> Result<Vec<u8>, String> {
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(format!("{value}. Training has diverged; lower the learning rate and go on from an earlier save."));
    }
    let bytes = from_f32(dtype, values).ok_or_else(|| format!("numbers that {dtype} cannot hold."))?;
    let largest = values.iter().fold(0f32, |largest, value| largest.max(value.abs()));
    let rounded = from_f32(dtype, &[largest]).and_then(|bytes| to_f32(dtype, &bytes));
    if rounded.is_some_and(|rounded| !rounded[0].is_finite()) {
        return Err(format!("{largest}, which {dtype} cannot hold. Save as bf16 or f32 instead."));
    }
    Ok(bytes)
}

fn not_a_lora(path: &Path, contents: &Contents) -> CheckpointError {
    CheckpointError::Unsupported {
        path: path.to_owned(),
        what: contents.what(),
        advice: "It holds no LoRA layers: choose a LoRA file (.safetensors) here.".to_owned(),
    }
}

/// What diffusers notes in `lora_adapter_metadata` of the files it writes: PEFT files hold no alpha tensors.
struct PeftConfig(Value);

impl PeftConfig {
    fn of(file: &SafetensorsFile) -> Self {
        let text = file.metadata().get("lora_adapter_metadata").map(String::as_str);
        Self(text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Null))
    }

    fn alpha(&self, module: &str, rank: usize) -> Option<f32> {
        let (part, path) = module.split_once('.')?;
        let value = |key: &str| &self.0[format!("{part}.{key}")];
        // A pattern names a layer by the end of its path.
        let pattern = value("alpha_pattern").as_object().and_then(|patterns| {
            let ends = |name: &str| path == name || path.ends_with(&format!(".{name}"));
            patterns.iter().find(|(name, _)| ends(name)).and_then(|(_, alpha)| alpha.as_f64())
        });
        let alpha = pattern.or_else(|| value("lora_alpha").as_f64())? as f32;
        // Rank-stabilised LoRA scales by alpha / sqrt(rank).
        let stabilised = value("use_rslora").as_bool().unwrap_or(false);
        Some(if stabilised { alpha * (rank as f32).sqrt() } else { alpha })
    }
}
