//! The dataset doctor's rounds: what was looked at, and what was found.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use lorikeet_dataset::{BucketRules, Dataset, Finding, Look};
use lorikeet_recipe::DatasetSettings;

use crate::app::StudioApp;

/// Up to so many pictures are looked at without being asked; more take a while.
const UNASKED: usize = 64;
/// Pictures decoded between two answers.
const BATCH: usize = 32;

#[derive(Default)]
pub(crate) struct Health {
    pub(crate) findings: Vec<Finding>,
    pub(crate) looks: Arc<HashMap<PathBuf, Look>>,
    /// The size that pictures were looked at in: blur is blur at a size.
    edge: u32,
    /// Still to be looked at, from the end.
    waiting: Vec<PathBuf>,
    /// How many there were.
    total: usize,
    /// A batch is out.
    looking: bool,
    /// What the findings were made from.
    key: Option<Key>,
    /// Whether all pictures are known, and of which dataset and how many looks that is said.
    known: Option<((u64, usize), bool)>,
    /// Findings are awaited.
    examining: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Key {
    /// Of the dataset.
    pub(crate) generation: u64,
    pub(crate) trigger: String,
    pub(crate) rules: BucketRules,
    /// Pictures looked at, once all that were asked for are.
    pub(crate) looks: usize,
    pub(crate) validation: String,
}

impl Health {
    /// Done and all, while pictures are being looked at.
    pub(crate) fn progress(&self) -> Option<(u64, u64)> {
        (self.looking || !self.waiting.is_empty())
            .then(|| (self.total.saturating_sub(self.waiting.len()) as u64, self.total as u64))
    }

    /// Whether the pixels of all these pictures are known. Counted when pictures or looks change.
    pub(crate) fn knows(&mut self, data: &Dataset, generation: u64) -> bool {
        let state = (generation, self.looks.len());
        if self.known.is_none_or(|(known_at, _)| known_at != state) {
            let all = data.images.iter().all(|picture| self.looks.contains_key(&picture.path));
            self.known = Some((state, all));
        }
        self.known.is_some_and(|(_, all)| all)
    }

    /// Another folder.
    pub(crate) fn clear(&mut self) {
        *self = Self { looking: self.looking, examining: self.examining, ..Self::default() };
    }

    /// Looks at all pictures that were not looked at.
    pub(crate) fn check(&mut self, data: &Dataset) {
        let unknown = data.images.iter().map(|picture| &picture.path).filter(|path| !self.looks.contains_key(*path));
        self.waiting = unknown.rev().cloned().collect();
        self.total = self.waiting.len();
    }

    pub(crate) fn looked(&mut self, looks: Vec<(PathBuf, Look)>) {
        self.looking = false;
        Arc::make_mut(&mut self.looks).extend(looks);
    }

    pub(crate) fn examined(&mut self, key: &Key, findings: Vec<Finding>) {
        self.examining = false;
        if self.key.as_ref() == Some(key) {
            self.findings = findings;
        }
    }
}

/// As training sorts pictures.
pub(crate) fn bucket_rules(settings: &DatasetSettings) -> BucketRules {
    BucketRules {
        width: settings.resolution,
        height: settings.resolution,
        step: settings.bucket_step,
        min: settings.bucket_min,
        max: settings.bucket_max,
        no_upscale: settings.no_upscale,
        enabled: settings.buckets,
    }
}

impl StudioApp {
    /// Of the plan, or of the resolution alone while there is none.
    pub(crate) fn rules(&self) -> BucketRules {
        if let Some(plan) = &self.state.plan {
            return bucket_rules(&plan.settings.dataset);
        }
        let edge = u32::try_from(self.draft.int("dataset.resolution")).unwrap_or(512).max(1);
        let step = u32::try_from(self.draft.int("dataset.bucket_step")).unwrap_or(64).max(1);
        let buckets = self.draft.recipe.get("dataset.buckets") == lorikeet_recipe::Value::Bool(true);
        BucketRules { step, min: edge / 2, max: edge * 2, enabled: buckets, ..BucketRules::fixed(edge, edge) }
    }

    /// A new dataset: few pictures are looked at unasked, unless a run needs the processor.
    pub(crate) fn begin_rounds(&mut self) {
        if let Some(data) = self.draft.data.ready()
            && data.images.len() <= UNASKED
            && !self.state.active()
        {
            self.health.check(data);
        }
    }

    /// Sends out what is to be looked at or thought over next. Once a frame; does nothing when nothing changed.
    pub(crate) fn rounds(&mut self) {
        let Some(data) = self.draft.data.ready().cloned() else { return };
        let edge = self.rules().width;
        if self.health.edge != edge && !self.health.looking {
            self.health.edge = edge;
            self.health.looks = Arc::default();
            self.begin_rounds();
        }
        // A run needs the processor more.
        if !self.health.looking && !self.health.waiting.is_empty() && !self.state.active() {
            let from = self.health.waiting.len().saturating_sub(BATCH);
            let batch = self.health.waiting.split_off(from);
            self.health.looking = true;
            self.work.look(batch, edge);
            return;
        }
        if self.health.examining || self.health.looking {
            return;
        }
        let same = self.health.key.as_ref().is_some_and(|key| {
            key.generation == self.draft.generation
                && key.looks == self.health.looks.len()
                && key.trigger == self.trigger
                && key.rules == self.rules()
                && key.validation == self.validation
        });
        if !same {
            let key = Key {
                generation: self.draft.generation,
                trigger: self.trigger.clone(),
                rules: self.rules(),
                looks: self.health.looks.len(),
                validation: self.validation.clone(),
            };
            self.health.key = Some(key.clone());
            self.health.examining = true;
            self.work.examine(data, Arc::clone(&self.health.looks), key);
        }
    }
}
