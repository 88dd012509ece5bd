use std::sync::{Mutex, PoisonError};

use burn::Tensor;
use lorikeet_nn::ops::Rotary;

use super::config::{FluxConfig, THETA};

/// The angles of the last size asked for: all blocks of a step ask for the same.
#[derive(Debug, Default)]
pub(super) struct RotaryCache(Mutex<Option<([usize; 3], Rotary)>>);

impl RotaryCache {
    /// For `picture` `[b, rows, columns, _]` and `text` `[b, 1, m, _]`, in the order of the sequence: text first.
    pub(super) fn get(&self, config: &FluxConfig, picture: &Tensor<4>, text: &Tensor<4>) -> Rotary {
        let ([_, rows, columns, _], [_, _, tokens, _]) = (picture.dims(), text.dims());
        let size = [rows, columns, tokens];
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((known, rotary)) if *known == size => rotary.clone(),
            _ => {
                let head_dim = config.axes_dim.iter().sum();
                let rotary = Rotary::new(&angles(config, size), head_dim, &picture.device().inner());
                *last = Some((size, rotary.clone()));
                rotary
            }
        }
    }
}

/// `[m + rows * columns, head_dim / 2]`: position along an axis times `theta^(-2 i / dim)`, axis after axis. Every text
/// token sits at (0, 0, 0), a patch at (0, row, column).
fn angles(config: &FluxConfig, [rows, columns, tokens]: [usize; 3]) -> Vec<f64> {
    let places = (0..rows).flat_map(|row| (0..columns).map(move |column| [0, row, column]));
    let mut angles = Vec::new();
    for place in std::iter::repeat_n([0; 3], tokens).chain(places) {
        for (position, dim) in place.into_iter().zip(config.axes_dim) {
            let frequency = |i: usize| THETA.powf(-2.0 * i as f64 / dim as f64);
            angles.extend((0..dim / 2).map(|i| position as f64 * frequency(i)));
        }
    }
    angles
}
