//! Saves that a run goes on from: adapters, optimiser, and where it was.
//!
//! A save is a folder `checkpoints/step-000123`, written under another name and renamed when it is whole. Random numbers
//! have no state ([`lorikeet_seeded`]), and the place in the dataset follows from the step.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use burn::Tensor;
use burn::tensor::{DType, Device};
use lorikeet_adapters::LoraSet;
use lorikeet_checkpoint::{Dtype, SafetensorsFile, TensorData, remove_leftovers, write_safetensors};
use lorikeet_nn::NnError;
use lorikeet_protocol::Event;
use serde::{Deserialize, Serialize};

use crate::export::to_modules;
use crate::meter::SmoothedLoss;
use crate::moments::{self, Moment, Order};
use crate::optim::{AdamW, Moments};
use crate::{Host, TrainError, read_adapter, saves, write_adapter};

const ADAPTER: &str = "adapter.safetensors";
const OPTIMISER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";

/// What a save holds beside tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) step: u64,
    pub(crate) base_loss: Option<f32>,
    pub(crate) loss: SmoothedLoss,
}

/// A save read back.
pub(crate) struct Saved {
    pub(crate) step: u64,
    pub(crate) base_loss: Option<f32>,
    pub(crate) loss: SmoothedLoss,
    pub(crate) path: PathBuf,
}

/// Where the save of a step is.
pub(crate) fn folder(run_dir: &Path, step: u64) -> PathBuf {
    run_dir.join("checkpoints").join(format!("step-{step:06}"))
}

/// Saves, then removes all but the last `keep` saves (0: none).
pub(crate) fn write(
    run_dir: &Path,
    facts: &Facts,
    set: &LoraSet,
    adamw: &AdamW,
    keep: usize,
) -> Result<PathBuf, TrainError> {
    let path = folder(run_dir, facts.step);
    let part = path.with_extension("part");
    let io = |what: &'static str| move |path: &Path, error| TrainError::io(what, path, error);
    let finish = || -> Result<(), TrainError> {
        fs::create_dir_all(&part).map_err(|e| io("make the folder")(&part, e))?;
        write_adapter(&part.join(ADAPTER), &to_modules(set)?)?;
        write_optimiser(&part.join(OPTIMISER), adamw)?;
        let text = serde_json::to_string_pretty(facts).unwrap_or_default();
        lorikeet_checkpoint::write_atomically(&part.join(STATE), |out| {
            std::io::Write::write_all(out, text.as_bytes())
        })?;
        if path.exists() {
            fs::remove_dir_all(&path).map_err(|e| io("replace the save")(&path, e))?;
        }
        fs::rename(&part, &path).map_err(|e| io("finish the save")(&path, e))?;
        // The rename itself must survive a power cut; not every system can sync a folder.
        File::open(run_dir.join("checkpoints")).and_then(|folder| folder.sync_all()).ok();
        Ok(())
    };
    if let Err(error) = finish() {
        fs::remove_dir_all(&part).ok();
        return Err(error);
    }
    if keep > 0 {
        let all = saves(run_dir)?;
        for (_, old) in &all[..all.len().saturating_sub(keep)] {
            // One save too many is no harm.
            fs::remove_dir_all(old).ok();
        }
    }
    Ok(path)
}

fn write_optimiser(path: &Path, adamw: &AdamW) -> Result<(), TrainError> {
    let numbers = |tensor: &Tensor<2>| -> Result<Vec<f32>, NnError> {
        let data = tensor.clone().try_into_data().map_err(|e| NnError::Execution { reason: e.to_string() })?;
        Ok(data.iter::<f32>().collect())
    };
    let mut tensors: Vec<TensorData<'_>> = Vec::new();
    for (name, moments) in &adamw.moments {
        for (matrix, moments) in ["a", "b"].into_iter().zip(moments) {
            for (kind, moment) in [("first", &moments.first), ("second", &moments.second)] {
                let name = format!("{name}.{matrix}.{kind}");
                match moment {
                    Moment::F32(tensor) => tensors.push(TensorData::f32(name, &tensor.dims(), &numbers(tensor)?)),
                    Moment::Int8(packed) => {
                        let (codes, scales) = (&packed.codes, &packed.scales);
                        tensors.push(TensorData {
                            name: format!("{name}.codes"),
                            dtype: Dtype::U8,
                            shape: codes.dims().to_vec(),
                            bytes: moments::codes(codes)?.into(),
                        });
                        tensors.push(TensorData::f32(format!("{name}.scales"), &scales.dims(), &numbers(scales)?));
                    }
                }
            }
        }
    }
    let metadata = BTreeMap::from([("steps".to_owned(), adamw.steps.to_string())]);
    write_safetensors(path, &tensors, &metadata)?;
    Ok(())
}

