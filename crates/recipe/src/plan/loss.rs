//! Settings of the loss against the base.

use super::resolve::Notes;
use super::settings::{LossSettings, Reader, TimestepSampling, Weighting};
use crate::error::RecipeError;
use crate::facts::{BaseFacts, Prediction};

pub(super) fn resolve(r: &Reader<'_>, base: &BaseFacts, notes: &mut Notes<'_>) -> Result<LossSettings, RecipeError> {
    let asked = r.text("loss.prediction");
    let (prediction, reason) = match (asked.as_str(), r.applies("loss.prediction")) {
        ("epsilon", true) => (Prediction::Epsilon, notes.why("loss.prediction")),
        ("v", true) => (Prediction::Velocity, notes.why("loss.prediction")),
        _ => (base.prediction, "the base says so".to_owned()),
    };
    notes.decide("Prediction", prediction.id().to_owned(), reason);
    let flow = prediction == Prediction::Flow;
    let gamma = r.number("loss.min_snr_gamma");
    let named = r.text("loss.weighting");
    let weighting = match named.as_str() {
        "min_snr" if gamma > 0.0 => Weighting::MinSnr,
        "debiased" => Weighting::Debiased,
        "sigma_sqrt" => Weighting::SigmaSqrt,
        "cosmap" => Weighting::CosMap,
        _ => Weighting::None,
    };
    let of_flow = matches!(weighting, Weighting::SigmaSqrt | Weighting::CosMap);
    if weighting != Weighting::None && of_flow != flow {
        return Err(RecipeError::Conflict {
            id: "loss.weighting",
            value: named,
            other: "base.path",
            other_value: r.text("base.path"),
            why: if flow {
                "FLUX has no noise schedule to weigh by; use none, sigma_sqrt or cosmap".to_owned()
            } else {
                "this weighting is for FLUX; use none, min_snr or debiased".to_owned()
            },
        });
    }
    let sampling = match (r.text("loss.timestep_sampling").as_str(), r.applies("loss.timestep_sampling")) {
        ("sigmoid", true) => TimestepSampling::Sigmoid,
        ("shift", true) => TimestepSampling::Shift,
        ("flux_shift", true) => TimestepSampling::FluxShift,
        _ => TimestepSampling::Uniform,
    };
    if flow {
        notes.decide("Timesteps", r.text("loss.timestep_sampling"), notes.why("loss.timestep_sampling"));
    }
    let told = r.number("loss.guidance");
    let guidance = r.applies("loss.guidance").then_some(told);
    if guidance.is_some() {
        notes.decide("Guidance in training", format!("{told}"), notes.why("loss.guidance"));
    }
    let zero = r.text("loss.zero_terminal_snr");
    let zero_terminal_snr = match (zero.as_str(), r.applies("loss.zero_terminal_snr")) {
        ("on", true) => Some(true),
        ("off", true) => Some(false),
        _ => None,
    };
    if zero_terminal_snr == Some(true) && prediction == Prediction::Epsilon {
        notes.warn(
            "loss.zero_terminal_snr = on needs a base that predicts velocity: at the end there is only noise to see"
                .to_owned(),
        );
    }
    Ok(LossSettings {
        prediction,
        zero_terminal_snr,
        weighting,
        min_snr_gamma: (weighting == Weighting::MinSnr).then_some(gamma),
        noise_offset: r.number("loss.noise_offset"),
        timestep_sampling: sampling,
        sigmoid_scale: r.number("loss.sigmoid_scale"),
        flow_shift: r.number("loss.flow_shift"),
        guidance,
    })
}
