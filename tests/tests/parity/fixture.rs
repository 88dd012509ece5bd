//! Reading the fixtures, and what counts as equal.

use std::path::PathBuf;
use std::sync::OnceLock;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_checkpoint::SafetensorsFile;
use lorikeet_nn::WeightSource;

/// `LORIKEET_FIXTURES` where there is no source tree (docs/gpu.md).
pub(crate) fn root() -> PathBuf {
    let told = std::env::var_os("LORIKEET_FIXTURES").map(PathBuf::from);
    told.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/parity"))
}

/// `LORIKEET_TEST_DEVICE`, else the CPU.
pub(crate) fn device_name() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| std::env::var("LORIKEET_TEST_DEVICE").unwrap_or_else(|_| "cpu".to_owned()))
}

pub(crate) fn device() -> Device {
    let kind = device_name().parse().unwrap_or_else(|error| panic!("LORIKEET_TEST_DEVICE: {error}"));
    lorikeet_nn::device::open(kind).unwrap_or_else(|error| panic!("LORIKEET_TEST_DEVICE: {error}"))
}

/// What gradients in f32 may be off for the format of a card's tensor cores: CUDA's TF32 keeps 11 bits, so that each factor of each product is
/// up to 5e-4 off. Of small layers with random weights 2.0e-2 was found on a simulated card.
/// A simulated card can do without (tests/gpu/simulate).
pub(crate) fn tensor_float() -> f64 {
    let rounds = device_name().starts_with("cuda") && std::env::var_os("SIMULATED_EXACT").is_none();
    if rounds { 5e-2 } else { 0.0 }
}

/// `LORIKEET_TEST_DRY`: the driver computes nothing (tests/gpu/simulate --dry), so that numbers are not compared.
pub(crate) fn dry() -> bool {
    std::env::var_os("LORIKEET_TEST_DRY").is_some()
}

/// A safetensors file of inputs and expected outputs.
pub(crate) struct Fixture(SafetensorsFile);

impl Fixture {
    pub(crate) fn open(name: &str) -> Self {
        Self(SafetensorsFile::open(root().join(name)).unwrap())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.info(name).is_some()
    }

    /// How many entries end so.
    pub(crate) fn count(&self, ending: &str) -> usize {
        self.0.names().filter(|name| name.ends_with(ending)).count()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.names().count()
    }

    pub(crate) fn raw(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let info = self.0.info(name).unwrap_or_else(|| panic!("the fixture has no {name}"));
        (info.shape.clone(), self.0.f32(name).unwrap())
    }

    pub(crate) fn ids(&self, name: &str) -> (Vec<usize>, Vec<i64>) {
        let shape = self.0.info(name).unwrap().shape.clone();
        let bytes = self.0.bytes(name).unwrap().chunks_exact(8);
        (shape, bytes.map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect())
    }

    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (mut shape, values) = self.raw(name);
        if shape.is_empty() {
            shape.push(1);
        }
        Tensor::from_data(TensorData::new(values, shape), (&device(), DType::F32))
    }

    /// With the values in another shape.
    pub(crate) fn flat<const D: usize>(&self, name: &str, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(self.raw(name).1, shape), (&device(), DType::F32))
    }
}

/// Weights under the names of the checkpoint, `text_model.` or not.
pub(crate) struct Weights(SafetensorsFile);

impl Weights {
    fn stored<'a>(&self, name: &'a str) -> &'a str {
        match self.0.info(name) {
            Some(_) => name,
            None => name.trim_start_matches("text_model."),
        }
    }
}

impl WeightSource for Weights {
    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.info(self.stored(name)).map(|info| info.shape.clone())
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>, String> {
        self.0.f32(self.stored(name)).map_err(|error| error.to_string())
    }
}

pub(crate) fn model(folder: &str, weights: &str) -> (serde_json::Value, Weights) {
    let folder = root().join(folder);
    let config = serde_json::from_slice(&std::fs::read(folder.join("config.json")).unwrap()).unwrap();
    (config, Weights(SafetensorsFile::open(folder.join(weights)).unwrap()))
}

/// Largest difference relative to the largest expected value; fails above `tolerance`, on a card, which adds in another order, above a
/// hundred times that.
#[track_caller]
pub(crate) fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f64) -> f64 {
    assert_eq!(found.dims(), expected.dims());
    let values = |t: Tensor<D>| t.into_data().iter::<f32>().map(f64::from).collect::<Vec<f64>>();
    let (found, expected) = (values(found), values(expected));
    let largest = expected.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let worst =
        found.iter().zip(&expected).fold(0.0f64, |m, (f, e)| if f.is_nan() { f64::NAN } else { m.max((f - e).abs()) });
    let error = worst / largest.max(1e-30);
    let tolerance = if device_name() == "cpu" { tolerance } else { (tolerance * 100.0).max(tensor_float()) };
    assert!(error <= tolerance || dry(), "relative error {error:e} is above {tolerance:e}");
    error
}

/// With `LORIKEET_TEST_JSON`, as a line of JSON.
pub(crate) fn report(what: &str, error: f64) {
    if dry() {
        return;
    }
    if std::env::var_os("LORIKEET_TEST_JSON").is_some() {
        println!("{}", serde_json::json!({"check": what, "device": device_name(), "error": error, "ok": true}));
    } else {
        println!("{what:<60} {error:.1e}");
    }
}
