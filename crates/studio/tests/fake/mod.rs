//! A worker that does nothing but note what it is asked and say what it is told to say. It answers probes with a real
//! plan for made-up facts.
#![allow(dead_code, reason = "each user of this file needs a part of it")]

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lorikeet_checkpoint::{Family, Found, LoraFolder, Part};
use lorikeet_protocol::{Command, Engine, Event, Failure, Sample, Step, Workplace};
use lorikeet_recipe::{Preset, example};
use lorikeet_studio::{DeviceChoice, Elsewhere, Example, StartUp};

#[derive(Default)]
struct Inner {
    sent: Vec<Command>,
    events: VecDeque<Event>,
    wake: Option<Box<dyn Fn() + Send + Sync>>,
    forward: Option<std::sync::mpsc::Sender<Command>>,
    can_leave: bool,
    left: bool,
    workplace: Workplace,
}

/// The engine, and the handle to it: clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Inner>>);

impl Fake {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn push(&self, event: Event) {
        let mut inner = self.lock();
        inner.events.push_back(event);
        if let Some(wake) = &inner.wake {
            wake();
        }
    }

    /// What was asked besides plans, since the last call.
    pub(crate) fn take_sent(&self) -> Vec<Command> {
        self.lock().sent.drain(..).filter(|command| !matches!(command, Command::Probe { .. })).collect()
    }

    /// As an engine whose worker is another process.
    pub(crate) fn in_another_process(self) -> Fake {
        self.lock().can_leave = true;
        self
    }

    /// Whether the run was left to go on.
    pub(crate) fn left(&self) -> bool {
        self.lock().left
    }

    pub(crate) fn workplace(&self) -> Workplace {
        self.lock().workplace
    }

    /// Commands also go to a simulation.
    pub(crate) fn forward_to(&self, sender: std::sync::mpsc::Sender<Command>) {
        self.lock().forward = Some(sender);
    }
}

impl Engine for Fake {
    fn send(&mut self, command: Command) {
        if let Command::Probe { recipe } = &command {
            let facts = (example::demo_base(), example::pictures(24, 128), example::machine());
            self.push(match lorikeet_recipe::plan(recipe, &facts.0, &facts.1, &facts.2) {
                Ok(plan) => Event::Planned { plan: Box::new(plan) },
                Err(error) => Event::Failed(failure("There is no plan", &error.to_string())),
            });
        }
        let mut inner = self.lock();
        if let Some(forward) = &inner.forward {
            forward.send(command.clone()).ok();
        }
        inner.sent.push(command);
    }

    fn poll(&mut self, sink: &mut dyn FnMut(Event)) {
        let events = std::mem::take(&mut self.lock().events);
        events.into_iter().for_each(sink);
    }

    fn set_waker(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        self.lock().wake = Some(wake);
    }

    fn set_workplace(&mut self, workplace: Workplace) {
        self.lock().workplace = workplace;
    }

    fn can_leave(&self) -> bool {
        self.lock().can_leave
    }

    fn leave(&mut self) {
        self.lock().left = true;
    }
}

pub(crate) fn failure(what: &str, why: &str) -> Failure {
    Failure { what: what.to_owned(), why: why.to_owned(), todo: "Try another value".to_owned(), last_save: None }
}

/// The repository's own examples and demo base.
pub(crate) fn start(runs_folder: PathBuf) -> StartUp {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = |title: &str, preset, folder: &str, trigger: &str, blurb: &str| Example {
        title: title.to_owned(),
        preset,
        folder: root.join("datasets-example").join(folder),
        trigger: trigger.to_owned(),
        blurb: blurb.to_owned(),
    };
    StartUp {
        demo_base: root.join("assets/demo-base"),
        examples: vec![
            example(
                "Teach a style",
                Preset::Style,
                "ink-style",
                "ink style",
                "24 drawings in black ink; then everything can be drawn so",
            ),
            example(
                "Teach a character",
                Preset::Character,
                "mascot",
                "lorimascot",
                "Lori the lorikeet in 22 poses and places",
            ),
            example(
                "Teach a concept",
                Preset::Concept,
                "concept",
                "zibpot",
                "A teapot rocket, which the model has never seen",
            ),
        ],
        devices: vec![
            DeviceChoice { id: "cpu".to_owned(), label: "CPU, 16 cores".to_owned(), available: true, why_not: None },
            DeviceChoice {
                id: "cuda:0".to_owned(),
                label: "NVIDIA graphics card (CUDA)".to_owned(),
                available: false,
                why_not: Some(
                    "This build has no CUDA. Build with --features cuda, or run lorikeet doctor to see what is missing"
                        .to_owned(),
                ),
            },
        ],
        hub: lorikeet_hub::Access::default(),
        elsewhere: Elsewhere::default(),
        runs_folder,
        workplace: None,
        go_on: None,
    }
}

/// As a computer with other programs and a hub may be, the same everywhere.
pub(crate) fn furnish(start: &mut StartUp) {
    start.elsewhere = Elsewhere { models, lora_folders };
    start.hub.cache = Some("/home/ada/.cache/huggingface/hub".into());
    start.hub.settings.offline = false;
}

fn models() -> Vec<Found> {
    let found = |path: &str, family: Family, parts: &[Part], bytes| Found {
        path: path.into(),
        family: Some(family),
        what: family.label().to_owned(),
        parts: parts.to_vec(),
        bytes,
    };
    vec![
        found("/models/checkpoints/sd_xl_base_1.0.safetensors", Family::Sdxl, Family::Sdxl.parts(), 6_938_040_682),
        found("/models/checkpoints/v1-5-pruned.safetensors", Family::Sd1, Family::Sd1.parts(), 4_265_146_304),
        found("/models/unet/flux1-dev.safetensors", Family::Flux1Dev, &[Part::Transformer], 23_802_932_552),
    ]
}

fn lora_folders() -> Vec<LoraFolder> {
    ["ComfyUI", "stable-diffusion-webui"]
        .map(|program| LoraFolder { program: program.to_owned(), path: format!("/{program}/models/loras").into() })
        .to_vec()
}

/// A step of a made-up run of `steps`, with a loss that falls and jitters.
pub(crate) fn step(step: u64, steps: u64) -> Event {
    let x = step as f32;
    let smoothed = 0.09 + 0.08 * (-x / (steps as f32 * 0.25)).exp();
    let jitter = ((step * 7919) % 101) as f32 / 101.0 - 0.5;
    Event::Step(Step {
        step,
        steps,
        epoch: step / 12 + 1,
        epochs: steps.div_ceil(12),
        loss: smoothed + jitter * 0.05,
        smoothed,
        learning_rate: 2e-4,
        grad_norm: 0.8,
        seconds: 0.42,
        seconds_left: (steps - step) as f64 * 0.42,
        memory_bytes: 118 << 20,
        device_memory_bytes: None,
    })
}

pub(crate) fn sample(step: u64, prompt_index: usize, prompt: &str, path: PathBuf) -> Event {
    Event::Sample(Sample {
        step,
        epoch: step.div_ceil(12),
        prompt_index,
        prompt: prompt.to_owned(),
        seed: 42 + prompt_index as u64,
        path,
    })
}
