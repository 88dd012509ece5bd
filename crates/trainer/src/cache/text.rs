use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_nn::Context;
use lorikeet_protocol::{Event, Stage};

use super::{Store, device_key, key, obey};
use crate::base::read_back;
use crate::{Base, Host, TextEncoders, TextShape, TextStates, TrainError};

/// States of captions.
pub struct TextCache {
    states: HashMap<String, Row>,
    shape: TextShape,
    device: Device,
    dtype: DType,
    /// For captions that are new every epoch.
    encoders: Option<Box<dyn TextEncoders>>,
    /// Captions encoded anew rather than found.
    pub encoded: usize,
}

/// States `[tokens, width]` and, where there is one, the pooled state `[width]`; else it is empty.
type Row = [Vec<f32>; 2];

impl TextCache {
    /// Encodes the captions that are not in the cache yet. Text encoders are loaded only if they are needed.
    ///
    /// # Errors
    /// When asked to stop, or when a text encoder cannot be loaded.
    pub fn build(base: &Base, captions: &[String], cache: &Path, host: &mut dyn Host) -> Result<Self, TrainError> {
        let shape = base.architecture.text_shape(base.caption);
        let mut store = Store::new(cache, "text");
        let model_key = base.architecture.text_key(&base.model)?;
        let settings = format!("{:?} {:?} {:?}", base.dtype, base.text_storage, base.caption);
        let key_of = |caption: &str| key(&[caption, &model_key, device_key(base.kind, base.dtype), &settings]);
        let mut states = HashMap::new();
        let mut missing: Vec<&String> = Vec::new();
        let mut seen = HashSet::new();
        for caption in captions.iter().filter(|caption| seen.insert(*caption)) {
            match store.load(&key_of(caption), NAMES, sizes(shape)) {
                Some(found) => _ = states.insert(caption.clone(), found),
                None => missing.push(caption),
            }
        }
        let total = (states.len() + missing.len()) as u64;
        host.event(Event::Stage { stage: Stage::CacheText, done: states.len() as u64, total });
        let encoded = missing.len();
        if !missing.is_empty() {
            host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
            let encoders = base.load_text()?;
            for caption in missing {
                obey(host)?;
                let row = row(&*encoders, caption)?;
                let shapes: [&[usize]; 2] = [&[shape.tokens, shape.width], &[shape.pooled.unwrap_or(0)]];
                let tensors = [(NAMES[0], shapes[0], &row[0][..]), (NAMES[1], shapes[1], &row[1][..])];
                store.save(&key_of(caption), &tensors, host);
                states.insert(caption.clone(), row);
                host.event(Event::Stage { stage: Stage::CacheText, done: states.len() as u64, total });
            }
        }
        Ok(Self { states, shape, device: base.device.clone(), dtype: base.dtype, encoders: None, encoded })
    }

    /// Keeps the encoders for captions that were not known at the start, as shuffled tags make.
    #[must_use]
    pub fn with_encoders(self, encoders: Box<dyn TextEncoders>) -> Self {
        Self { encoders: Some(encoders), ..self }
    }

    /// A row a caption, in the dtype of computation.
    ///
    /// # Errors
    /// When a caption was not encoded and there is no encoder.
    pub fn batch<S: AsRef<str>>(&self, captions: &[S]) -> Result<TextStates, TrainError> {
        let rows = captions.iter().map(|caption| self.one(caption.as_ref())).collect::<Result<Vec<_>, _>>()?;
        Ok(TextStates::cat(rows))
    }

    /// Encodes captions that nobody knew of at the start. Encoders are loaded for it and let go.
    ///
    /// # Errors
    /// When a text encoder cannot be loaded, or the device fails.
    pub(crate) fn learn(&mut self, base: &Base, captions: &[String]) -> Result<(), TrainError> {
        let missing: Vec<&String> = captions.iter().filter(|caption| !self.states.contains_key(*caption)).collect();
        if missing.is_empty() || self.encoders.is_some() {
            return Ok(());
        }
        let encoders = base.load_text()?;
        for caption in missing {
            self.states.insert(caption.clone(), row(&*encoders, caption)?);
        }
        Ok(())
    }

    fn one(&self, caption: &str) -> Result<TextStates, TrainError> {
        let TextShape { tokens, width, pooled } = self.shape;
        match (self.states.get(caption), &self.encoders) {
            (Some([states, pooled_state]), _) => Ok(TextStates {
                states: self.tensor(states, [1, tokens, width]),
                pooled: pooled.map(|width| self.tensor(pooled_state, [1, width])),
            }),
            (None, Some(encoders)) => Ok(encoders.encode(&Context::base(), &[caption])),
            (None, None) => Err(TrainError::Request {
                problem: format!("the caption \"{caption}\" was not encoded before training"),
                todo: "Report this as a bug in Lorikeet",
            }),
        }
    }

    fn tensor<const D: usize>(&self, values: &[f32], shape: [usize; D]) -> Tensor<D> {
        let data = TensorData::new(values.to_vec(), shape);
        Tensor::<D>::from_data(data, (&self.device, DType::F32)).cast(self.dtype)
    }
}

/// One at a time, so that the numbers do not depend on what else is encoded.
fn row(encoders: &dyn TextEncoders, caption: &str) -> Result<Row, TrainError> {
    let TextStates { states, pooled } = encoders.encode(&Context::base(), &[caption]);
    let pooled = pooled.map(|pooled| read_back(pooled, "text states")).transpose()?.unwrap_or_default();
    Ok([read_back(states, "text states")?, pooled])
}

const NAMES: [&str; 2] = ["states", "pooled"];

fn sizes(shape: TextShape) -> [usize; 2] {
    [shape.tokens * shape.width, shape.pooled.unwrap_or(0)]
}
