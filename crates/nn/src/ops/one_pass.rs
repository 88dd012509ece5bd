//! Operations with a forward and a backward in one pass each, on the CPU and on cards.

use burn::Tensor;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
#[cfg(feature = "card")]
use burn::backend::fusion::custom::TensorSpec;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::Shape;

use super::cpu::on_cpu;

/// A normalisation of x by a scale and a shift.
#[derive(Clone, Copy, Debug)]
pub(super) enum Norm {
    /// x `[b, c, h, w]`, scale and shift `[c]`, neither trained.
    Group { groups: usize, epsilon: f64, silu: bool },
    /// x `[b, n, width]`, scale and shift `[b or 1, 1, width]`.
    Layer { epsilon: f64 },
    /// x `[.., width]`, scale `[width]`, not trained; the shift is not looked at.
    Rms { epsilon: f64 },
}

impl Norm {
    pub(super) fn epsilon(self) -> f64 {
        let (Self::Group { epsilon, .. } | Self::Layer { epsilon } | Self::Rms { epsilon }) = self;
        epsilon
    }
}

/// Whether a tensor is one for the operations here: on a card, or in f32 on the CPU.
pub(super) fn applies<const D: usize>(x: &Tensor<D>) -> bool {
    cfg!(feature = "card") && x.device().inner() != burn::tensor::Device::flex() || on_cpu(x)
}

/// What a device brings with it.
#[backend_extension(Flex, Cube: cfg(feature = "card"), Fusion: cfg(feature = "card"))]
pub(super) trait Kernels: Backend {
    #[fusion(dtype = x, shape = x)]
    fn normalise(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;

    /// Gradients of x, scale and shift; the last two without numbers in them unless `affine`.
    #[fusion(meta = normalise_gradients)]
    fn normalise_backward(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        norm: Norm,
        affine: bool,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);

    /// `[.., 2 d]` → `[.., d]`.
    #[fusion(dtype = x, shape = half(x))]
    fn geglu(x: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn geglu_backward(x: FloatTensor<Self>, grad: FloatTensor<Self>) -> FloatTensor<Self>;

    /// x `[b, heads, n, head_dim]`, cosines and sines `[1, 1, n, head_dim]`, as [`super::Rotary`] has them; or the way `back`.
    #[fusion(dtype = x, shape = x)]
    fn turn(
        x: FloatTensor<Self>,
        cosines: FloatTensor<Self>,
        sines: FloatTensor<Self>,
        back: bool,
    ) -> FloatTensor<Self>;
}

pub(super) fn half(shape: &Shape) -> Shape {
    let mut shape = shape.clone();
    let last = shape.num_dims() - 1;
    shape[last] /= 2;
    shape
}

/// Of the gradients of scale and shift; of nothing, one number.
pub(super) fn affine_shape(scale: &Shape, affine: bool) -> Shape {
    if affine { scale.clone() } else { [1].into() }
}

#[cfg(feature = "card")]
fn normalise_gradients(
    x: &TensorSpec,
    scale: &TensorSpec,
    _: &TensorSpec,
    _: &TensorSpec,
    _: &Norm,
    affine: &bool,
) -> (TensorSpec, TensorSpec, TensorSpec) {
    let other = TensorSpec { shape: affine_shape(&scale.shape, *affine), ..scale.clone() };
    (x.clone(), other.clone(), other)
}

/// The same for the tensors of a training step.
#[backend_extension(Flex, Cube: cfg(feature = "card"), Autodiff)]
pub(super) trait OnePass: Backend {
    fn normalised(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self>;

    fn gated(x: FloatTensor<Self>) -> FloatTensor<Self>;

    fn turned(x: FloatTensor<Self>, cosines: FloatTensor<Self>, sines: FloatTensor<Self>) -> FloatTensor<Self>;
}

macro_rules! without_autodiff {
    ($backend:ty) => {
        impl OnePass for $backend {
            fn normalised(
                x: FloatTensor<Self>,
                scale: FloatTensor<Self>,
                shift: FloatTensor<Self>,
                norm: Norm,
            ) -> FloatTensor<Self> {
                Self::normalise(x, scale, shift, norm)
            }

            fn gated(x: FloatTensor<Self>) -> FloatTensor<Self> {
                Self::geglu(x)
            }

            fn turned(x: FloatTensor<Self>, cosines: FloatTensor<Self>, sines: FloatTensor<Self>) -> FloatTensor<Self> {
                Self::turn(x, cosines, sines, false)
            }
        }
    };
}

without_autodiff!(Flex);
#[cfg(feature = "card")]
without_autodiff!(burn_cubecl::Cube);

impl<B: Kernels, C: CheckpointStrategy> OnePass for Autodiff<B, C> {
    fn normalised(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        norm: Norm,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), scale.node(), shift.node()];
        let (x, scale, shift) = (x.into_primitive(), scale.into_primitive(), shift.into_primitive());
        match Normalised.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::normalise(x.clone(), scale.clone(), shift.clone(), norm);
                prep.finish((x, scale, shift, norm), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::normalise(x, scale, shift, norm)),
        }
    }

    fn gated(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match Gated.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.clone(), B::geglu(x)),
            OpsKind::UnTracked(prep) => prep.finish(B::geglu(x)),
        }
    }

    fn turned(x: FloatTensor<Self>, cosines: FloatTensor<Self>, sines: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let [x, cosines, sines] = [x, cosines, sines].map(|t| t.into_primitive());
        match Turned.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::turn(x, cosines.clone(), sines.clone(), false);
                prep.finish((cosines, sines), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::turn(x, cosines, sines, false)),
        }
    }
}

#[derive(Debug)]
struct Normalised;

impl<B: Kernels> Backward<B, 3> for Normalised {
    /// x, scale, shift.
    type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, Norm);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (x, scale, shift, norm) = ops.state;
        let [x_node, scale_node, shift_node] = ops.parents;
        let affine = matches!(norm, Norm::Layer { .. }) && (scale_node.is_some() || shift_node.is_some());
        let (dx, d_scale, d_shift) = B::normalise_backward(x, scale, shift, grad, norm, affine);
        if let Some(node) = x_node {
            grads.register::<B>(node.id, dx);
        }
        for (node, gradient) in [(scale_node, d_scale), (shift_node, d_shift)] {
            if let Some(node) = node.filter(|_| affine) {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct Gated;

impl<B: Kernels> Backward<B, 1> for Gated {
    /// x.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::geglu_backward(ops.state, grad));
        }
    }
}

#[derive(Debug)]
struct Turned;

impl<B: Kernels> Backward<B, 1> for Turned {
    /// Cosines and sines.
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (cosines, sines) = ops.state;
        if let [Some(node)] = ops.parents {
            grads.register::<B>(node.id, B::turn(grad, cosines, sines, true));
        }
    }
}
