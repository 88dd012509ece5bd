//! Rules between the tensor names of single-file checkpoints (ldm) and those of diffusers and transformers.
//!
//! Names here have no component prefix such as `model.diffusion_model.`. Every rule maps both ways.

mod flux;
mod text;
mod unet;
mod vae;

pub(crate) use flux::bfl_modern;
pub use flux::{FluxPiece, FluxStack, flux_to_bfl, flux_to_diffusers};
pub use text::{Take, clip_to_transformers, openclip_from_transformers, openclip_to_transformers, t5_to_transformers};
pub use unet::{UnetNumbering, unet_to_diffusers, unet_to_ldm};
pub use vae::{vae_is_attention_linear, vae_modern, vae_to_diffusers, vae_to_ldm};

/// Whether an entry of a single-file checkpoint belongs to training or to the noise schedule rather than to a part.
pub fn is_ballast(name: &str) -> bool {
    const SCHEDULE: [&str; 7] = ["betas", "alphas_cumprod", "sqrt_", "posterior_", "log_", "logvar", "lvlb_weights"];
    name.starts_with("model_ema.")
        || name.ends_with("position_ids")
        || name.ends_with("logit_scale")
        || (!name.contains('.') && SCHEDULE.iter().any(|start| name.starts_with(start)))
}

/// Splits `12.rest` into 12 and `rest`.
pub(crate) fn number(text: &str) -> Option<(usize, &str)> {
    let (digits, rest) = text.split_once('.')?;
    Some((digits.parse().ok()?, rest))
}

pub(crate) fn swap_start(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(from, to)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}

pub(crate) fn swap_start_back(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(to, from)| name.strip_prefix(from).map(|rest| format!("{to}{rest}")))
}
