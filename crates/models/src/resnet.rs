//! The residual block that the UNet and the autoencoder share.

use burn::Tensor;
use lorikeet_nn::{Context, Conv2d, GroupNorm, LayerInfo, Linear, Loader, NnError, ops::silu};

/// diffusers `ResnetBlock2D`: two normalised convolutions around an optional timestep bias, plus the input.
#[derive(Debug)]
pub(crate) struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

pub(crate) struct ResnetConfig {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// Width of the timestep embedding; none in the autoencoder.
    pub(crate) time: Option<usize>,
    pub(crate) groups: usize,
    pub(crate) epsilon: f64,
}

impl ResnetBlock {
    pub(crate) fn load(loader: &Loader, config: &ResnetConfig) -> Result<Self, NnError> {
        let &ResnetConfig { inputs, outputs, time, groups, epsilon } = config;
        Ok(Self {
            norm1: GroupNorm::load(&loader.at("norm1"), inputs, groups, epsilon)?,
            conv1: Conv2d::load_same(&loader.at("conv1"), inputs, outputs, 3)?,
            time_emb_proj: match time {
                Some(width) => Some(Linear::load(&loader.at("time_emb_proj"), width, outputs, true)?),
                None => None,
            },
            norm2: GroupNorm::load(&loader.at("norm2"), outputs, groups, epsilon)?,
            conv2: Conv2d::load_same(&loader.at("conv2"), outputs, outputs, 3)?,
            conv_shortcut: if inputs == outputs {
                None
            } else {
                Some(Conv2d::load_same(&loader.at("conv_shortcut"), inputs, outputs, 1)?)
            },
        })
    }

    /// `x` `[b, inputs, h, w]`, `time` `[b, 1, width]` → `[b, outputs, h, w]`.
    pub(crate) fn forward(&self, cx: &Context, x: Tensor<4>, time: Option<&Tensor<3>>) -> Tensor<4> {
        let mut h = self.conv1.forward(cx, self.norm1.forward_silu(x.clone()));
        if let (Some(projection), Some(time)) = (&self.time_emb_proj, time) {
            let bias = projection.forward(cx, silu(time.clone()));
            let [b, _, c] = bias.dims();
            h = h + bias.reshape([b, c, 1, 1]);
        }
        let h = self.conv2.forward(cx, self.norm2.forward_silu(h));
        match &self.conv_shortcut {
            Some(shortcut) => shortcut.forward(cx, x) + h,
            None => x + h,
        }
    }

    pub(crate) fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.time_emb_proj.iter()
    }

    pub(crate) fn layers(&self) -> impl Iterator<Item = LayerInfo> {
        [self.conv1.info(), self.conv2.info()]
            .into_iter()
            .chain(self.time_emb_proj.as_ref().map(Linear::info))
            .chain(self.conv_shortcut.as_ref().map(Conv2d::info))
    }
}
