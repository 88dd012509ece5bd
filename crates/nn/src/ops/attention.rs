//! Attention with a backward that keeps no scores, for each backend.

use std::ops::Range;

use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata as _};
use burn::tensor::{DType, Shape, Slice};

#[cfg(feature = "card")]
use super::card::CardKernels as _;
use super::cpu_attention::{self, Heads, Made, Sizes};
use super::pool;

/// Scores of one chunk of query rows: at most this many numbers.
pub(super) const SCORES_AT_ONCE: usize = 1 << 24;

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
    fn attend(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> Attended<Self>;

    /// Gradients of q, k and v from that of the output.
    fn attend_backward(attended: Attended<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3];
}

#[cfg(feature = "card")]
impl Attend for burn_cubecl::Cube {
    /// Not by Burn's own: its fused kernels refuse bf16 and, in f16, some lengths (cubek-attention 0.3.1), and then it keeps the whole score
    /// matrix, in 16 bits, without a word.
    fn attend(q: FloatTensor<Self>, k: FloatTensor<Self>, v: FloatTensor<Self>) -> Attended<Self> {
        let out = Self::attend_rows(q.clone(), k.clone(), v.clone());
        Attended { q, k, v, out, sums: None }
    }

    fn attend_backward(attended: Attended<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let Attended { q, k, v, .. } = attended;
        Self::attend_rows_backward(q, k, v, grad).into()
    }
}

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
            return backward_by_rows(attended, grad, SCORES_AT_ONCE);
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

/// Ranges of query rows.
pub(super) fn chunks(q: &Shape, keys: usize, scores: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = q[2];
    let chunk = (scores / (q[0] * q[1] * keys).max(1)).clamp(1, rows.max(1));
    (0..rows).step_by(chunk).map(move |start| start..(start + chunk).min(rows))
}

pub(super) fn rows<B: Backend>(t: &FloatTensor<B>, chunk: Range<usize>) -> FloatTensor<B> {
    if chunk.len() == t.shape()[2] {
        return t.clone();
    }
    let all = || Slice::new(0, None, 1);
    B::float_slice(t.clone(), &[all(), all(), Slice::new(chunk.start as isize, Some(chunk.end as isize), 1), all()])
}

/// Along the rows.
pub(super) fn joined<B: Backend>(mut parts: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    if parts.len() == 1 { parts.remove(0) } else { B::float_cat(parts, 2) }
}

/// With P = softmax(s q k^T): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = s dS K, dK = s dS^T Q
/// (Dao and others 2022, algorithm 4), for as many query rows at once as have that many scores.
fn backward_by_rows<B: Backend>(attended: Attended<B>, grad: FloatTensor<B>, scores: usize) -> [FloatTensor<B>; 3] {
    let Attended { q, k, v, out, .. } = attended;
    let scale = 1.0 / (q.shape()[3] as f64).sqrt();
    let k_t = B::float_swap_dims(k.clone(), 2, 3);
    let v_t = B::float_swap_dims(v, 2, 3);
    let (mut dq, mut dk, mut dv) = (Vec::new(), None, None);
    let add = |sum: Option<FloatTensor<B>>, part| match sum {
        Some(sum) => B::float_add(sum, part),
        None => part,
    };
    for chunk in chunks(&q.shape(), k.shape()[2], scores) {
        let part = |t: &FloatTensor<B>| rows::<B>(t, chunk.clone());
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
    // There is at least one chunk: an attention without queries never reaches its backward.
    match (dk, dv) {
        (Some(dk), Some(dv)) => [joined::<B>(dq), dk, dv],
        _ => [q, k.clone(), k],
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use lorikeet_seeded::{Purpose, Stream};

    use super::*;

    fn random(shape: [usize; 4], seed: u64) -> FloatTensor<Flex> {
        let values = Stream::new(seed, Purpose::RandomWeights, &[]).normals(shape.iter().product());
        Flex::float_from_data(TensorData::new(values, shape), &Default::default())
    }

    fn apart(found: &FloatTensor<Flex>, expected: &FloatTensor<Flex>) -> f32 {
        assert_eq!(found.shape(), expected.shape());
        let [found, expected] = [found, expected].map(|t| t.to_contiguous());
        let pairs = found.as_slice::<f32>().unwrap().iter().zip(expected.as_slice::<f32>().unwrap());
        pairs.fold(0.0, |most, (a, b)| f32::max(most, (a - b).abs()))
    }

    /// The formulas of the backward are written with the operations of any backend.
    #[test]
    fn the_backward_by_rows_is_that_of_its_formulas() {
        for (rows, keys, width) in [(256, 256, 64), (300, 77, 40), (1, 5, 8), (128, 33, 128)] {
            let (q, k, v) =
                (random([2, 3, rows, width], 1), random([2, 3, keys, width], 2), random([2, 3, keys, width], 3));
            let attended = Flex::attend(q, k, v);
            let grad = random([2, 3, rows, width], 4);
            let expected = Flex::attend_backward(attended.clone(), grad.clone());
            // All at once, a few rows, each by itself.
            for scores in [usize::MAX, 6 * keys * 7, 1] {
                let found = backward_by_rows(attended.clone(), grad.clone(), scores);
                let off = found.iter().zip(&expected).map(|(found, expected)| apart(found, expected));
                let off = off.fold(0.0, f32::max);
                assert!(off < 2e-5, "{rows} x {keys} x {width} by {scores}: {off:e}");
            }
        }
    }
}
