//! Forward and backward of our operations on backend primitives; the only place that sees them.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata as _, backend_extension};
use burn::tensor::ops::{AttentionModuleOptions, ConvOptions};
use burn::tensor::{Shape, Slice};

use super::gelu;

/// Scores of one chunk of query rows in the backward of attention: at most this many numbers.
const SCORES_AT_ONCE: usize = 1 << 24;

#[backend_extension(Flex, Cube: cfg(any(feature = "cuda", feature = "vulkan")), Autodiff)]
pub(super) trait FrozenOps: Backend {
    /// See [`super::sdpa`].
    fn sdpa(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::attention(q, k, v, None, None, AttentionModuleOptions::default())
    }

    /// See [`super::gelu_tanh`].
    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        gelu::forward::<Self>(x)
    }

    /// See [`super::frozen_conv2d`].
    fn frozen_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        Self::conv2d(x, weight, None, options)
    }
}

impl FrozenOps for burn::backend::Flex {}

#[cfg(feature = "cuda")]
impl FrozenOps for burn::backend::Cuda {}

#[cfg(all(feature = "vulkan", not(feature = "cuda")))]
impl FrozenOps for burn::backend::Wgpu {}

impl<B: FrozenOps, C: CheckpointStrategy> FrozenOps for Autodiff<B, C> {
    fn sdpa(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [q.node(), k.node(), v.node()];
        let (q, k, v) = (q.into_primitive(), k.into_primitive(), v.into_primitive());
        match Attention.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let out = B::sdpa(q.clone(), k.clone(), v.clone());
                prep.finish([q, k, v, out.clone()], out)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::sdpa(q, k, v)),
        }
    }

    fn gelu_tanh(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let x = x.into_primitive();
        match GeluTanh.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => prep.finish(x.clone(), B::gelu_tanh(x)),
            OpsKind::UnTracked(prep) => prep.finish(B::gelu_tanh(x)),
        }
    }

    fn frozen_conv2d(x: FloatTensor<Self>, weight: FloatTensor<Self>, options: ConvOptions<2>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let (x, weight) = (x.into_primitive(), weight.into_primitive());
        match FrozenConv2d.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prep) => {
                let shape = x.shape();
                let y = B::frozen_conv2d(x, weight.clone(), options.clone());
                prep.finish((weight, shape, options), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::frozen_conv2d(x, weight, options)),
        }
    }
}

#[derive(Debug)]
struct Attention;

impl<B: Backend> Backward<B, 3> for Attention {
    /// q, k, v, output.
    type State = [FloatTensor<B>; 4];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [q, k, v, out] = ops.state;
        let (dq, dk, dv) = sdpa_backward::<B>(q, k, v, out, grad);
        for (parent, grad) in ops.parents.into_iter().zip([dq, dk, dv]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

/// With P = softmax(s q k^T): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = s dS K, dK = s dS^T Q
/// (Dao and others 2022, algorithm 4), for as many query rows at once as [`SCORES_AT_ONCE`] allows.
fn sdpa_backward<B: Backend>(
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    out: FloatTensor<B>,
    grad: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let shape = q.shape();
    let (rows, keys) = (shape[2], k.shape()[2]);
    let scale = 1.0 / (shape[3] as f64).sqrt();
    let chunk = (SCORES_AT_ONCE / (shape[0] * shape[1] * keys).max(1)).clamp(1, rows.max(1));
    let k_t = B::float_swap_dims(k.clone(), 2, 3);
    let v_t = B::float_swap_dims(v, 2, 3);
    let (mut dq, mut dk, mut dv) = (Vec::new(), None, None);
    let add = |sum: Option<FloatTensor<B>>, part| match sum {
        Some(sum) => B::float_add(sum, part),
        None => part,
    };
    for start in (0..rows).step_by(chunk) {
        let end = (start + chunk).min(rows);
        let part = |t: &FloatTensor<B>| {
            if end - start == rows {
                return t.clone();
            }
            let all = || Slice::new(0, None, 1);
            let slices = [all(), all(), Slice::new(start as isize, Some(end as isize), 1), all()];
            B::float_slice(t.clone(), &slices)
        };
        let (q, out, grad) = (B::float_mul_scalar(part(&q), scale.into()), part(&out), part(&grad));
        let p = B::softmax(B::float_matmul(q.clone(), k_t.clone()), 3);
        let dp = B::float_matmul(grad.clone(), v_t.clone());
        let delta = B::float_sum_dim(B::float_mul(grad.clone(), out), 3);
        let ds = B::float_mul(p.clone(), B::float_sub(dp, delta));
        dv = Some(add(dv, B::float_matmul(B::float_swap_dims(p, 2, 3), grad)));
        dq.push(B::float_mul_scalar(B::float_matmul(ds.clone(), k.clone()), scale.into()));
        // q already carries the scale.
        dk = Some(add(dk, B::float_matmul(B::float_swap_dims(ds, 2, 3), q)));
    }
    let dq = if dq.len() == 1 { dq.remove(0) } else { B::float_cat(dq, 2) };
    // There is at least one chunk: an attention without queries never reaches its backward.
    match (dk, dv) {
        (Some(dk), Some(dv)) => (dq, dk, dv),
        _ => (dq, k.clone(), k),
    }
}

#[derive(Debug)]
struct GeluTanh;

impl<B: Backend> Backward<B, 1> for GeluTanh {
    /// x.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, gelu::backward::<B>(ops.state, grad));
        }
    }
}

#[derive(Debug)]
struct FrozenConv2d;

impl<B: Backend> Backward<B, 1> for FrozenConv2d {
    type State = (FloatTensor<B>, Shape, ConvOptions<2>);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let (weight, shape, options) = ops.state;
        let [parent] = ops.parents;
        if let Some(node) = parent {
            // Only the shape of x is read: one number, seen at every place, stands for it.
            let one = B::float_empty(Shape::new([1, 1, 1, 1]), &grad.device(), grad.dtype().into());
            let x = B::float_expand(one, shape);
            grads.register::<B>(node.id, B::conv2d_x_backward(x, weight, grad, options));
        }
    }
}
