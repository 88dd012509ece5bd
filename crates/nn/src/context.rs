use burn::Tensor;
use burn::tensor::DType;

/// Stride and padding of a convolution, equal in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    pub stride: usize,
    pub padding: usize,
}

/// An adapter of a linear layer that adds `scale (x down^T) up^T`.
#[derive(Clone, Debug)]
pub struct LowRank {
    /// `[r, in]`.
    pub down: Tensor<2>,
    /// `[out, r]`.
    pub up: Tensor<2>,
    pub scale: f64,
}

/// Adds to the output of named layers.
pub trait Deltas {
    /// What [`Self::linear`] does, if that is a product of low rank, for layers that can add it as they go.
    fn low_rank(&self, name: &str, dtype: DType) -> Option<LowRank> {
        let _ = (name, dtype);
        None
    }

    /// What the adapter adds to `layer(x)`, for `x` `[batch, n, in]` → `[batch, n, out]`.
    fn linear(&self, name: &str, x: &Tensor<3>) -> Option<Tensor<3>>;
    /// For `x` `[batch, in, height, width]`.
    fn conv2d(&self, name: &str, x: &Tensor<4>, geometry: ConvGeometry) -> Option<Tensor<4>>;
}

/// What a forward pass carries beside its tensors.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    deltas: Option<&'a dyn Deltas>,
}

impl<'a> Context<'a> {
    /// The untouched base model.
    pub fn base() -> Self {
        Self { deltas: None }
    }

    pub fn with(deltas: &'a dyn Deltas) -> Self {
        Self { deltas: Some(deltas) }
    }

    pub(crate) fn deltas(&self) -> Option<&'a dyn Deltas> {
        self.deltas
    }
}
