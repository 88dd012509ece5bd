//! 8-bit floats with scales, and other storage forms of weights.
//!
//! Layouts: ComfyUI `comfy/quant_ops.py` and `comfy/utils.py` (`convert_old_quants`). Plain fp8 needs nothing of this:
//! its numbers are the weights.

use std::sync::Arc;

use serde_json::Value;

use crate::component::Piece;
use crate::dtype::Dtype;
use crate::error::CheckpointError;
use crate::safetensors::SafetensorsFile;

/// Endings of a layer's scale: the older and the newer layout.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];

/// Endings of tensors that go with a weight and hold none.
const COMPANIONS: [&str; 5] = [".scale_weight", ".scale_input", ".weight_scale", ".input_scale", ".comfy_quant"];

/// Embeddings are looked up, not multiplied: the programs that scale linear layers leave them plain.
const UNSCALED: [&str; 4] = ["shared.", "embed_tokens.", "token_embedding.", "relative_attention_bias."];

/// Whether an entry goes with a weight and holds none itself.
pub(crate) fn is_companion(name: &str) -> bool {
    name == "scaled_fp8" || COMPANIONS.iter().any(|ending| name.ends_with(ending))
}

/// The scales of a part.
pub(crate) struct Scales<'f> {
    files: &'f [Arc<SafetensorsFile>],
    /// Whether the part is stored with scales at all.
    scaled: bool,
}

impl<'f> Scales<'f> {
    pub(crate) fn of(files: &'f [Arc<SafetensorsFile>], prefix: &str) -> Self {
        let mark = |name: &str| name.strip_prefix(prefix).is_some_and(is_companion);
        Self { files, scaled: files.iter().any(|file| file.names().any(mark)) }
    }

    /// A stored tensor with its scale, if it has one.
    pub(crate) fn piece(&self, file: &Arc<SafetensorsFile>, key: &str) -> Result<Piece, CheckpointError> {
        let mut piece = Piece::new(file, key);
        let Some(info) = file.info(key).filter(|_| self.scaled) else { return Ok(piece) };
        if !matches!(info.dtype, Dtype::F8E4M3 | Dtype::F8E5M2) || info.shape.len() != 2 {
            return Ok(piece);
        }
        let Some(layer) = key.strip_suffix(".weight") else { return Ok(piece) };
        let beside = SCALES.iter().map(|ending| format!("{layer}{ending}"));
        for scale in beside {
            if let Some(holder) = self.files.iter().find(|file| file.info(&scale).is_some()) {
                piece.scale = Some((Arc::clone(holder), scale));
                return Ok(piece);
            }
        }
        if UNSCALED.iter().any(|name| key.contains(name)) {
            return Ok(piece);
        }
        let problem = format!(
            "it is a scaled 8-bit float, and its scale ('{layer}.scale_weight' or '{layer}.weight_scale') is missing. \
             Fetch the file again, or get the f16 or bf16 version of the model."
        );
        Err(CheckpointError::tensor(file.path(), key, problem))
    }
}

/// The storage form of weights that training cannot use, if the file has one.
pub(crate) fn unusable(file: &SafetensorsFile) -> Option<String> {
    file.tensors().find_map(|(name, info)| mark(file, name, info.dtype)).or_else(|| stated(file))
}

fn mark(file: &SafetensorsFile, name: &str, dtype: Dtype) -> Option<String> {
    if name.contains(".quant_state.bitsandbytes__") || name.ends_with(".quant_map") {
        return Some("bitsandbytes 4-bit".to_owned());
    }
    if name.ends_with(".qweight") || name.ends_with(".qzeros") {
        return Some("GPTQ or AWQ".to_owned());
    }
    if name.ends_with(".SCB") {
        return Some("bitsandbytes 8-bit".to_owned());
    }
    if name.ends_with(".weight_scale_2") {
        return Some("nvfp4".to_owned());
    }
    if name.ends_with(".comfy_quant") {
        let stated: Option<Value> = file.bytes(name).ok().and_then(|text| serde_json::from_slice(text).ok());
        let format = stated.as_ref().and_then(|stated| stated["format"].as_str());
        let format = format.unwrap_or("ComfyUI quantised layers of an unknown format").to_owned();
        return (!is_fp8(&format)).then_some(format);
    }
    if name.ends_with(".weight") && matches!(dtype, Dtype::F4 | Dtype::I8 | Dtype::U8 | Dtype::I32) {
        return Some(format!("weights of type {dtype}"));
    }
    None
}

/// The header of newer ComfyUI files: `{"layers": {name: {"format": ...}}}`.
fn stated(file: &SafetensorsFile) -> Option<String> {
    let text = file.metadata().get("_quantization_metadata")?;
    let stated: Value = serde_json::from_str(text).ok()?;
    let formats = stated["layers"].as_object()?.values().filter_map(|layer| layer["format"].as_str());
    formats.filter(|format| !is_fp8(format)).map(str::to_owned).next()
}

fn is_fp8(format: &str) -> bool {
    matches!(format, "float8_e4m3fn" | "float8_e5m2" | "fp8")
}