/// The newest save that is whole; damaged ones are passed over with a warning.
pub(crate) fn load_last(run_dir: &Path, host: &mut dyn Host) -> Result<Option<Saved>, TrainError> {
    let all = saves(run_dir)?;
    for (step, path) in all.iter().rev() {
        remove_leftovers(path).ok();
        match check(*step, path) {
            Ok(saved) => return Ok(Some(saved)),
            Err(error) => {
                host.event(Event::Warning { message: format!("a damaged save is passed over: {error}") });
            }
        }
    }
    match all.last() {
        Some((_, path)) => Err(TrainError::run_file(path, "and every earlier save is damaged")),
        None => Ok(None),
    }
}

fn check(step: u64, path: &Path) -> Result<Saved, TrainError> {
    let state = path.join(STATE);
    let text = fs::read_to_string(&state).map_err(|e| TrainError::io("read", &state, e))?;
    let facts: Facts =
        serde_json::from_str(&text).map_err(|e| TrainError::run_file(&state, format!("is damaged ({e})")))?;
    if facts.step != step {
        return Err(TrainError::run_file(&state, format!("is of step {}, not {step}", facts.step)));
    }
    read_adapter(&path.join(ADAPTER))?;
    SafetensorsFile::open(path.join(OPTIMISER))?;
    Ok(Saved { step, base_loss: facts.base_loss, loss: facts.loss, path: path.to_owned() })
}

impl Saved {
    /// Puts the saved numbers into a fresh set of the same layers.
    pub(crate) fn put_into(&self, set: &mut LoraSet, adamw: &mut AdamW, device: &Device) -> Result<(), TrainError> {
        let path = self.path.join(ADAPTER);
        let changed = |what: &str| {
            TrainError::run_file(&path, format!("does not fit the recipe any more ({what}); start a new run instead"))
        };
        let modules = read_adapter(&path)?;
        if modules.len() != set.modules.len() {
            return Err(changed(&format!("{} layers, not {}", modules.len(), set.modules.len())));
        }
        let matrix = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(burn::tensor::TensorData::new(values, shape), (device, DType::F32))
        };
        for saved in modules {
            let module = set.modules.get_mut(&saved.name).ok_or_else(|| changed(&saved.name))?;
            let (a, b) = (module.a.dims(), module.b.dims());
            if saved.down.values.len() != a[0] * a[1] || saved.up.values.len() != b[0] * b[1] {
                return Err(changed(&saved.name));
            }
            module.alpha = saved.alpha;
            module.a = matrix(saved.down.values, a);
            module.b = matrix(saved.up.values, b);
        }
        let path = self.path.join(OPTIMISER);
        let file = SafetensorsFile::open(&path)?;
        let steps = file.metadata().get("steps").and_then(|steps| steps.parse().ok());
        adamw.steps = steps.ok_or_else(|| TrainError::run_file(&path, "does not say how many steps it has seen"))?;
        for (name, module) in &set.modules {
            let read = |matrix_name: &str, order: Order, shape: [usize; 2]| -> Result<Option<Moment>, TrainError> {
                let kind = if order == Order::First { "first" } else { "second" };
                let name = format!("{name}.{matrix_name}.{kind}");
                let other = || TrainError::run_file(&path, format!("has another shape for {name}"));
                let (codes, scales) = (format!("{name}.codes"), format!("{name}.scales"));
                match (file.shape(&name), file.shape(&codes)) {
                    (None, None) => Ok(None),
                    (Some(found), _) if found == shape => Ok(Some(Moment::F32(matrix(file.f32(&name)?, shape)))),
                    (Some(_), _) => Err(other()),
                    (None, Some(_)) => {
                        let (codes, scales) = (file.bytes(&codes)?.to_vec(), file.f32(&scales)?);
                        Moment::restore(order, shape, codes, scales, device).map(Some).ok_or_else(other)
                    }
                }
            };
            let moments = |matrix: &str, shape| -> Result<Option<Moments>, TrainError> {
                Ok(read(matrix, Order::First, shape)?
                    .zip(read(matrix, Order::Second, shape)?)
                    .map(|(first, second)| Moments { first, second }))
            };
            if let (Some(a), Some(b)) = (moments("a", module.a.dims())?, moments("b", module.b.dims())?) {
                adamw.moments.insert(name.clone(), [a, b]);
            }
        }
        Ok(())
    }
}
