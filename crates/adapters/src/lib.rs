//! Adapters over any model's named layers. Today: LoRA (Hu and others 2021).
//!
//! An adapter answers a layer's question for a delta under its name; the model's code knows nothing of it. The trained
//! matrices are plain f32 tensors here; autodiff sees them only as fresh leaves of one backward pass.

mod deltas;
mod lora;
mod targets;

pub use deltas::Combined;
pub use lora::{LoraDeltas, LoraModule, LoraSet, Size};
pub use targets::{convolution_targets, text_encoder_targets, transformer_targets};

/// Why an adapter cannot be put on a model.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error("the LoRA has a module `{name}` that this base model lacks: it was made for another kind of model")]
    UnknownLayer { name: String },
    #[error(
        "LoRA module `{name}` has shapes {down:?} and {up:?}, which do not fit the layer's {inputs} inputs and {outputs} \
         outputs: it was made for another kind of model"
    )]
    WrongShape { name: String, down: Vec<usize>, up: Vec<usize>, inputs: usize, outputs: usize },
}
