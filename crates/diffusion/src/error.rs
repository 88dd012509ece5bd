use crate::{Prediction, SamplerKind};

/// What can be wrong with a schedule or a request to sample.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DiffusionError {
    /// A field of the scheduler settings has a value that makes no schedule.
    #[error(
        "the scheduler setting '{field}' is {found}, but must be {expected}. Correct it in the model's scheduler_config.json."
    )]
    Setting { field: &'static str, found: String, expected: String },
    /// A word from a recipe or the command line that names nothing.
    #[error("'{found}' is not a {what}. Use one of: {choices}.")]
    Unknown { what: &'static str, found: String, choices: &'static str },
    /// The schedule has too few timesteps, or none at all were asked for.
    #[error("cannot sample in {steps} steps: the model's schedule allows 1 to {most}. Choose a number in that range.")]
    Steps { steps: usize, most: usize },
    /// Only a large `steps_offset` leads here.
    #[error(
        "{steps} sampling steps with steps_offset {offset} start at timestep {timestep}, past the last one, {last}. \
         Choose another number of steps, or correct steps_offset in the model's scheduler_config.json."
    )]
    PastTheEnd { steps: usize, offset: usize, timestep: usize, last: usize },
    /// Only Euler draws with a flow model.
    #[error("the sampler '{sampler}' does not work with flow models such as FLUX. Use euler.")]
    NotForFlow { sampler: SamplerKind },
    /// Noise, velocity and flow belong to one kind of schedule each.
    #[error(
        "a prediction of '{prediction}' does not go with the model's noise schedule. Use {choices}, or correct \
         the model's scheduler_config.json."
    )]
    Prediction { prediction: Prediction, choices: &'static str },
}
