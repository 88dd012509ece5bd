//! Attention on tensor cores in one kernel, and its backward in two (Dao 2023, FlashAttention-2): no score leaves a plane's registers.
//!
//! A cube has [`OWN`] rows for itself, [`ROWS`] for each plane, of queries or, for the gradients of k and v, of keys, and meets the rows of
//! the other kind some at a time. No two cubes add to one number, so the same numbers give the same result to the bit; the price is that the
//! backward computes scores twice. Products are m16n8k16 of PTX, of 16-bit numbers with sums in f32: two of its sums side by side lie in
//! the registers as the left operand of the next product does.

use std::f32::consts::LOG2_E;

use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::card_rows::{own_row, row_start, row_sum};
use super::card_tiles::{
    Eight, OWN, Others, Place, Sizes, Two, add_products, column, exp2, fill, first_own_row, most_of_four, products,
    tile, total_of_four, write, zeros,
};

/// `softmax(factor q k^T) v`, and of each row the logarithm to base 2 of the sum of its exponentials, `sums` `[b, heads, queries]`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_forward<F: Float>(
    q: &Tensor<Eight<F>>,
    k: &Tensor<Eight<F>>,
    v: &Tensor<Eight<F>>,
    out: &mut Tensor<Two<F>>,
    sums: &mut Tensor<f32>,
    q_at: Place,
    k_at: Place,
    v_at: Place,
    out_at: Place,
    factor: f32,
    #[comptime] sizes: Sizes,
    #[define(F)] _dtype: ElemType,
) {
    // Of powers of two, not of e.
    let factor = factor * comptime!(LOG2_E);
    let mut own_q = tile::<F>(OWN, sizes);
    let mut others = Others::<F>::new(sizes);
    fill(&mut own_q, q, &q_at, sizes);

    let mut result = zeros(comptime!(2 * sizes.padded()));
    let mut most = Array::<f32>::new(2usize);
    let mut total = Array::<f32>::new(2usize);
    #[unroll]
    for half in 0..2usize {
        most[half] = f32::min_value();
        total[half] = 0.0;
    }
    others.ask(k, v, &k_at, &v_at, 0usize);
    let mut first = 0usize;
    while first < k_at.rows {
        sync_cube();
        others.put();
        sync_cube();
        // On their way while this tile is computed.
        others.ask(k, v, &k_at, &v_at, first + comptime!(sizes.others));
        let mut scores = products(&own_q, &others.a, sizes);
        #[unroll]
        for half in 0..2usize {
            let mut now = most[half];
            #[unroll]
            for tile in 0..comptime!(sizes.others / 8) {
                let at = comptime!(2 * tile + half);
                let score = scores[at];
                let mut seen = Two::<f32>::empty();
                #[unroll]
                for j in 0..2usize {
                    let inside = first + column(tile) + j < k_at.rows;
                    let score = select(inside, score.extract(j), f32::min_value());
                    now = max(now, score);
                    seen.insert(j, score);
                }
                scores[at] = seen;
            }
            let now = most_of_four(now);
            let kept = exp2((most[half] - now) * factor);
            most[half] = now;
            let mut sum = total[half] * kept;
            #[unroll]
            for tile in 0..comptime!(sizes.others / 8) {
                let at = comptime!(2 * tile + half);
                let score = scores[at];
                let mut shares = Two::<f32>::empty();
                #[unroll]
                for j in 0..2usize {
                    let share = exp2(score.extract(j) * factor - now * factor);
                    sum += share;
                    shares.insert(j, share);
                }
                scores[at] = shares;
            }
            total[half] = sum;
            #[unroll]
            for tile in 0..comptime!(sizes.padded()) {
                let at = comptime!(2 * tile + half);
                result[at] = result[at] * Vector::new(kept);
            }
        }
        add_products(&mut result, &scores, &others.b, sizes);
        first += comptime!(sizes.others);
    }
    #[unroll]
    for half in 0..2usize {
        let total = total_of_four(total[half]);
        let row = first_own_row() + comptime!(8 * half);
        if row < q_at.rows {
            write(out, out_at.row(row), &result, half, 1.0 / total, sizes);
            if UNIT_POS_X % 4 == 0 {
                sums[q_at.number(row)] = most[half] * factor + total.ln() * comptime!(LOG2_E);
            }
        }
    }
}

