//! Attention with a backward that keeps no scores, for each backend.

use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Flex, TensorMetadata as _};
use burn::tensor::DType;

#[cfg(feature = "card")]
use super::card_attention::CardAttention as _;
use super::cpu_attention::{self, Heads, Made, Sizes};
use super::pool;

/// Attention and what its backward needs. `q` and `out` `[b, heads, queries, width]`, `k` and `v` `[b, heads, keys, width]`.
#[derive(Clone, Debug)]
pub(super) struct Attended<B: Backend> {
    q: FloatTensor<B>,
    k: FloatTensor<B>,
    v: FloatTensor<B>,
    pub(super) out: FloatTensor<B>,
    /// Of each row of scores the logarithm of the sum of exponentials `[b, heads, queries]`; see `card_attention.rs` for where it has none.
    sums: FloatTensor<B>,
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
        let (out, sums) = Self::attention(q.clone(), k.clone(), v.clone());
        Attended { q, k, v, out, sums }
    }

    fn attend_backward(attended: Attended<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let Attended { q, k, v, out, sums } = attended;
        Self::attention_backward(q, k, v, out, sums, grad).into()
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
        Attended { q, k, v, out: Self::float_cast(out, dtype.into()), sums }
    }

    fn attend_backward(attended: Attended<Self>, grad: FloatTensor<Self>) -> [FloatTensor<Self>; 3] {
        let dtype = grad.dtype();
        let Attended { q, k, v, out, sums } = &attended;
        let [out, grad] = [out, &grad].map(|t| Self::float_cast(t.clone(), DType::F32.into()).to_contiguous());
        let [out, sums, grad] = [&out, sums, &grad].map(|t| t.as_slice::<f32>().unwrap_or_default());
        let made = Made { out, sums, grad };
        let (sizes, [b, h, n, d]) = sizes(q, k);
        let gradients = cpu_attention::backward(sizes, &heads(q), &heads(k), &heads(v), &made);
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

#[cfg(test)]
mod tests {
    use burn::backend::ops::ActivationOps as _;
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

    /// With P = softmax(s q k^T): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = s dS K, dK = s dS^T Q (Dao and others 2022, algorithm 4).
    fn backward_of_its_formulas(attended: Attended<Flex>, grad: FloatTensor<Flex>) -> [FloatTensor<Flex>; 3] {
        let Attended { q, k, v, out, .. } = attended;
        let scale = 1.0 / (q.shape()[3] as f64).sqrt();
        let turned = |t: &FloatTensor<Flex>| Flex::float_swap_dims(t.clone(), 2, 3);
        let q = Flex::float_mul_scalar(q, scale.into());
        let p = Flex::softmax(Flex::float_matmul(q.clone(), turned(&k)), 3);
        let dp = Flex::float_matmul(grad.clone(), turned(&v));
        let delta = Flex::float_sum_dim(Flex::float_mul(grad.clone(), out), 3);
        let ds = Flex::float_mul(p.clone(), Flex::float_sub(dp, delta));
        let dq = Flex::float_mul_scalar(Flex::float_matmul(ds.clone(), k), scale.into());
        [dq, Flex::float_matmul(turned(&ds), q), Flex::float_matmul(turned(&p), grad)]
    }

    #[test]
    fn the_backward_is_that_of_its_formulas() {
        for (rows, keys, width) in [(256, 256, 64), (300, 77, 40), (1, 5, 8), (128, 33, 128)] {
            let (q, k, v) =
                (random([2, 3, rows, width], 1), random([2, 3, keys, width], 2), random([2, 3, keys, width], 3));
            let attended = Flex::attend(q, k, v);
            let grad = random([2, 3, rows, width], 4);
            let found = Flex::attend_backward(attended.clone(), grad.clone());
            let expected = backward_of_its_formulas(attended, grad);
            let off = found.iter().zip(&expected).map(|(found, expected)| apart(found, expected));
            let off = off.fold(0.0, f32::max);
            assert!(off < 2e-5, "{rows} x {keys} x {width}: {off:e}");
        }
    }
}
