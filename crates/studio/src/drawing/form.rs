//! What is asked for when drawing after a run.

use std::collections::BTreeSet;
use std::path::PathBuf;

use lorikeet_recipe::{SampleSettings, Sampler};

use crate::texts;

/// Pictures of one request: more is a mistake of typing rather than a wish.
pub(crate) const MOST: usize = 200;

/// Where a LoRA comes from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Save(u64),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub source: Source,
    pub strength: f32,
}

/// A picture as it is asked for. The first LoRA is the one that a sweep goes through.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Form {
    pub rows: Vec<Row>,
    pub prompt: String,
    pub negative: String,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    pub cfg: f64,
    /// `None`: the base takes none.
    pub guidance: Option<f64>,
    pub sampler: Sampler,
    pub sweep: bool,
    pub strengths: String,
    /// Of a sweep, besides that of the first row.
    pub saves: BTreeSet<u64>,
}

impl Form {
    /// As previews are drawn, with the newest save.
    pub(crate) fn suggest(sample: Option<&SampleSettings>, newest: Option<u64>) -> Self {
        let rows = newest.map(|step| Row { source: Source::Save(step), strength: 1.0 }).into_iter().collect();
        let form = Self {
            rows,
            prompt: String::new(),
            negative: String::new(),
            seed: 1,
            width: 512,
            height: 512,
            steps: 25,
            cfg: 7.0,
            guidance: None,
            sampler: Sampler::DpmPp2m,
            sweep: false,
            strengths: "0, 0.5, 0.75, 1, 1.25".to_owned(),
            saves: newest.into_iter().collect(),
        };
        let Some(sample) = sample else { return form };
        Self {
            prompt: sample.prompts.first().cloned().unwrap_or_default(),
            negative: sample.negative.clone(),
            seed: sample.seed,
            width: sample.width,
            height: sample.height,
            steps: sample.steps,
            cfg: sample.cfg,
            guidance: sample.guidance,
            sampler: sample.sampler,
            ..form
        }
    }

    /// The strengths of a sweep, or what is wrong with how they are written.
    pub(crate) fn strengths(&self) -> Result<Vec<f32>, String> {
        let words = self.strengths.split([',', ';', ' ']).map(str::trim).filter(|word| !word.is_empty());
        let strengths = words.map(|word| {
            let number = word.parse::<f32>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| texts::draw::no_strength(word))
        });
        let strengths = strengths.collect::<Result<Vec<_>, _>>()?;
        if strengths.is_empty() { Err(texts::draw::NO_STRENGTH.to_owned()) } else { Ok(strengths) }
    }

    /// What a sweep goes through.
    fn swept(&self) -> Vec<Source> {
        match self.rows.first().map(|row| &row.source) {
            Some(Source::Save(step)) => {
                let steps = if self.saves.is_empty() { BTreeSet::from([*step]) } else { self.saves.clone() };
                steps.into_iter().map(Source::Save).collect()
            }
            Some(file) => vec![file.clone()],
            None => Vec::new(),
        }
    }

    /// The LoRAs of each picture, in the order of drawing.
    pub(crate) fn variants(&self) -> Result<Vec<Vec<Row>>, String> {
        let rest = self.rows.get(1..).unwrap_or_default();
        if !self.sweep || self.rows.is_empty() {
            return Ok(vec![self.rows.clone()]);
        }
        let strengths = self.strengths()?;
        let mut all = Vec::new();
        for source in self.swept() {
            for strength in &strengths {
                let first = Row { source: source.clone(), strength: *strength };
                all.push(std::iter::once(first).chain(rest.iter().cloned()).collect());
            }
        }
        if all.len() > MOST {
            return Err(texts::draw::too_many(all.len() as u64, MOST as u64));
        }
        Ok(all)
    }
}
