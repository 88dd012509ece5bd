//! Model and adapter files: safetensors in and out, base models whatever their layout, LoRA files.
//!
//! [`open_base`] gives the parts of a Stable Diffusion, SDXL or FLUX.1 model under one set of names; [`inspect`] tells
//! what any file is; [`lora`] reads and writes adapters; [`write_safetensors`] saves so that a crash or a full disk
//! never costs the file that was there before.

mod base;
mod checks;
mod component;
mod configs;
mod detect;
mod discover;
mod dtype;
mod error;
mod family;
mod folder;
mod fp8;
mod hub_cache;
mod inspect;
pub mod keymap;
mod layout;
pub mod lora;
mod metadata;
mod parts;
mod safetensors;
mod sniff;
mod write;

pub use base::{BaseModel, Prediction, open_base, open_base_with};
pub use component::{Component, Mapped, Part, RawTensor};
pub use detect::{Contents, DenoiserInput, Layout, detect};
pub use discover::{Found, LoraFolder, discover, find_parts, lora_folders, usual_roots};
pub use dtype::{Dtype, from_f32, to_f32};
pub use error::CheckpointError;
pub use family::Family;
pub use hub_cache::{cached, hub_cache, hub_home, looks_like_hub_name};
pub use inspect::{Inspection, PartFacts, inspect, inspect_with};
pub use metadata::{FileHashes, FlowFacts, TrainingFacts, file_hashes};
pub use parts::{PartFiles, hub_file, where_to_get};
pub use safetensors::{HEADER_LIMIT, SafetensorsFile, TensorInfo};
pub use sniff::{Foreign, sniff};
pub use write::{TensorData, Written, remove_leftovers, write_atomically, write_safetensors, write_streamed};
