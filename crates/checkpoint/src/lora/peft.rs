//! LoRA files in the naming of diffusers and PEFT.

use std::collections::BTreeMap;
use std::path::Path;

use super::fuse::{rows, split_rows, swapped_halves};
use super::{Array, LoraModule, checked, encoded, save};
use crate::dtype::Dtype;
use crate::error::CheckpointError;
use crate::family::Family;
use crate::keymap;
use crate::write::Written;

/// Saves a LoRA as `<part>.<diffusers path>.lora_A.weight` and `.lora_B.weight`. There is no alpha in such files: the
/// scale goes into `lora_B`. Fused layers of FLUX become the layers that diffusers splits them into, which share `lora_A`.
/// Metadata as in [`super::write`].
pub fn write_peft(
    path: impl AsRef<Path>,
    family: Family,
    modules: &[LoraModule],
    dtype: Dtype,
    metadata: &BTreeMap<String, String>,
) -> Result<Written, CheckpointError> {
    let path = path.as_ref();
    checked(path, modules, dtype)?;
    let mut tensors = Vec::with_capacity(2 * modules.len());
    for module in modules {
        let scale = module.alpha / module.rank as f32;
        let mut up = module.up.clone();
        up.values.iter_mut().for_each(|value| *value *= scale);
        for (layer, up) in layers(family, module, &up).ok_or_else(|| super::homeless(path, &module.name))? {
            tensors.push(encoded(path, format!("{layer}.lora_A.weight"), dtype, &module.down)?);
            tensors.push(encoded(path, format!("{layer}.lora_B.weight"), dtype, &up)?);
        }
    }
    save(path, &tensors, metadata)
}

/// The layers of diffusers that a module changes, each with its up matrix.
fn layers(family: Family, module: &LoraModule, up: &Array) -> Option<Vec<(String, Array)>> {
    let (part, inner) = module.name.split_once('.')?;
    if !family.parts().iter().any(|known| known.folder() == part && *known != crate::Part::Vae) {
        return None;
    }
    if part != "transformer" {
        return Some(vec![(module.name.clone(), up.clone())]);
    }
    let stack = keymap::flux_to_diffusers(&format!("{inner}.weight"))?;
    let sizes = split_rows(stack.names.len(), *module.down.shape.get(1)?, *up.shape.first()?);
    let mut start = 0;
    let mut layers = Vec::new();
    for (name, size) in stack.names.iter().zip(sizes) {
        let part = if stack.swap_halves { swapped_halves(up) } else { rows(up, start, size) };
        start += size;
        layers.push((format!("transformer.{}", name.strip_suffix(".weight")?), part));
    }
    Some(layers)
}
