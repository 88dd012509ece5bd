//! What kernels of ours for graphics cards share. In CubeCL: each row of numbers belongs to as many units of a cube as `lanes` says, and several
//! narrow rows share a cube. Numbers are read and written in the tensors' dtypes and computed in f32.

use burn_cubecl::cubecl;
use cubecl::prelude::*;

/// Of a cube.
pub(super) const UNITS: usize = 256;

/// The row of this unit. Units beyond the last row do the last one's work again, so that all meet at each barrier.
#[cube]
pub(super) fn own_row(#[comptime] lanes: usize, rows: usize) -> usize {
    let row = CUBE_POS * comptime!(UNITS / lanes) + UNIT_POS_Y as usize;
    select(row < rows, row, rows - 1)
}

/// Where a row along the last axis begins.
#[cube]
pub(super) fn row_start<F: Float>(x: &Tensor<F>, row: usize, #[comptime] rank: usize) -> usize {
    let mut start = 0usize;
    let mut rest = row;
    #[unroll]
    for back in 2..rank + 1 {
        let axis = rank - back;
        start += rest % x.shape(axis) * x.stride(axis);
        rest /= x.shape(axis);
    }
    start
}

#[cube]
pub(super) fn most_of_row(s: &Tensor<f32>, first: usize, width: usize, factor: f32, #[comptime] lanes: usize) -> f32 {
    let mut most = f32::min_value();
    let mut column = UNIT_POS_X as usize;
    while column < width {
        most = max(most, s[first + column] * factor);
        column += lanes;
    }
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let (own, lane) = (UNIT_POS as usize, UNIT_POS_X as usize);
    shared[own] = most;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(lanes.ilog2()) {
        let half = comptime!(lanes >> (step + 1));
        if lane < half {
            shared[own] = max(shared[own], shared[own + half]);
        }
        sync_cube();
    }
    let most = shared[own - lane];
    sync_cube();
    most
}

#[cube]
pub(super) fn row_sum(value: f32, #[comptime] lanes: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(UNITS);
    let (own, lane) = (UNIT_POS as usize, UNIT_POS_X as usize);
    shared[own] = value;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(lanes.ilog2()) {
        let half = comptime!(lanes >> (step + 1));
        if lane < half {
            shared[own] += shared[own + half];
        }
        sync_cube();
    }
    let sum = shared[own - lane];
    // Before anyone writes for the next sum.
    sync_cube();
    sum
}

/// Over the units of one column; for the first of them.
#[cube]
pub(super) fn column_sum(value: f32, #[comptime] lanes: usize, #[comptime] depth: usize) -> f32 {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(lanes * depth));
    let (own, row) = (UNIT_POS as usize, UNIT_POS_Y as usize);
    shared[own] = value;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(depth.ilog2()) {
        let half = comptime!(depth >> (step + 1));
        if row < half {
            shared[own] += shared[own + half * lanes];
        }
        sync_cube();
    }
    let sum = shared[own];
    sync_cube();
    sum
}

#[cube]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
