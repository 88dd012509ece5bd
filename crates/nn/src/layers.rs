use std::cell::RefCell;

use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::module::linear;
use burn::tensor::{DType, Device};

use crate::ops::{HostMatrix, Packed, Part};
use crate::weights::FrozenMatrix;
use crate::{Context, ConvGeometry, Loader, LowRank, NnError, RawTensor, ops};

/// A layer that an adapter may be put on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerInfo {
    /// Component and diffusers path, for example `unet.down_blocks.0.attentions.0.proj_in`.
    pub name: String,
    pub kind: LayerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerKind {
    Linear { inputs: usize, outputs: usize },
    Conv2d { inputs: usize, outputs: usize, kernel: usize },
}

/// `y = x W^T + b` with a frozen `W`, kept as the loader's [`crate::Storage`] says.
#[derive(Debug)]
pub struct Linear {
    name: String,
    weight: FrozenMatrix,
    inputs: usize,
    outputs: usize,
    bias: Option<Tensor<1>>,
    device: Device,
    dtype: DType,
    /// A weight that lies in a file or in the computer's memory, while it is held on the device.
    brought: RefCell<Option<Box<Packed<Dispatch>>>>,
}

impl Linear {
    pub fn load(loader: &Loader, inputs: usize, outputs: usize, bias: bool) -> Result<Self, NnError> {
        let weight = loader.matrix("weight", outputs, inputs)?;
        let bias = if bias { Some(loader.tensor("bias", [outputs])?) } else { None };
        Ok(Self {
            name: loader.layer_name(),
            weight,
            inputs,
            outputs,
            bias,
            device: loader.device().clone(),
            dtype: loader.dtype(),
            brought: RefCell::default(),
        })
    }

    /// The weight, if it lies in a file and is read each time the layer runs.
    pub fn in_file(&self) -> Option<&RawTensor> {
        match &self.weight {
            FrozenMatrix::Packed(Packed::File { raw, .. }) => Some(raw),
            _ => None,
        }
    }

    /// Whether the weight is kept in the computer's memory and travels each time the layer runs.
    pub fn in_host_memory(&self) -> bool {
        matches!(self.weight, FrozenMatrix::Packed(Packed::Host { .. }))
    }

    /// Whether [`Self::bring`] holds it on the device.
    pub fn is_brought(&self) -> bool {
        self.brought.borrow().is_some()
    }

    /// Brings a weight that is kept elsewhere to the device, where it stays until [`Self::release`]; nothing if it is there.
    pub fn bring(&self) {
        let FrozenMatrix::Packed(kept) = &self.weight else { return };
        if self.is_brought() {
            return;
        }
        let matrix = match kept {
            Packed::File { raw, shape } => HostMatrix::Float { weight: ops::file_data(raw, *shape, self.dtype) },
            Packed::Host { matrix } => matrix.clone(),
            _ => return,
        };
        self.brought.replace(Some(Box::new(matrix.upload(self.device.as_dispatch()))));
    }

    /// Undoes [`Self::bring`].
    pub fn release(&self) {
        self.brought.replace(None);
    }

    /// `x` `[.., in]` → `[.., out]`.
    pub fn forward<const D: usize>(&self, cx: &Context, x: Tensor<D>) -> Tensor<D> {
        if let Some(adapter) = self.in_one_pass(cx, &x) {
            return ops::adapted_linear(x, self.frozen(), self.whole(), self.bias.clone(), adapter);
        }
        let delta = cx.deltas().and_then(|deltas| {
            let dims = x.dims();
            let inputs = dims[D - 1];
            // Adapters see [batch, rows, in]: the first axis stays the batch, so that their dropout can be per sample.
            let batch = if D > 1 { dims[0] } else { 1 };
            let rows = dims.iter().product::<usize>() / (batch * inputs).max(1);
            deltas.linear(&self.name, &x.clone().reshape([batch, rows, inputs]))
        });
        let y = self.base(x, self.whole(), self.bias.clone());
        match delta {
            Some(delta) => {
                let dims = y.dims();
                y + delta.reshape(dims)
            }
            None => y,
        }
    }

    /// As [`Self::forward`], with the output cut along its last axis into parts of `sizes`, which are those of all outputs.
    ///
    /// Where it can, each part has a product of its own: the backward of a cut fills an output of the whole size.
    pub fn forward_split<const D: usize, const N: usize>(
        &self,
        cx: &Context,
        x: Tensor<D>,
        sizes: [usize; N],
    ) -> [Tensor<D>; N] {
        let mut start = 0;
        let parts = sizes.map(|size| {
            start += size;
            (start - size, size)
        });
        if let Some(adapter) = self.in_one_pass(cx, &x) {
            return parts.map(|(start, size)| {
                let part = Part { outputs: start..start + size, ..self.whole() };
                let bias = self.bias.as_ref().map(|bias| bias.clone().narrow(0, start, size));
                let up = adapter.up.clone().narrow(0, start, size);
                ops::adapted_linear(x.clone(), self.frozen(), part, bias, LowRank { up, ..adapter.clone() })
            });
        }
        let y = self.forward(cx, x);
        parts.map(|(start, size)| y.clone().narrow(D - 1, start, size))
    }

