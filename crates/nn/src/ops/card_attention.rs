//! Attention on graphics cards: one kernel on tensor cores, or some query rows after the other by products of Burn's.

use std::ops::Range;

use burn::backend::fusion::custom::TensorSpec;
use burn::backend::ops::FloatTensorOps as _;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, TensorMetadata as _, backend_extension};
use burn::tensor::{DType, Shape, Slice};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::features::MmaConfig;
use burn_cubecl::cubecl::prelude::{CubeCount, CubeDim};
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::kernel::{into_contiguous, untile};
use burn_cubecl::tensor::CubeTensor;

use super::card::{Rows, address, element, like};
use super::card_tiles::{OWN, PLANES, PlaceLaunch, SHAPE, Sizes};
use super::{card_flash, card_softmax};

/// Scores of one chunk of query rows: at most this many numbers.
const SCORES_AT_ONCE: usize = 1 << 24;

#[backend_extension(Cube, Fusion)]
pub(super) trait CardAttention: Backend {
    /// `softmax(q k^T / sqrt(width)) v`, scores in f32, and of each row of scores the logarithm to base 2 of the sum of exponentials `[b, heads, queries]`,
    /// without numbers in it where [`CardAttention::attention_backward`] does without. `q` `[b, heads, queries, width]`, `k` and `v`
    /// `[b, heads, keys, width]`.
    #[fusion(meta = |q, _, _| (q.clone(), sums_of(q)))]
    fn attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// Gradients of q, k and v from that of the output.
    #[fusion(meta = |q, k, v, _, _, _| (q.clone(), k.clone(), v.clone()))]
    fn attention_backward(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        sums: FloatTensor<Self>,
        grad: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>);
}

fn sums_of(q: &TensorSpec) -> TensorSpec {
    TensorSpec { shape: rows_shape(&q.shape), dtype: DType::F32, ..q.clone() }
}

fn rows_shape(q: &Shape) -> Shape {
    [q[0], q[1], q[2]].into()
}

impl CardAttention for CubeBackend {
    fn attention(q: CubeTensor, k: CubeTensor, v: CubeTensor) -> (CubeTensor, CubeTensor) {
        match kernels(&q) {
            Some(Kernels { forward, .. }) => at_once(q, k, v, forward),
            None => {
                let sums = like(&q, rows_shape(&q.shape()), DType::F32);
                (by_rows(q, k, v), sums)
            }
        }
    }

    fn attention_backward(
        q: CubeTensor,
        k: CubeTensor,
        v: CubeTensor,
        out: CubeTensor,
        sums: CubeTensor,
        grad: CubeTensor,
    ) -> (CubeTensor, CubeTensor, CubeTensor) {
        match kernels(&q) {
            Some(Kernels { backward, .. }) => at_once_backward([q, k, v, out, grad], sums, backward),
            None => by_rows_backward(q, k, v, grad),
        }
    }
}

/// For the kernels for tensor cores, if they can take these numbers, forward and backward: one without the other would lack its sums.
struct Kernels {
    forward: Sizes,
    backward: Sizes,
}

fn kernels(q: &CubeTensor) -> Option<Kernels> {
    const WIDEST: usize = 160;
    let width = q.shape()[3];
    let [m, n, k] = SHAPE;
    let number = element(q.dtype);
    let product = MmaConfig { a_type: number, b_type: number, cd_type: element(DType::F32), m, n, k };
    let (features, hardware) = (q.client.features(), &q.client.properties().hardware);
    let taken = features.matmul.mma.contains(&product)
        && features.matmul.ldmatrix.contains(&number)
        && [hardware.plane_size_min, hardware.plane_size_max] == [32; 2];
    // The sums of wide heads leave fewer registers.
    let [forward, backward] =
        if width > 64 { [32, 16] } else { [64, 32] }.map(|others| Sizes { width: width / 8, others });
    let room = hardware.max_shared_memory_size;
    let fit = forward.shared_forward() <= room && backward.shared_backward() <= room;
    (taken && fit && width.is_multiple_of(8) && width <= WIDEST).then_some(Kernels { forward, backward })
}

fn at_once(q: CubeTensor, k: CubeTensor, v: CubeTensor, sizes: Sizes) -> (CubeTensor, CubeTensor) {
    let (shape, factor, dtype) = (q.shape(), factor(&q), q.dtype);
    let [q, k, v] = [q, k, v].map(in_vectors);
    let out = heads_side_by_side(&q, &shape);
    let sums = like(&q, rows_shape(&shape), DType::F32);
    card_flash::attention_forward::launch(
        &q.client,
        cubes(&shape),
        dim(),
        address(&[&q, &k, &v, &out]),
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        out.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        place(&q),
        place(&k),
        place(&v),
        place(&out),
        factor,
        sizes,
        element(dtype),
    );
    (out, sums)
}

