use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use burn::Tensor;
use burn::tensor::module::linear;
use burn::tensor::{DType, Device, Gradients, TensorData};
use lorikeet_nn::segmented::{LeafSource, Leaves};
use lorikeet_nn::{ConvGeometry, Deltas, LayerInfo, LayerKind, LowRank, ops};
use lorikeet_seeded::{Purpose, Stream};

use crate::AdapterError;

/// One layer's low-rank companion, `y += alpha / rank * B (A x)`.
#[derive(Clone, Debug)]
pub struct LoraModule {
    pub kind: LayerKind,
    pub alpha: f32,
    /// Down, `[rank, inputs * kernel^2]`, f32.
    pub a: Tensor<2>,
    /// Up, `[outputs, rank]`, f32.
    pub b: Tensor<2>,
}

impl LoraModule {
    pub fn rank(&self) -> usize {
        self.a.dims()[0]
    }

    fn scale(&self) -> f64 {
        f64::from(self.alpha) / self.rank() as f64
    }
}

/// How much a layer can learn, and how strongly it counts: by alpha / rank.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub rank: usize,
    pub alpha: f32,
}

/// The trained matrices of a run or of a file, by layer name.
pub struct LoraSet {
    pub modules: BTreeMap<String, LoraModule>,
    dropout: f64,
    seed: u64,
    /// Step and micro-batch: the address of the dropout masks.
    position: Cell<[u64; 2]>,
    gradients: RefCell<BTreeMap<String, [Tensor<2>; 2]>>,
}

impl LoraSet {
    /// A fresh adapter on these layers: A Kaiming-uniform with a = sqrt 5, that is uniform within 1 / sqrt(fan in), and
    /// B zero, so that it changes nothing yet. A module's numbers depend on the seed and its name alone.
    pub fn new(
        layers: &[LayerInfo],
        size: impl Fn(LayerKind) -> Size,
        dropout: f64,
        seed: u64,
        device: &Device,
    ) -> Self {
        let module = |layer: &LayerInfo| {
            let Size { rank, alpha } = size(layer.kind);
            let (fan_in, outputs) = sizes(layer.kind);
            let address: Vec<u64> = layer.name.bytes().map(u64::from).collect();
            let mut stream = Stream::new(seed, Purpose::AdapterInit, &address);
            let bound = 1.0 / (fan_in as f64).sqrt();
            let a = (0..rank * fan_in).map(|_| ((2.0 * stream.unit() - 1.0) * bound) as f32).collect();
            let module = LoraModule {
                kind: layer.kind,
                alpha,
                a: matrix(a, [rank, fan_in], device),
                b: matrix(vec![0.0; outputs * rank], [outputs, rank], device),
            };
            (layer.name.clone(), module)
        };
        Self { dropout, seed, ..Self::from_modules(layers.iter().map(module).collect()) }
    }

    pub fn from_modules(modules: BTreeMap<String, LoraModule>) -> Self {
        Self { modules, dropout: 0.0, seed: 0, position: Cell::default(), gradients: RefCell::default() }
    }

    /// Adds a module from a file. `down` and `up` in row-major order with these shapes; convolutions have four axes.
    ///
    /// # Errors
    /// When the model has no such layer or the shapes do not fit it.
    pub fn insert(
        &mut self,
        name: &str,
        layers: &[LayerInfo],
        alpha: f32,
        down: (&[usize], Vec<f32>),
        up: (&[usize], Vec<f32>),
        device: &Device,
    ) -> Result<(), AdapterError> {
        let layer = layers.iter().find(|layer| layer.name == name);
        let kind = layer.ok_or_else(|| AdapterError::UnknownLayer { name: name.to_owned() })?.kind;
        let (fan_in, outputs) = sizes(kind);
        let rank = down.0.first().copied().unwrap_or(0);
        if rank == 0 || down.1.len() != rank * fan_in || up.1.len() != outputs * rank {
            let (down, up) = (down.0.to_vec(), up.0.to_vec());
            return Err(AdapterError::WrongShape { name: name.to_owned(), down, up, inputs: fan_in, outputs });
        }
        let (a, b) = (matrix(down.1, [rank, fan_in], device), matrix(up.1, [outputs, rank], device));
        self.modules.insert(name.to_owned(), LoraModule { kind, alpha, a, b });
        Ok(())
    }

    /// For drawing: no dropout, at a strength.
    pub fn deltas(&self, strength: f64) -> LoraDeltas<'_> {
        LoraDeltas { set: self, strength, dropout: false, leaves: None }
    }

    /// Where the run is, so that dropout masks are the same in recomputation and after a resume.
    pub fn set_position(&self, step: u64, micro_batch: u64) {
        self.position.set([step, micro_batch]);
    }

    /// The gradients of A and B summed since the last call, by layer name.
    pub fn take_gradients(&self) -> BTreeMap<String, [Tensor<2>; 2]> {
        self.gradients.take()
    }

    /// Trained numbers in all.
    pub fn parameters(&self) -> usize {
        self.modules.values().map(|m| m.a.shape().num_elements() + m.b.shape().num_elements()).sum()
    }

    fn dropout_mask(&self, name: &str, hidden: &Tensor<3>) -> Tensor<3> {
        let address: Vec<u64> = self.position.get().into_iter().chain(name.bytes().map(u64::from)).collect();
        let mut stream = Stream::new(self.seed, Purpose::AdapterDropout, &address);
        let kept = (1.0 / (1.0 - self.dropout)) as f32;
        let dims = hidden.dims();
        let mask = (0..dims.iter().product()).map(|_| if stream.unit() < self.dropout { 0.0 } else { kept }).collect();
        Tensor::<3>::from_data(TensorData::new::<f32, _>(mask, dims), (&hidden.device().inner(), DType::F32))
            .cast(hidden.dtype())
    }
}

