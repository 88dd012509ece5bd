//! Operations that the CPU does in one pass, and those that no other device has.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, TensorMetadata as _, backend_extension};
use burn::tensor::{DType, Device, Shape};

use super::cpu_linear;
use super::cpu_norm::{self, Groups, Rows};
use super::cpu_pointwise;
use super::cpu_product::with_frozen;
use super::one_pass::{Kernels, Norm, affine_shape, half};
use super::packed::{Bias, Packed, Part};
use super::pool::tensor;
use super::product::View;

/// Whether a tensor is in f32 on the CPU.
pub(crate) fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && x.device().inner() == Device::flex()
}

#[backend_extension(Flex, Autodiff)]
pub(super) trait CpuOps: Backend {
    fn tanh_gelu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    /// `x W^T + bias + scale (x down^T) up^T`: `x` `[.., in]`, W a part `[out, in]` of `weight`, `bias` `[out]`, `down` `[r, in]`,
    /// `up` `[out, r]`. Weight and bias are not trained.
    fn adapted_linear(
        x: FloatTensor<Self>,
        #[extension_type] weight: Packed<Self>,
        part: Part,
        #[extension_type] bias: Bias<Self>,
        down: FloatTensor<Self>,
        up: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn normalise(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        let (shape, scale, shift) = (x.shape(), numbers(&scale), numbers(&shift));
        let (scale, shift) = (values(&scale), values(&shift));
        let y = match norm {
            Norm::Group { .. } => cpu_norm::group_norm(&groups(&shape, norm), values(&numbers(&x)), scale, shift),
            Norm::Layer { .. } => {
                let rows = rows(&shape, norm, scale.len());
                cpu_norm::layer_norm(&rows, values(&numbers(&x)), scale, shift)
            }
            Norm::Rms { .. } => {
                let (x, starts) = row_starts(&x);
                cpu_norm::rms_norm(&rows(&shape, norm, scale.len()), x.storage(), &starts, scale)
            }
        };
        tensor(y, shape)
    }

    fn normalise_backward(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        norm: Norm,
        affine: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        let (shape, affine_shape) = (x.shape(), affine_shape(&scale.shape(), affine));
        let (grad, scale, shift) = (numbers(&grad), numbers(&scale), numbers(&shift));
        let (grad, scale, shift) = (values(&grad), values(&scale), values(&shift));
        let nothing = || vec![0.0];
        let [dx, d_scale, d_shift] = match norm {
            Norm::Group { .. } => {
                let x = numbers(&x);
                let dx = cpu_norm::group_norm_backward(&groups(&shape, norm), values(&x), scale, shift, grad);
                [dx, nothing(), nothing()]
            }
            Norm::Layer { .. } => {
                let x = numbers(&x);
                let rows = rows(&shape, norm, scale.len());
                let gradients = cpu_norm::layer_norm_backward(&rows, values(&x), scale, grad, affine);
                gradients.map(|gradient| if gradient.is_empty() { nothing() } else { gradient })
            }
            Norm::Rms { .. } => {
                let (x, starts) = row_starts(&x);
                let rows = rows(&shape, norm, scale.len());
                [cpu_norm::rms_norm_backward(&rows, x.storage(), &starts, scale, grad), nothing(), nothing()]
            }
        };
        (tensor(dx, shape), tensor(d_scale, affine_shape.clone()), tensor(d_shift, affine_shape))
    }

    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let shape = half(&x.shape());
        let y = cpu_pointwise::geglu(values(&numbers(&x)), shape[shape.num_dims() - 1]);
        tensor(y, shape)
    }

    fn geglu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let (shape, [x, grad]) = (x.shape(), [x, grad].map(|t| numbers(&t)));
        let width = shape[shape.num_dims() - 1] / 2;
        tensor(cpu_pointwise::geglu_backward(values(&x), width, values(&grad)), shape)
    }

    fn turn(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self> {
        let (shape, [x, cosines, sines]) = (x.shape(), [x, cosines, sines].map(|t| numbers(&t)));
        tensor(cpu_pointwise::turn(values(&x), values(&cosines), values(&sines), back), shape)
    }
}

impl CpuOps for Flex {
    fn tanh_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        tensor(cpu_pointwise::gelu_tanh(values(&numbers(&x))), x.shape())
    }

    fn adapted_linear(
        x: FloatTensor<Self>,
        weight: Packed<Self>,
        part: Part,
        bias: Bias<Self>,
        down: FloatTensor<Self>,
        up: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        Adapted { x, weight, part, down, up, scale }.forward(bias).0
    }
}

impl<C: CheckpointStrategy> CpuOps for Autodiff<Flex, C> {
    fn tanh_gelu(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match TanhGelu.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.clone(), Flex::tanh_gelu(x)),
            OpsKind::UnTracked(prep) => prep.finish(Flex::tanh_gelu(x)),
        }
    }

    fn adapted_linear(
        x: FloatTensor<Self>,
        weight: Packed<Self>,
        part: Part,
        bias: Bias<Self>,
        down: FloatTensor<Self>,
        up: FloatTensor<Self>,
        scale: f64,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), down.node(), up.node()];
        let [x, down, up] = [x, down, up].map(|t| t.into_primitive());
        let bias = bias.without_autodiff();
        let weight = weight.without_autodiff();
        let adapted = Adapted { x, weight, part, down, up, scale };
        let (y, hidden) = adapted.forward(bias);
        match AdaptedLinear.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((adapted, hidden), y),
            OpsKind::UnTracked(prep) => prep.finish(y),
        }
    }
}