fn at_once_backward(
    [q, k, v, out, grad]: [CubeTensor; 5],
    sums: CubeTensor,
    sizes: Sizes,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let (q_shape, k_shape, factor, dtype) = (q.shape(), k.shape(), factor(&q), q.dtype);
    let (client, number) = (q.client.clone(), element(dtype));
    let [q, k, v, out, grad] = [q, k, v, out, grad].map(in_vectors);
    let deltas = like(&q, rows_shape(&q_shape), DType::F32);
    let rows = Rows::of(&out);
    card_flash::attention_deltas::launch(
        &client,
        rows.cubes(&client),
        rows.dim(),
        address(&[&out, &grad]),
        out.into_tensor_arg(),
        grad.clone().into_tensor_arg(),
        deltas.clone().into_tensor_arg(),
        rows.count,
        rows.width,
        rows.lanes,
        number,
    );
    let dq = heads_side_by_side(&q, &q_shape);
    let [dk, dv] = [(); 2].map(|()| heads_side_by_side(&q, &k_shape));
    let address = address(&[&q, &k, &v, &grad, &dq, &dk]);
    card_flash::attention_backward_of_queries::launch(
        &client,
        cubes(&q_shape),
        dim(),
        address,
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        grad.clone().into_tensor_arg(),
        sums.clone().into_tensor_arg(),
        deltas.clone().into_tensor_arg(),
        dq.clone().into_tensor_arg(),
        place(&q),
        place(&k),
        place(&v),
        place(&grad),
        place(&dq),
        factor,
        sizes,
        number,
    );
    card_flash::attention_backward_of_keys::launch(
        &client,
        cubes(&k_shape),
        dim(),
        address,
        q.clone().into_tensor_arg(),
        k.clone().into_tensor_arg(),
        v.clone().into_tensor_arg(),
        grad.clone().into_tensor_arg(),
        sums.into_tensor_arg(),
        deltas.into_tensor_arg(),
        dk.clone().into_tensor_arg(),
        dv.clone().into_tensor_arg(),
        place(&q),
        place(&k),
        place(&v),
        place(&grad),
        place(&dk),
        factor,
        sizes,
        number,
    );
    (dq, dk, dv)
}

/// A cube for each [`OWN`] rows of each head.
fn cubes(shape: &Shape) -> CubeCount {
    CubeCount::Static(shape[2].div_ceil(OWN) as u32, shape[1] as u32, shape[0] as u32)
}

fn dim() -> CubeDim {
    CubeDim::new_2d(32, PLANES as u32)
}

/// As the kernels read it: each row in order, and beginning where eight numbers can be read at once.
fn in_vectors(t: CubeTensor) -> CubeTensor {
    let t = untile(t);
    let strides = t.meta.strides();
    let rows = strides[3] == 1 && strides[..3].iter().all(|stride| stride.is_multiple_of(8));
    let aligned = t.handle.offset_start.unwrap_or(0).is_multiple_of(16);
    if rows && aligned { t } else { into_contiguous(t) }
}

fn place(t: &CubeTensor) -> PlaceLaunch {
    let strides = t.meta.strides();
    PlaceLaunch::new(strides[0] / 8, strides[1] / 8, strides[2] / 8, t.shape()[2])
}

/// `[b, heads, rows, width]`, not filled, in memory `[b, rows, heads, width]`, as the next layer wants it.
fn heads_side_by_side(like_this: &CubeTensor, shape: &Shape) -> CubeTensor {
    let memory = [shape[0], shape[2], shape[1], shape[3]];
    CubeBackend::float_swap_dims(like(like_this, memory.into(), like_this.dtype), 1, 2)
}

