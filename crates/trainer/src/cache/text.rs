use std::collections::{HashMap, HashSet};
use std::path::Path;

use burn::Tensor;
use burn::tensor::{DType, Device, TensorData};
use lorikeet_checkpoint::Part;
use lorikeet_models::clip::LENGTH;
use lorikeet_nn::Context;
use lorikeet_protocol::{Event, Stage};

use super::{Store, device_key, key, obey};
use crate::base::{CLIP_SKIP, read_back};
use crate::{Base, Host, TextEncoder, TrainError};

/// States of captions, `[77, width]` each.
pub struct TextStates {
    states: HashMap<String, Vec<f32>>,
    width: usize,
    device: Device,
    dtype: DType,
    /// For captions that are new every epoch.
    encoder: Option<TextEncoder>,
    /// Captions encoded anew rather than found.
    pub encoded: usize,
}

impl TextStates {
    /// Encodes the captions that are not in the cache yet. The text encoder is loaded only if it is needed.
    ///
    /// # Errors
    /// When asked to stop, or when the text encoder cannot be loaded.
    pub fn build(base: &Base, captions: &[String], cache: &Path, host: &mut dyn Host) -> Result<Self, TrainError> {
        let width = base.clip_config.hidden_size;
        let mut store = Store::new(cache, "text");
        let model_key = base.model.part(Part::TextEncoder)?.content_key()?;
        let settings = format!("{CLIP_SKIP} {:?}", base.dtype);
        let key_of = |caption: &str| key(&[caption, &model_key, device_key(base.kind), &settings]);
        let mut states = HashMap::new();
        let mut missing: Vec<&String> = Vec::new();
        let mut seen = HashSet::new();
        for caption in captions.iter().filter(|caption| seen.insert(*caption)) {
            match store.load(&key_of(caption), ["states"], LENGTH * width) {
                Some([found]) => _ = states.insert(caption.clone(), found),
                None => missing.push(caption),
            }
        }
        let total = (states.len() + missing.len()) as u64;
        host.event(Event::Stage { stage: Stage::CacheText, done: states.len() as u64, total });
        let encoded = missing.len();
        if !missing.is_empty() {
            host.event(Event::Stage { stage: Stage::LoadModel, done: 0, total: 0 });
            let encoder = base.load_text()?;
            for caption in missing {
                obey(host)?;
                // One at a time, so that the numbers do not depend on what else is encoded.
                let values = read_back(encoder.states(&Context::base(), &[caption]), "text states")?;
                store.save(&key_of(caption), &[("states", &[LENGTH, width], &values)], host);
                states.insert(caption.clone(), values);
                host.event(Event::Stage { stage: Stage::CacheText, done: states.len() as u64, total });
            }
        }
        Ok(Self { states, width, device: base.device.clone(), dtype: base.dtype, encoder: None, encoded })
    }

    /// Keeps an encoder for captions that were not known at the start, as shuffled tags make.
    #[must_use]
    pub fn with_encoder(self, encoder: TextEncoder) -> Self {
        Self { encoder: Some(encoder), ..self }
    }

    /// `[b, 77, width]` in the dtype of computation.
    ///
    /// # Errors
    /// When a caption was not encoded and there is no encoder.
    pub fn batch<S: AsRef<str>>(&self, captions: &[S]) -> Result<Tensor<3>, TrainError> {
        let rows = captions.iter().map(|caption| self.one(caption.as_ref())).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::cat(rows, 0))
    }

    fn one(&self, caption: &str) -> Result<Tensor<3>, TrainError> {
        match (self.states.get(caption), &self.encoder) {
            (Some(values), _) => {
                let data = TensorData::new(values.clone(), [1, LENGTH, self.width]);
                Ok(Tensor::<3>::from_data(data, (&self.device, DType::F32)).cast(self.dtype))
            }
            (None, Some(encoder)) => Ok(encoder.states(&Context::base(), &[caption])),
            (None, None) => Err(TrainError::Request {
                problem: format!("the caption \"{caption}\" was not encoded before training"),
                todo: "Report this as a bug in Lorikeet",
            }),
        }
    }
}
