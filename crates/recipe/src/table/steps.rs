//! How long a run is when `train.steps` is 0. The numbers to tune stand in [`TABLE`].

use crate::setting::{BaseClass, Preset};

/// `looks` at each picture, but never fewer or more steps than the limits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AutoSteps {
    pub preset: Preset,
    pub bases: &'static [BaseClass],
    /// How often each picture is seen.
    pub looks: u64,
    pub min: u64,
    pub max: u64,
    pub reason: &'static str,
}

const TABLE: [AutoSteps; 9] = [
    // 24 pictures in batches of 4: 300 steps, which two CPU cores must do in six minutes with previews.
    AutoSteps {
        preset: Preset::Style,
        bases: super::DEMOS,
        looks: 50,
        min: 200,
        max: 400,
        reason: "a style is learned from many pictures together, and a run on the demo base should take minutes",
    },
    AutoSteps {
        preset: Preset::Character,
        bases: super::DEMOS,
        looks: 170,
        min: 300,
        max: 750,
        reason: "a new figure takes many looks at each picture, and 750 steps are some six minutes on two cores",
    },
    AutoSteps {
        preset: Preset::Concept,
        bases: super::DEMOS,
        looks: 170,
        min: 300,
        max: 750,
        reason: "a new thing takes many looks at each picture, and 750 steps are some six minutes on two cores",
    },
    AutoSteps {
        preset: Preset::Style,
        bases: super::SD_FULL,
        looks: 80,
        min: 800,
        max: 4000,
        reason: "a style is learned from many pictures together, so each is needed less often",
    },
    AutoSteps {
        preset: Preset::Character,
        bases: super::SD_FULL,
        looks: 120,
        min: 800,
        max: 3000,
        reason: "a likeness needs many looks, but after some thousand steps only the pictures themselves are learned",
    },
    AutoSteps {
        preset: Preset::Concept,
        bases: super::SD_FULL,
        looks: 100,
        min: 600,
        max: 2500,
        reason: "one thing is learned sooner than a likeness, and overlearned sooner too",
    },
    AutoSteps {
        preset: Preset::Style,
        bases: BaseClass::FLUX,
        looks: 60,
        min: 800,
        max: 3000,
        reason: "a style is learned from many pictures together, and FLUX learns in fewer looks than Stable Diffusion",
    },
    AutoSteps {
        preset: Preset::Character,
        bases: BaseClass::FLUX,
        looks: 80,
        min: 800,
        max: 2500,
        reason: "a likeness needs many looks, and 1000 to 2000 steps are what FLUX LoRAs usually take",
    },
    AutoSteps {
        preset: Preset::Concept,
        bases: BaseClass::FLUX,
        looks: 70,
        min: 600,
        max: 2000,
        reason: "one thing is learned sooner than a likeness, and overlearned sooner too",
    },
];

/// The row for a preset and base.
pub fn auto_steps(preset: Preset, base: BaseClass) -> &'static AutoSteps {
    TABLE.iter().find(|row| row.preset == preset && row.bases.contains(&base)).unwrap_or(&TABLE[0])
}