/// As many query rows at once as have [`SCORES_AT_ONCE`] scores.
fn by_rows(q: CubeTensor, k: CubeTensor, v: CubeTensor) -> CubeTensor {
    let dtype = q.dtype;
    let factor = factor(&q);
    let k_t = CubeBackend::float_swap_dims(k.clone(), 2, 3);
    let parts = chunks(&q.shape(), k.shape()[2], SCORES_AT_ONCE).map(|chunk| {
        let s = product(query_rows(&q, chunk), k_t.clone(), DType::F32);
        let p = like(&s, s.shape(), dtype);
        let across = Rows::of(&s);
        card_softmax::softmax::launch(
            &s.client,
            across.cubes(&s.client),
            across.dim(),
            address(&[&s, &p]),
            s.clone().into_tensor_arg(),
            p.clone().into_tensor_arg(),
            across.count,
            across.width,
            factor,
            across.lanes,
            element(dtype),
        );
        product(p, v.clone(), dtype)
    });
    joined(parts.collect())
}

/// With P = softmax(s q k^T): dV = P^T dO, dS = P (dO V^T - rowsum(dO O)), dQ = s dS K, dK = s dS^T Q (Dao and others 2022,
/// algorithm 4). Scores and sums over chunks are f32; what goes into a product is in the tensors' dtype.
fn by_rows_backward(
    q: CubeTensor,
    k: CubeTensor,
    v: CubeTensor,
    grad: CubeTensor,
) -> (CubeTensor, CubeTensor, CubeTensor) {
    let dtype = q.dtype;
    let factor = factor(&q);
    let [k_t, v_t] = [&k, &v].map(|t| CubeBackend::float_swap_dims(t.clone(), 2, 3));
    let (mut dq, mut dk, mut dv) = (Vec::new(), None, None);
    let add = |sum: Option<CubeTensor>, part| match sum {
        Some(sum) => CubeBackend::float_add(sum, part),
        None => part,
    };
    for chunk in chunks(&q.shape(), k.shape()[2], SCORES_AT_ONCE) {
        let [q, grad] = [&q, &grad].map(|t| query_rows(t, chunk.clone()));
        let s = product(q.clone(), k_t.clone(), DType::F32);
        let dp = product(grad.clone(), v_t.clone(), DType::F32);
        let [p, ds] = [(); 2].map(|()| like(&s, s.shape(), dtype));
        let across = Rows::of(&s);
        card_softmax::softmax_backward::launch(
            &s.client,
            across.cubes(&s.client),
            across.dim(),
            address(&[&s, &p]),
            s.clone().into_tensor_arg(),
            dp.into_tensor_arg(),
            p.clone().into_tensor_arg(),
            ds.clone().into_tensor_arg(),
            across.count,
            across.width,
            factor,
            across.lanes,
            element(dtype),
        );
        dq.push(product(ds.clone(), k.clone(), dtype));
        dv = Some(add(dv, product(CubeBackend::float_swap_dims(p, 2, 3), grad, DType::F32)));
        dk = Some(add(dk, product(CubeBackend::float_swap_dims(ds, 2, 3), q, DType::F32)));
    }
    // There is at least one chunk: an attention without queries never reaches its backward.
    let [dk, dv] = [(dk, k), (dv, v)].map(|(sum, t)| CubeBackend::float_cast(sum.unwrap_or(t), dtype.into()));
    (joined(dq), dk, dv)
}

fn factor(q: &CubeTensor) -> f32 {
    (1.0 / (q.meta.shape()[3] as f64).sqrt()) as f32
}

/// With rows in order.
fn product(a: CubeTensor, b: CubeTensor, dtype: DType) -> CubeTensor {
    let out = matmul(a.clone(), b.clone(), None, MatmulStrategy::default(), dtype);
    // Where there is no product with that output, Burn's own, rounded to the operands' dtype.
    into_contiguous(out.unwrap_or_else(|_| CubeBackend::float_cast(CubeBackend::float_matmul(a, b), dtype.into())))
}

/// Ranges of query rows.
fn chunks(q: &Shape, keys: usize, scores: usize) -> impl Iterator<Item = Range<usize>> + use<> {
    let rows = q[2];
    let chunk = (scores / (q[0] * q[1] * keys).max(1)).clamp(1, rows.max(1));
    (0..rows).step_by(chunk).map(move |start| start..(start + chunk).min(rows))
}

fn query_rows(t: &CubeTensor, chunk: Range<usize>) -> CubeTensor {
    if chunk.len() == t.shape()[2] {
        return t.clone();
    }
    let all = || Slice::new(0, None, 1);
    CubeBackend::float_slice(
        t.clone(),
        &[all(), all(), Slice::new(chunk.start as isize, Some(chunk.end as isize), 1), all()],
    )
}

/// Along the rows.
fn joined(mut parts: Vec<CubeTensor>) -> CubeTensor {
    if parts.len() == 1 { parts.remove(0) } else { CubeBackend::float_cat(parts, 2) }
}
