use burn::Tensor;
use burn::tensor::DType;
use lorikeet_nn::{ConvGeometry, Deltas, LowRank};

/// Several adapters at once: their deltas add up.
#[derive(Default)]
pub struct Combined<'a>(pub Vec<Box<dyn Deltas + 'a>>);

impl Deltas for Combined<'_> {
    fn low_rank(&self, name: &str, dtype: DType) -> Option<LowRank> {
        match &self.0[..] {
            [only] => only.low_rank(name, dtype),
            _ => None,
        }
    }

    fn linear(&self, name: &str, x: &Tensor<3>) -> Option<Tensor<3>> {
        self.0.iter().filter_map(|deltas| deltas.linear(name, x)).reduce(|a, b| a + b)
    }

    fn conv2d(&self, name: &str, x: &Tensor<4>, geometry: ConvGeometry) -> Option<Tensor<4>> {
        self.0.iter().filter_map(|deltas| deltas.conv2d(name, x, geometry)).reduce(|a, b| a + b)
    }
}
