//! Forward and backward of our operations on backend primitives; the only place that sees them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata as _, backend_extension};
use burn::tensor::Shape;
use burn::tensor::ops::ConvOptions;

use super::attention::{Attend, Attended};
use super::conv::Convolve;
use super::cpu_product::frozen_product;
use super::gelu::{self, Gelu};
use super::packed::{self, Bias, Packed, Part, Way};

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "vulkan")), Autodiff)]
pub(super) trait FrozenOps: Backend {
    /// See [`super::sdpa`].
    fn sdpa(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`super::gelu`] and [`super::gelu_tanh`].
    fn gelu_of(x: FloatTensor<Self>, kind: Gelu) -> FloatTensor<Self> {
        gelu::forward::<Self>(x, kind)
    }

    /// See [`super::frozen_conv2d`].
    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, Some(bias), options)
    }

    /// See [`super::packed_linear`].
    fn packed_product(
        x: FloatTensor<Self>,
        #[extension_type] weight: Packed<Self>,
        part: Part,
        #[extension_type] bias: Bias<Self>,
        way: Way,
    ) -> FloatTensor<Self> {
        packed::whole_product::<Self>(x, weight, part, bias, way)
    }
}

impl FrozenOps for burn::backend::Flex {
    fn sdpa(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::attend(q, k, v).out
    }

    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::convolve(x, weight, bias, options)
    }

    fn packed_product(
        x: FloatTensor<Self>,
        weight: Packed<Self>,
        part: Part,
        bias: Bias<Self>,
        way: Way,
    ) -> FloatTensor<Self> {
        frozen_product(x, &weight, &part, bias, way)
    }
}

#[cfg(feature = "card")]
impl FrozenOps for burn_cubecl::Cube {
    fn sdpa(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::attend(q, k, v).out
    }
}

impl<B: FrozenOps + Attend + Convolve, C: CheckpointStrategy> FrozenOps for Autodiff<B, C> {
    fn sdpa(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
        match Attention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let attended = B::attend(q, k, v);
                let out = attended.out.clone();
                prep.finish(attended, out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::sdpa(q, k, v)),
        }
    }

    fn gelu_of(x: FloatTensor<Self>, kind: Gelu) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match Activation.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish((x.clone(), kind), B::gelu_of(x, kind)),
            OpsKind::UnTracked(prep) => prep.finish(B::gelu_of(x, kind)),
        }
    }

    fn frozen_conv2d(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let (x, weight, bias) = (x.into_primitive(), weight.into_primitive(), bias.into_primitive());
        match FrozenConv2d.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let shape = x.shape();
                let y = B::convolve(x, weight.clone(), bias, options.clone());
                prep.finish((weight, shape, options), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::convolve(x, weight, bias, options)),
        }
    }

    fn packed_product(
        x: FloatTensor<Self>,
        weight: Packed<Self>,
        part: Part,
        bias: Bias<Self>,
        way: Way,
    ) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let (x, weight) = (x.into_primitive(), weight.without_autodiff());
        let bias = bias.without_autodiff();
        match PackedProduct.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let y = B::packed_product(x, weight.clone(), part.clone(), bias, way);
                prep.finish((weight, part, way), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::packed_product(x, weight, part, bias, way)),
        }
    }
}

#[derive(Debug)]
struct Attention;

impl<B: Attend> Backward<B, 3> for Attention {
    type State = Attended<B>;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let gradients = B::attend_backward(ops.state, grad);
        for (parent, grad) in ops.parents.into_iter().zip(gradients) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

#[derive(Debug)]
struct Activation;

impl<B: Backend> Backward<B, 1> for Activation {
    /// x.
    type State = (FloatTensor<B>, Gelu);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            let (x, kind) = ops.state;
            grads.register::<B>(node.id, gelu::backward::<B>(x, grad, kind));
        }
    }
}

#[derive(Debug)]
struct FrozenConv2d;

impl<B: Convolve> Backward<B, 1> for FrozenConv2d {
    type State = (FloatTensor<B>, Shape, ConvOptions<2>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (weight, shape, options) = ops.state;
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::convolve_backward(grad, weight, shape, options));
        }
    }
}

#[derive(Debug)]
struct PackedProduct;

impl<B: FrozenOps> Backward<B, 1> for PackedProduct {
    type State = (Packed<B>, Part, Way);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (weight, part, way) = ops.state;
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::packed_product(grad, weight, part, Bias::None, way.other()));
        }
    }
}