/// The gradient of q. With P = 2^(factor log2(e) q k^T - sums) and dS = P (dO V^T - deltas) it is factor dS K; `deltas` as [`attention_deltas`] gives them.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_backward_of_queries<F: Float>(
    q: &Tensor<Eight<F>>,
    k: &Tensor<Eight<F>>,
    v: &Tensor<Eight<F>>,
    grad: &Tensor<Eight<F>>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dq: &mut Tensor<Two<F>>,
    q_at: Place,
    k_at: Place,
    v_at: Place,
    grad_at: Place,
    dq_at: Place,
    factor: f32,
    #[comptime] sizes: Sizes,
    #[define(F)] _dtype: ElemType,
) {
    let mut own_q = tile::<F>(OWN, sizes);
    let mut own_grad = tile::<F>(OWN, sizes);
    let mut others = Others::<F>::new(sizes);
    fill(&mut own_q, q, &q_at, sizes);
    fill(&mut own_grad, grad, &grad_at, sizes);
    let mut sum = Array::<f32>::new(2usize);
    let mut delta = Array::<f32>::new(2usize);
    #[unroll]
    for half in 0..2usize {
        let row = q_at.number(clamp_max(first_own_row() + comptime!(8 * half), q_at.rows - 1));
        sum[half] = sums[row];
        delta[half] = deltas[row];
    }

    let mut result = zeros(comptime!(2 * sizes.padded()));
    others.ask(k, v, &k_at, &v_at, 0usize);
    let mut first = 0usize;
    while first < k_at.rows {
        sync_cube();
        others.put();
        sync_cube();
        // On their way while this tile is computed.
        others.ask(k, v, &k_at, &v_at, first + comptime!(sizes.others));
        let mut scores = products(&own_q, &others.a, sizes);
        let slopes = products(&own_grad, &others.b, sizes);
        #[unroll]
        for at in 0..comptime!(sizes.others / 4) {
            let half = comptime!(at % 2);
            let (score, slope) = (scores[at], slopes[at]);
            let mut both = Two::<f32>::empty();
            #[unroll]
            for j in 0..2usize {
                let share = exp2(score.extract(j) * factor * comptime!(LOG2_E) - sum[half]);
                let inside = first + column(comptime!(at / 2)) + j < k_at.rows;
                both.insert(j, select(inside, share * (slope.extract(j) - delta[half]), 0.0));
            }
            scores[at] = both;
        }
        add_products(&mut result, &scores, &others.a, sizes);
        first += comptime!(sizes.others);
    }
    #[unroll]
    for half in 0..2usize {
        let row = first_own_row() + comptime!(8 * half);
        if row < q_at.rows {
            write(dq, dq_at.row(row), &result, half, factor, sizes);
        }
    }
}

