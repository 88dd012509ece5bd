//! Attention with a backward that keeps no scores, for each backend.

use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata as _};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Slice};

use super::cpu_attention::{self, Heads, Made, Sizes};
use super::pool;

/// Scores of one chunk of query rows in the backward on a card: at most this many numbers.
const SCORES_AT_ONCE: usize = 1 << 24;

/// Attention and what its backward needs. `q` and `out` `[b, heads, queries, width]`, `k` and `v` `[b, heads, keys, width]`.
#[derive(Clone, Debug)]
pub(super) struct Attended<B: Backend> {
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    pub(super) out: FloatTensor<B>,
    /// Of each row of scores the logarithm of the sum of exponentials `[b, heads, queries]`, where the forward gives it.
    sums: Option<FloatTensor<B>>,
}

pub(super) trait Attend: Backend {
    /// `softmax(q k^T / sqrt(width)) v`.
    fn attend(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> Attended<Self> {
        let out = Self::attention(q.clone(), k.clone(), v.clone(), None, None, AttentionModuleOptions::default());
        Attended { q, k, v, out, sums: None }
    }

    /// Gradients of q, k and v from that of the output.
    fn attend_backward(attended: Attended<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        backward_by_rows(attended, grad)
    }
}

#[cfg(feature = "cuda")]
impl Attend for burn::backend::Cuda {}

#[cfg(all(feature = "vulkan", not(feature = "cuda")))]
impl Attend for burn::backend::Wgpu {}

impl Attend for Flex {
    fn attend(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> Attended<Self> {
        let dtype = q.dtype();
        let [q, k, v] = [q, k, v].map(|t| Self::float_cast(t, DType::F32.into()));
        let (sizes, [b, h, n, d]) = sizes(&q, &k);
        let (out, sums) = cpu_attention::forward(sizes, &heads(&q), &heads(&k), &heads(&v));
        let out = pool::tensor(out, [b, h, n, d].into());
        let sums = pool::tensor(sums, [b, h, n].into());
        Attended { q, k, v, out: Self::float_cast(out, dtype.into()), sums: Some(sums) }
    }

    fn attend_backward(attended: Attended<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let dtype = grad.dtype();
        let [out, grad] =
            [&attended.out, &grad].map(|t| Self::float_cast(t.clone(), DType::F32.into()).to_contiguous());
        let sums = attended.sums.as_ref().and_then(|sums| sums.as_slice::<f32>());
        let (Some(out), Some(grad), Some(sums)) = (out.as_slice::<f32>(), grad.as_slice::<f32>(), sums) else {
            return backward_by_rows(attended, grad);
        };
        let Attended { q, k, v, .. } = &attended;
        let (sizes, [b, h, n, d]) = sizes(q, k);
        let gradients = cpu_attention::backward(sizes, &heads(q), &heads(k), &heads(v), &Made { out, sums, grad });
        let mut rows = [n, sizes.keys, sizes.keys].into_iter();
        gradients.map(|gradient| {
            let shape = [b, h, rows.next().unwrap_or(0), d].into();
            Self::float_cast(pool::tensor(gradient, shape), dtype.into())
        })
    }
}

fn sizes(q: &FloatTensor<Flex>, k: &FloatTensor<Flex>) -> (Sizes, [usize; 4]) {
    let shape = q.shape();
    let dims = [shape[0], shape[1], shape[2], shape[3]];
    (Sizes { heads: dims[0] * dims[1], queries: dims[2], keys: k.shape()[2], width: dims[3] }, dims)
}

/// The numbers where they lie: as the projections left them, heads side by side in each row.
fn heads(t: &FloatTensor<Flex>) -> Heads<'_> {
    let layout = t.layout();
    let (shape, strides) = (layout.shape(), layout.strides());
    let step = |axis: usize| usize::try_from(strides[axis]).unwrap_or(0);
    let starts = (0..shape[0])
        .flat_map(|b| (0..shape[1]).map(move |h| (b, h)))
        .map(|(b, h)| layout.start_offset() + b * step(0) + h * step(1))
        .collect();
    Heads { data: t.storage::<f32>(), starts, row: step(2), column: step(3) }
}

/// With P = softmax(s q k^T): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = s dS K, dK = s dS^T Q
/// (Dao and others 2022, algorithm 4), for as many query rows at once as [`SCORES_AT_ONCE`] allows.
fn backward_by_rows<B: Backend>(attended: Attended<B>, grad: FloatTensor<B>) -> [FloatTensor<B>; 3] {
    let Attended { q, k, v, out, .. } = attended;
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
        (Some(dk), Some(dv)) => [dq, dk, dv],
        _ => [dq, k.clone(), k],
    }
}