    /// As [`Self::forward`] of two tensors side by side along their last axis, where it can without laying them so.
    pub fn forward_joined<const D: usize>(&self, cx: &Context, [first, second]: [Tensor<D>; 2]) -> Tensor<D> {
        let adapter = match self.in_one_pass(cx, &first) {
            Some(adapter) => Some(adapter),
            None if cx.deltas().is_none() && self.cheap_in_parts(&first) => None,
            None => return self.forward(cx, Tensor::cat(vec![first, second], D - 1)),
        };
        // The untouched base in the same order as one with an adapter, so that one that has learned nothing changes no bit.
        let part = |x: Tensor<D>, start, bias| {
            let inputs = x.dims()[D - 1];
            let part = Part { inputs: start..start + inputs, ..self.whole() };
            match adapter.clone() {
                Some(LowRank { down, up, scale }) => {
                    let down = down.narrow(1, start, inputs);
                    ops::adapted_linear(x, self.frozen(), part, bias, LowRank { down, up, scale })
                }
                None => self.base(x, part, bias),
            }
        };
        let cut = first.dims()[D - 1];
        part(first, 0, self.bias.clone()) + part(second, cut, None)
    }

    /// The layer without adapters, or a part of it.
    fn base<const D: usize>(&self, x: Tensor<D>, part: Part, bias: Option<Tensor<1>>) -> Tensor<D> {
        match &self.weight {
            FrozenMatrix::Plain(weight) if !ops::on_cpu(&x) => {
                linear(x, weight.clone().slice([part.inputs, part.outputs]), bias)
            }
            _ => ops::packed_linear(x, &self.frozen(), part, bias.as_ref()),
        }
    }

    /// `[out, in]`.
    fn frozen(&self) -> Packed<Dispatch> {
        match &self.weight {
            FrozenMatrix::Plain(weight) => Packed::Float { weight: weight.clone().transpose().into_dispatch() },
            FrozenMatrix::Packed(kept) => self.brought.borrow().as_deref().unwrap_or(kept).clone(),
        }
    }

    fn whole(&self) -> Part {
        Part { outputs: 0..self.outputs, inputs: 0..self.inputs }
    }

    /// The adapter, where [`ops::adapted_linear`] takes it.
    fn in_one_pass<const D: usize>(&self, cx: &Context, x: &Tensor<D>) -> Option<LowRank> {
        let adapter = cx.deltas()?.low_rank(&self.name, x.dtype())?;
        ops::on_cpu(x).then_some(adapter)
    }

    /// Whether parts of the weight can be had without converting the whole.
    fn cheap_in_parts<const D: usize>(&self, x: &Tensor<D>) -> bool {
        matches!(self.weight, FrozenMatrix::Plain(_)) || ops::on_cpu(x)
    }

    pub fn info(&self) -> LayerInfo {
        let kind = LayerKind::Linear { inputs: self.inputs, outputs: self.outputs };
        LayerInfo { name: self.name.clone(), kind }
    }
}

/// A frozen convolution with a square kernel.
#[derive(Debug)]
pub struct Conv2d {
    name: String,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    geometry: ConvGeometry,
}

impl Conv2d {
    pub fn load(
        loader: &Loader,
        inputs: usize,
        outputs: usize,
        kernel: usize,
        geometry: ConvGeometry,
    ) -> Result<Self, NnError> {
        Ok(Self {
            name: loader.layer_name(),
            weight: loader.kernel("weight", outputs, inputs, kernel)?,
            bias: Some(loader.tensor("bias", [outputs])?),
            geometry,
        })
    }

    /// Stride 1 and the padding that keeps the size.
    pub fn load_same(loader: &Loader, inputs: usize, outputs: usize, kernel: usize) -> Result<Self, NnError> {
        Self::load(loader, inputs, outputs, kernel, ConvGeometry { stride: 1, padding: kernel / 2 })
    }

    /// `x` `[b, in, h, w]` → `[b, out, h', w']`.
    pub fn forward(&self, cx: &Context, x: Tensor<4>) -> Tensor<4> {
        let delta = cx.deltas().and_then(|deltas| deltas.conv2d(&self.name, &x, self.geometry));
        let y = ops::frozen_conv2d(x, self.weight.clone(), self.bias.clone(), self.geometry);
        match delta {
            Some(delta) => y + delta,
            None => y,
        }
    }

    pub fn info(&self) -> LayerInfo {
        let [outputs, inputs, kernel, _] = self.weight.dims();
        LayerInfo { name: self.name.clone(), kind: LayerKind::Conv2d { inputs, outputs, kernel } }
    }
}

/// Group normalisation over `[b, c, h, w]`, statistics in f32 (Wu and He 2018).
#[derive(Debug)]
pub struct GroupNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    epsilon: f64,
}

impl GroupNorm {
    pub fn load(loader: &Loader, channels: usize, groups: usize, epsilon: f64) -> Result<Self, NnError> {
        Ok(Self {
            weight: loader.tensor("weight", [channels])?,
            bias: loader.tensor("bias", [channels])?,
            groups,
            epsilon,
        })
    }

    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        ops::group_norm(x, self.weight.clone(), self.bias.clone(), self.groups, self.epsilon)
    }

    /// Followed by `x * sigmoid(x)`.
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        ops::group_norm_silu(x, self.weight.clone(), self.bias.clone(), self.groups, self.epsilon)
    }
}

/// Layer normalisation over the last axis, statistics in f32 (Ba and others 2016).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
}

impl LayerNorm {
    pub fn load(loader: &Loader, width: usize, epsilon: f64) -> Result<Self, NnError> {
        Ok(Self { weight: loader.tensor("weight", [width])?, bias: loader.tensor("bias", [width])?, epsilon })
    }

    /// `x` `[b, n, width]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        ops::layer_norm(x, self.weight.clone(), self.bias.clone(), self.epsilon)
    }
}