/// The gradients of k, factor dS^T Q, and of v, P^T dO, with P and dS of [`attention_backward_of_queries`].
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_backward_of_keys<F: Float>(
    q: &Tensor<Eight<F>>,
    k: &Tensor<Eight<F>>,
    v: &Tensor<Eight<F>>,
    grad: &Tensor<Eight<F>>,
    sums: &Tensor<f32>,
    deltas: &Tensor<f32>,
    dk: &mut Tensor<Two<F>>,
    dv: &mut Tensor<Two<F>>,
    q_at: Place,
    k_at: Place,
    v_at: Place,
    grad_at: Place,
    dk_at: Place,
    factor: f32,
    #[comptime] sizes: Sizes,
    #[define(F)] _dtype: ElemType,
) {
    let mut own_k = tile::<F>(OWN, sizes);
    let mut own_v = tile::<F>(OWN, sizes);
    let mut others = Others::<F>::new(sizes);
    let mut other_sums = Shared::<[f32]>::new_slice(comptime!(sizes.others));
    let mut other_deltas = Shared::<[f32]>::new_slice(comptime!(sizes.others));
    fill(&mut own_k, k, &k_at, sizes);
    fill(&mut own_v, v, &v_at, sizes);

    let mut d_k = zeros(comptime!(2 * sizes.padded()));
    let mut d_v = zeros(comptime!(2 * sizes.padded()));
    others.ask(q, grad, &q_at, &grad_at, 0usize);
    let unit = UNIT_POS as usize % comptime!(sizes.others);
    let row = q_at.number(clamp_max(unit, q_at.rows - 1));
    let (mut next_sum, mut next_delta) = (sums[row], deltas[row]);
    let mut first = 0usize;
    while first < q_at.rows {
        sync_cube();
        others.put();
        if UNIT_POS < comptime!(sizes.others as u32) {
            // Of queries that are none the shares are 2^-infinity.
            other_sums[unit] = select(first + unit < q_at.rows, next_sum, f32::max_value());
            other_deltas[unit] = next_delta;
        }
        sync_cube();
        // On their way while this tile is computed.
        others.ask(q, grad, &q_at, &grad_at, first + comptime!(sizes.others));
        let row = q_at.number(clamp_max(first + comptime!(sizes.others) + unit, q_at.rows - 1));
        next_sum = sums[row];
        next_delta = deltas[row];
        let mut shares = products(&own_k, &others.a, sizes);
        let mut slopes = products(&own_v, &others.b, sizes);
        #[unroll]
        for at in 0..comptime!(sizes.others / 4) {
            let (score, slope) = (shares[at], slopes[at]);
            let mut share_pair = Two::<f32>::empty();
            let mut slope_pair = Two::<f32>::empty();
            #[unroll]
            for j in 0..2usize {
                let query = column(comptime!(at / 2)) + j;
                let share = exp2(score.extract(j) * factor * comptime!(LOG2_E) - other_sums[query]);
                share_pair.insert(j, share);
                slope_pair.insert(j, share * (slope.extract(j) - other_deltas[query]));
            }
            shares[at] = share_pair;
            slopes[at] = slope_pair;
        }
        add_products(&mut d_v, &shares, &others.b, sizes);
        add_products(&mut d_k, &slopes, &others.a, sizes);
        first += comptime!(sizes.others);
    }
    #[unroll]
    for half in 0..2usize {
        let row = first_own_row() + comptime!(8 * half);
        if row < k_at.rows {
            write(dk, dk_at.row(row), &d_k, half, factor, sizes);
            write(dv, dk_at.row(row), &d_v, half, 1.0, sizes);
        }
    }
}

/// rowsum(dO O) of each row, `[b, heads, rows]`; `out` and `grad` `[b, heads, rows, width]`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_deltas<F: Float>(
    out: &Tensor<F>,
    grad: &Tensor<F>,
    deltas: &mut Tensor<f32>,
    rows: usize,
    width: usize,
    #[comptime] lanes: usize,
    #[define(F)] _dtype: ElemType,
) {
    let row = own_row(lanes, rows);
    let (out_first, grad_first) = (row_start(out, row, 4usize), row_start(grad, row, 4usize));
    let mut sum = 0f32;
    let mut column = UNIT_POS_X as usize;
    while column < width {
        sum += f32::cast_from(out[out_first + column]) * f32::cast_from(grad[grad_first + column]);
        column += lanes;
    }
    let sum = row_sum(sum, lanes);
    if UNIT_POS_X == 0 {
        deltas[row] = sum;
    }
}