/// The operands of an adapted layer.
#[derive(Clone, Debug)]
struct Adapted {
    x: FloatTensor<Flex>,
    weight: Packed<Flex>,
    part: Part,
    down: FloatTensor<Flex>,
    up: FloatTensor<Flex>,
    scale: f64,
}

impl Adapted {
    fn sizes(&self) -> cpu_linear::Sizes {
        let (down, up) = (self.down.shape(), self.up.shape());
        let (rank, inputs) = (down[0], down[1]);
        cpu_linear::Sizes { rows: self.x.shape().num_elements() / inputs.max(1), inputs, outputs: up[0], rank }
    }

    /// The output, and `x down^T`.
    fn forward(&self, bias: Bias<Flex>) -> (FloatTensor<Flex>, Vec<f32>) {
        let sizes = self.sizes();
        let (x, bias) = (numbers(&self.x), bias.tensor().as_ref().map(numbers));
        let bias = bias.as_ref().map(values);
        let [y, hidden] = self.with_weights(|weights| cpu_linear::forward(sizes, values(&x), weights, bias));
        let mut shape = self.x.shape();
        let last = shape.num_dims() - 1;
        shape[last] = sizes.outputs;
        (tensor(y, shape), hidden)
    }

    fn with_weights<R>(&self, f: impl FnOnce(&cpu_linear::Weights) -> R) -> R {
        let [down, up] = [&self.down, &self.up].map(forward_strides);
        let [down, up] = [&down, &up].map(view);
        with_frozen(&self.weight, &self.part, |weight| {
            f(&cpu_linear::Weights { weight, down, up, scale: self.scale as f32 })
        })
    }
}

#[derive(Debug)]
struct AdaptedLinear;

impl Backward<Flex, 3> for AdaptedLinear {
    /// The operands, and `x down^T`.
    type State = (Adapted, Vec<f32>);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = numbers(&grads.consume::<Flex>(&ops.node));
        let (adapted, hidden) = ops.state;
        let x = numbers(&adapted.x);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let gradients = adapted.with_weights(|weights| {
            cpu_linear::backward(adapted.sizes(), values(&x), &hidden, weights, values(&grad), wanted)
        });
        let shapes = [adapted.x.shape(), adapted.down.shape(), adapted.up.shape()];
        for ((parent, gradient), shape) in ops.parents.into_iter().zip(gradients).zip(shapes) {
            if let Some(node) = parent {
                grads.register::<Flex>(node.id, tensor(gradient, shape));
            }
        }
    }
}

#[derive(Debug)]
struct TanhGelu;

impl Backward<Flex, 1> for TanhGelu {
    /// x.
    type State = FloatTensor<Flex>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = numbers(&grads.consume::<Flex>(&ops.node));
        let [Some(node)] = ops.parents else { return };
        let dx = cpu_pointwise::gelu_tanh_backward(values(&numbers(&ops.state)), values(&grad));
        grads.register::<Flex>(node.id, tensor(dx, ops.state.shape()));
    }
}

fn groups(shape: &Shape, norm: Norm) -> Groups {
    let Norm::Group { groups, epsilon, silu } = norm else { unreachable!("only for group norms") };
    Groups { channels: shape[1], groups, pixels: shape[2] * shape[3], epsilon, silu }
}

/// For a scale of so many numbers.
fn rows(shape: &Shape, norm: Norm, scale: usize) -> Rows {
    let width = shape[shape.num_dims() - 1];
    Rows { width, per_scale: (shape.num_elements() / scale.max(1)).max(1), epsilon: norm.epsilon() }
}

/// The tensor with its numbers in order.
fn numbers(t: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    t.to_contiguous()
}

/// Of a tensor that [`numbers`] gave.
fn values(t: &FloatTensor<Flex>) -> &[f32] {
    t.as_slice().unwrap_or_default()
}

/// The tensor itself, or a copy of one that runs backwards.
pub(super) fn forward_strides(t: &FloatTensor<Flex>) -> FloatTensor<Flex> {
    if t.layout().strides().iter().all(|stride| *stride >= 0) { t.clone() } else { t.to_contiguous() }
}

/// Of a matrix that [`forward_strides`] gave.
pub(super) fn view(t: &FloatTensor<Flex>) -> View<'_> {
    let layout = t.layout();
    let [row, column] = [0, 1].map(|axis| layout.strides()[axis].unsigned_abs());
    View { data: &t.storage::<f32>()[layout.start_offset()..], row, column }
}

/// Where the rows begin in the tensor's storage; a tensor whose rows are not each in one piece is copied.
fn row_starts(t: &FloatTensor<Flex>) -> (FloatTensor<Flex>, Vec<usize>) {
    let last = t.shape().num_dims() - 1;
    let whole = t.layout().strides()[last] == 1 && t.layout().strides().iter().all(|stride| *stride >= 0);
    let t = if whole { t.clone() } else { t.to_contiguous() };
    let layout = t.layout();
    let mut starts = vec![layout.start_offset()];
    for axis in 0..last {
        let (length, stride) = (layout.shape()[axis], layout.strides()[axis].unsigned_abs());
        starts = starts.iter().flat_map(|start| (0..length).map(move |i| start + i * stride)).collect();
    }
    (t, starts)
}
