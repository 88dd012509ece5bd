use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};

use crate::NnError;

/// Where weights come from: a checkpoint, or numbers made up for a test.
pub trait WeightSource {
    fn shape(&self, name: &str) -> Option<Vec<usize>>;
    /// All values in row-major order.
    ///
    /// # Errors
    /// The reason in words, when the tensor is there but cannot be read.
    fn f32(&self, name: &str) -> Result<Vec<f32>, String>;
}

/// Reads tensors below a path, checks their shapes and puts them on the device.
#[derive(Clone)]
pub struct Loader<'a> {
    source: &'a dyn WeightSource,
    /// First part of layer names, `unet` or `text_encoder`; not part of tensor names.
    component: &'a str,
    path: String,
    device: &'a Device,
    dtype: DType,
}

impl<'a> Loader<'a> {
    pub fn new(source: &'a dyn WeightSource, component: &'a str, device: &'a Device, dtype: DType) -> Self {
        Self { source, component, path: String::new(), device, dtype }
    }

    /// The loader of a part, as in `at("down_blocks").at(0)`.
    pub fn at(&self, part: impl std::fmt::Display) -> Self {
        Self { path: self.join(part), ..self.clone() }
    }

    pub fn device(&self) -> &Device {
        self.device
    }

    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Name under which adapters know the layer here, for example `unet.mid_block.attentions.0.proj_in`.
    pub fn layer_name(&self) -> String {
        format!("{}.{}", self.component, self.path)
    }

    /// # Errors
    /// When the tensor is missing, unreadable, or of another shape.
    pub fn tensor<const D: usize>(&self, name: &str, shape: [usize; D]) -> Result<Tensor<D>, NnError> {
        Ok(self.upload(self.values(name, &shape)?, shape))
    }

    /// A matrix stored `[outputs, inputs]`, as `[inputs, outputs]`.
    ///
    /// # Errors
    /// As [`Self::tensor`].
    pub fn transposed(&self, name: &str, outputs: usize, inputs: usize) -> Result<Tensor<2>, NnError> {
        let stored = self.values(name, &[outputs, inputs])?;
        let mut values = vec![0.0; stored.len()];
        // By tiles, so that neither side is walked across the whole matrix for each line of it.
        const TILE: usize = 32;
        for row in (0..outputs).step_by(TILE) {
            for column in (0..inputs).step_by(TILE) {
                for r in row..(row + TILE).min(outputs) {
                    for c in column..(column + TILE).min(inputs) {
                        values[c * outputs + r] = stored[r * inputs + c];
                    }
                }
            }
        }
        Ok(self.upload(values, [inputs, outputs]))
    }

    fn upload<const D: usize>(&self, values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::<D>::from_data(TensorData::new(values, shape), (self.device, DType::F32)).cast(self.dtype)
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NnError> {
        let name = self.join(name);
        let found = self.source.shape(&name).ok_or_else(|| NnError::MissingTensor { name: name.clone() })?;
        // 1x1 convolutions are stored as matrices by some programs and the other way round; the numbers are the same.
        let core = |s: &[usize]| -> Vec<usize> {
            let end = s.iter().rposition(|n| *n != 1).map_or(0, |i| i + 1);
            s[..end].to_vec()
        };
        if core(&found) != core(shape) {
            return Err(NnError::WrongShape { name, expected: shape.to_vec(), found });
        }
        self.source.f32(&name).map_err(|reason| NnError::Unreadable { name, reason })
    }

    fn join(&self, part: impl std::fmt::Display) -> String {
        if self.path.is_empty() { part.to_string() } else { format!("{}.{part}", self.path) }
    }
}
