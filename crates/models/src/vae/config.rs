use serde::Deserialize;

use crate::ModelError;

/// The keys of diffusers' `vae/config.json` that this program reads.
#[derive(Clone, Debug, Deserialize)]
pub struct VaeConfig {
    pub in_channels: usize,
    pub out_channels: usize,
    pub latent_channels: usize,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub norm_num_groups: usize,
    /// Latents of unit variance are `scaling_factor * (z - shift_factor)`.
    #[serde(default = "sd1_scaling")]
    pub scaling_factor: f64,
    pub shift_factor: Option<f64>,
    #[serde(default = "yes")]
    pub mid_block_add_attention: bool,
    #[serde(default = "yes")]
    pub use_quant_conv: bool,
    #[serde(default = "yes")]
    pub use_post_quant_conv: bool,
}

/// Configurations older than diffusers 0.15 leave it out.
fn sd1_scaling() -> f64 {
    0.18215
}

fn yes() -> bool {
    true
}

impl VaeConfig {
    /// # Errors
    /// When a key is missing or makes no sense.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, ModelError> {
        let config: Self = serde_json::from_value(json.clone())
            .map_err(|error| ModelError::Config { part: "autoencoder", reason: error.to_string() })?;
        let groups = config.norm_num_groups;
        if config.block_out_channels.is_empty()
            || groups == 0
            || config.block_out_channels.iter().any(|c| c % groups != 0)
            || config.scaling_factor <= 0.0
        {
            let reason =
                "block_out_channels must be multiples of norm_num_groups, and scaling_factor above 0".to_owned();
            return Err(ModelError::Config { part: "autoencoder", reason });
        }
        Ok(config)
    }

    /// How many pixels wide a latent is: 8 for four levels.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }

    pub fn shift(&self) -> f64 {
        self.shift_factor.unwrap_or(0.0)
    }
}
