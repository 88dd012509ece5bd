use burn::Tensor;
use burn::backend::Dispatch;
use burn::tensor::{DType, Device, TensorData};

use super::one_pass::{OnePass as _, applies};

/// Rotary position embedding: turns adjacent pairs of a head's numbers by an angle that its place tells (Su and others
/// 2021).
#[derive(Clone, Debug)]
pub struct Rotary {
    /// `[1, 1, n, head_dim]`, each angle twice.
    cosines: Tensor<4>,
    /// As the cosines; for the first of a pair with a minus.
    sines: Tensor<4>,
}

impl Rotary {
    /// `angles` `[n, head_dim / 2]` in row-major order.
    pub fn new(angles: &[f64], head_dim: usize, device: &Device) -> Self {
        let n = 2 * angles.len() / head_dim.max(1);
        let cosines: Vec<f32> = angles.iter().flat_map(|angle| [angle.cos() as f32; 2]).collect();
        let sines: Vec<f32> = angles.iter().flat_map(|angle| [-angle.sin() as f32, angle.sin() as f32]).collect();
        let table = |values| Tensor::from_data(TensorData::new(values, [1, 1, n, head_dim]), (device, DType::F32));
        Self { cosines: table(cosines), sines: table(sines) }
    }

    /// `x` `[b, heads, n, head_dim]`; computed in f32.
    pub fn turn(&self, x: Tensor<4>) -> Tensor<4> {
        if applies(&x) {
            let [x, cosines, sines] = [x, self.cosines.clone(), self.sines.clone()].map(Tensor::into_dispatch);
            return Tensor::from_dispatch(Dispatch::turned(x, cosines, sines));
        }
        let [b, heads, n, head_dim] = x.dims();
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let swapped = x.clone().reshape([b, heads, n, head_dim / 2, 2]).flip([4]).reshape([b, heads, n, head_dim]);
        (x * self.cosines.clone() + swapped * self.sines.clone()).cast(dtype)
    }
}
