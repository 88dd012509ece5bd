use burn::Tensor;

/// Stride and padding of a convolution, equal in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvGeometry {
    pub stride: usize,
    pub padding: usize,
}

/// Adds to the output of named layers.
pub trait Deltas {
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
