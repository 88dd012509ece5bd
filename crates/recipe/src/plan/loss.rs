//! Settings of the loss against the base.

use super::resolve::Notes;
use super::settings::{HuberSchedule, LossKind, LossSettings, Reader, TimestepSampling, Weighting};
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
    let schedule = match r.text("loss.huber_schedule").as_str() {
        "exponential" => HuberSchedule::Exponential,
        "snr" => HuberSchedule::Snr,
        _ => HuberSchedule::Constant,
    };
    let c = r.number("loss.huber_c");
    let kind = match r.text("loss.kind").as_str() {
        "huber" => LossKind::Huber { schedule, c },
        "smooth_l1" => LossKind::SmoothL1 { schedule, c },
        _ => LossKind::L2,
    };
    if kind != LossKind::L2 {
        if flow && schedule == HuberSchedule::Snr {
            return Err(RecipeError::Conflict {
                id: "loss.huber_schedule",
                value: "snr".to_owned(),
                other: "base.path",
                other_value: r.text("base.path"),
                why: "FLUX has no signal to noise to go by; use constant or exponential".to_owned(),
            });
        }
        notes.decide("Loss", r.text("loss.kind"), notes.why("loss.kind"));
    }
    let pyramid_iterations = r.small("loss.pyramid_iterations");
    let pyramid_discount = r.number("loss.pyramid_discount");
    Ok(LossSettings {
        prediction,
        zero_terminal_snr,
        kind,
        weighting,
        min_snr_gamma: (weighting == Weighting::MinSnr).then_some(gamma),
        noise_offset: r.number("loss.noise_offset"),
        pyramid_iterations: if r.applies("loss.pyramid_iterations") { pyramid_iterations } else { 0 },
        pyramid_discount,
        timestep_sampling: sampling,
        sigmoid_scale: r.number("loss.sigmoid_scale"),
        flow_shift: r.number("loss.flow_shift"),
        guidance,
    })
}
