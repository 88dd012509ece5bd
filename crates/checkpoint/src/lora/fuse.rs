//! LoRAs of split layers as one of the fused layer, and back. FLUX has fused layers under its own names (query, key and
//! value in one matrix), and diffusers splits them.

use super::{Array, LoraModule};

/// A LoRA of one of the layers that a fused layer is split into.
#[derive(Debug, Clone)]
pub(crate) struct Split {
    pub(crate) index: usize,
    pub(crate) count: usize,
    pub(crate) module: LoraModule,
}

/// Rows of each layer that a fused layer of `rows` outputs and `inputs` inputs is split into: query, key and value are
/// as wide as the input; what the fused layer of a single block has besides is its MLP.
pub(crate) fn split_rows(count: usize, inputs: usize, rows: usize) -> Vec<usize> {
    match count {
        4 => vec![inputs, inputs, inputs, rows.saturating_sub(3 * inputs)],
        _ => vec![rows / count.max(1); count],
    }
}

/// Width of the MLP of FLUX over that of its stream.
const MLP_RATIO: usize = 4;

/// The LoRA of the fused layer whose change is exactly that of the splits below each other. Where all share one down
/// matrix the rank stays; else the down matrices are stacked and the up matrices placed block-diagonally, and the rank
/// is the sum. Splits that are absent change nothing. The error is a sentence.
pub(crate) fn fuse(name: &str, splits: &[Split]) -> Result<LoraModule, String> {
    let first = splits.first().ok_or("it has no matrices.")?;
    let count = first.count;
    let inputs = first.module.down.shape.get(1).copied().unwrap_or(0);
    for split in splits {
        let shapes = (&split.module.down.shape[..], &split.module.up.shape[..]);
        let ([_, width], [_, _]) = shapes else { return Err("a fused layer of FLUX is no convolution.".to_owned()) };
        if *width != inputs {
            return Err(format!("its parts have {inputs} and {width} inputs, where a fused layer has one number."));
        }
    }
    let of = |index: usize| splits.iter().find(|split| split.index == index).map(|split| &split.module);
    let rows: Vec<usize> = (0..count)
        .map(|index| match of(index) {
            Some(module) => module.up.shape[0],
            None if count == 4 && index == 3 => MLP_RATIO * inputs,
            None => inputs,
        })
        .collect();
    let outputs: usize = rows.iter().sum();
    let scale = |module: &LoraModule| module.alpha / module.rank as f32;
    let common = scale(&first.module);
    let shared = splits.len() == count && splits.iter().all(|split| split.module.down == first.module.down);
    let rank = if shared { first.module.rank } else { splits.iter().map(|split| split.module.rank).sum() };
    let mut down = Vec::with_capacity(rank * inputs);
    let mut up = vec![0.0; outputs * rank];
    let (mut row, mut column) = (0, 0);
    for (index, height) in rows.iter().enumerate() {
        if let Some(module) = of(index) {
            // One alpha must do for all; a split of another scale takes the difference into its up matrix.
            let factor = scale(module) / common;
            for (i, values) in module.up.values.chunks(module.rank).enumerate() {
                let start = (row + i) * rank + column;
                for (target, value) in up[start..start + module.rank].iter_mut().zip(values) {
                    *target = if factor == 1.0 { *value } else { factor * value };
                }
            }
            if !shared {
                down.extend_from_slice(&module.down.values);
                column += module.rank;
            }
        }
        row += height;
    }
    if shared {
        down.clone_from(&first.module.down.values);
    }
    Ok(LoraModule {
        name: name.to_owned(),
        rank,
        alpha: common * rank as f32,
        down: Array { shape: vec![rank, inputs], values: down },
        up: Array { shape: vec![outputs, rank], values: up },
    })
}

/// Rows `from..from + count` of an up matrix.
pub(crate) fn rows(up: &Array, from: usize, count: usize) -> Array {
    let width: usize = up.shape[1..].iter().product();
    let mut shape = up.shape.clone();
    shape[0] = count;
    Array { shape, values: up.values[from * width..(from + count) * width].to_vec() }
}

/// An up matrix with its two halves along axis 0 exchanged.
pub(crate) fn swapped_halves(up: &Array) -> Array {
    let mut values = up.values.clone();
    values.rotate_left(up.values.len() / 2);
    Array { shape: up.shape.clone(), values }
}
