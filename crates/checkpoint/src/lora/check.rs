//! Whether other programs will read a LoRA file.

use std::path::Path;

use crate::error::CheckpointError;
use crate::family::Family;
use crate::lora::read;
use crate::safetensors::SafetensorsFile;

/// A program that reads LoRA files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumer {
    ComfyUi,
    Webui,
    Diffusers,
    InvokeAi,
}

impl Consumer {
    pub const ALL: [Consumer; 4] = [Consumer::ComfyUi, Consumer::Webui, Consumer::Diffusers, Consumer::InvokeAi];

    /// The name people use.
    pub fn label(self) -> &'static str {
        match self {
            Consumer::ComfyUi => "ComfyUI",
            Consumer::Webui => "AUTOMATIC1111 and Forge",
            Consumer::Diffusers => "diffusers",
            Consumer::InvokeAi => "InvokeAI",
        }
    }
}

/// A LoRA file that was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    pub family: Option<Family>,
    pub modules: usize,
    /// Of the file.
    pub bytes: u64,
    /// Why a program does not read it; `None`: it does.
    pub consumers: Vec<(Consumer, Option<String>)>,
}

/// Reads a LoRA file as other programs do: every layer by its name, every number.
///
/// # Errors
/// When it is damaged, holds a name that cannot be placed, no layer, or a number that is none.
pub fn check(path: &Path) -> Result<Checked, CheckpointError> {
    let file = SafetensorsFile::open(path)?;
    let lora = read(path)?;
    let kohya = file.names().any(|name| name.starts_with("lora_unet_") || name.starts_with("lora_te"));
    let flux = lora.family.is_some_and(Family::is_flux1);
    let problem = |consumer: Consumer| match consumer {
        _ if kohya => None,
        Consumer::Diffusers => None,
        Consumer::ComfyUi | Consumer::InvokeAi if flux => None,
        Consumer::ComfyUi | Consumer::InvokeAi | Consumer::Webui => {
            Some("it does not know these layer names; export with kohya's names for it".to_owned())
        }
    };
    let consumers = Consumer::ALL.map(|consumer| (consumer, problem(consumer))).to_vec();
    Ok(Checked { family: lora.family, modules: lora.modules.len(), bytes: file.file_size(), consumers })
}