impl LeafSource for LoraSet {
    fn plain(&self) -> Box<dyn Deltas + '_> {
        Box::new(LoraDeltas { set: self, strength: 1.0, dropout: true, leaves: None })
    }

    fn tracked(&self) -> Box<dyn Leaves + '_> {
        Box::new(LoraDeltas { set: self, strength: 1.0, dropout: true, leaves: Some(RefCell::default()) })
    }

    fn turn_to(&self, micro_batch: usize) {
        let [step, _] = self.position.get();
        self.position.set([step, micro_batch as u64]);
    }
}

/// A set at work in one forward pass.
pub struct LoraDeltas<'a> {
    set: &'a LoraSet,
    strength: f64,
    dropout: bool,
    /// Under autodiff: the leaves handed out so far.
    leaves: Option<RefCell<BTreeMap<String, [Tensor<2>; 2]>>>,
}

impl LoraDeltas<'_> {
    /// A and B in the dtype of the activations; under autodiff as leaves.
    fn matrices(&self, name: &str, module: &LoraModule, dtype: DType) -> [Tensor<2>; 2] {
        let masters = [module.a.clone(), module.b.clone()];
        let used = match &self.leaves {
            Some(leaves) => leaves
                .borrow_mut()
                .entry(name.to_owned())
                .or_insert_with(|| masters.map(|t| t.autodiff().require_grad()))
                .clone(),
            None => masters,
        };
        used.map(|t| t.cast(dtype))
    }

    fn scaled(&self, module: &LoraModule) -> f64 {
        module.scale() * self.strength
    }

    /// Dropout sits between A and B, as in kohya's `network_dropout`.
    fn drop(&self, name: &str, hidden: Tensor<3>) -> Tensor<3> {
        if !self.dropout || self.set.dropout == 0.0 {
            return hidden;
        }
        let mask = self.set.dropout_mask(name, &hidden);
        hidden * mask
    }
}

impl Deltas for LoraDeltas<'_> {
    fn low_rank(&self, name: &str, dtype: DType) -> Option<LowRank> {
        let module = self.set.modules.get(name)?;
        if self.dropout && self.set.dropout > 0.0 {
            return None;
        }
        let [down, up] = self.matrices(name, module, dtype);
        Some(LowRank { down, up, scale: self.scaled(module) })
    }

    fn linear(&self, name: &str, x: &Tensor<3>) -> Option<Tensor<3>> {
        let module = self.set.modules.get(name)?;
        let [a, b] = self.matrices(name, module, x.dtype());
        let hidden = self.drop(name, linear(x.clone(), a.transpose(), None));
        Some(linear(hidden * self.scaled(module), b.transpose(), None))
    }

    fn conv2d(&self, name: &str, x: &Tensor<4>, geometry: ConvGeometry) -> Option<Tensor<4>> {
        let module = self.set.modules.get(name)?;
        let [a, b] = self.matrices(name, module, x.dtype());
        let [batch, inputs, height, width] = x.dims();
        let rank = module.rank();
        let kernel = match module.kind {
            LayerKind::Conv2d { kernel, .. } => kernel,
            LayerKind::Linear { .. } => 1,
        };
        // A 1x1 convolution is a product at every pixel; that way no im2col is made.
        let (hidden, [out_height, out_width]) = if kernel == 1 && geometry.stride == 1 {
            let pixels = x.clone().reshape([batch, inputs, height * width]);
            (a.unsqueeze::<3>().expand([batch, rank, inputs]).matmul(pixels), [height, width])
        } else {
            let hidden = ops::conv2d(x.clone(), a.reshape([rank, inputs, kernel, kernel]), geometry);
            let [.., h, w] = hidden.dims();
            (hidden.reshape([batch, rank, h * w]), [h, w])
        };
        let hidden = self.drop(name, hidden) * self.scaled(module);
        let outputs = b.dims()[0];
        let y = b.unsqueeze::<3>().expand([batch, outputs, rank]).matmul(hidden);
        Some(y.reshape([batch, outputs, out_height, out_width]))
    }
}

impl Leaves for LoraDeltas<'_> {
    fn collect(self: Box<Self>, gradients: &mut Gradients) {
        let mut sums = self.set.gradients.borrow_mut();
        for (name, leaves) in self.leaves.map(RefCell::into_inner).unwrap_or_default() {
            let [Some(a), Some(b)] = leaves.map(|leaf| leaf.grad_remove(gradients)) else { continue };
            let sum = match sums.remove(&name) {
                Some([sum_a, sum_b]) => [sum_a + a, sum_b + b],
                None => [a, b],
            };
            sums.insert(name, sum);
        }
    }

    fn deltas(&self) -> &dyn Deltas {
        self
    }
}

/// Fan-in and outputs.
fn sizes(kind: LayerKind) -> (usize, usize) {
    match kind {
        LayerKind::Linear { inputs, outputs } => (inputs, outputs),
        LayerKind::Conv2d { inputs, outputs, kernel } => (inputs * kernel * kernel, outputs),
    }
}

fn matrix(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
}
