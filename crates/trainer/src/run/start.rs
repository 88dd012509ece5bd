//! What is looked at before the first step: room on disk and in memory, and what quantised weights do.

use lorikeet_nn::{Context, Prefetch, Storage};
use lorikeet_protocol::{Event, Stage};
use lorikeet_recipe::{Placement, Plan, Quantise};
use lorikeet_seeded::{Purpose, Stream};

use crate::base::{Weights, read_back};
use crate::step::{Noised, Stepper};
use crate::{Host, LatentCache, Pictures, TrainError};

/// # Errors
/// When the smallest way that the recipe allows needs more memory than there is, or when not even one save finds room.
pub(super) fn check_room(plan: &Plan) -> Result<(), TrainError> {
    // Above a limit of the user's own the plan warns; that the computer has less is certain to fail.
    if (plan.memory.needed_bytes > plan.memory_bytes || plan.lacks_host_memory())
        && let Some(lack) = plan.lack_of_memory(plan.settings.base.quantise != Some(Quantise::None))
    {
        return Err(TrainError::TooLarge { lack });
    }
    let trained = plan.trainable_parameters;
    let needed = trained * 12 + trained * plan.settings.save.dtype.bytes();
    if needed > plan.disk_free_bytes {
        let folder = plan.settings.save.folder.clone().into();
        return Err(TrainError::DiskFull { folder, needed, free: plan.disk_free_bytes });
    }
    Ok(())
}

/// A thread that reads ahead, where weights come from a file. Without one they are read when they are needed.
pub(super) fn prefetch(plan: &Plan) -> Option<Prefetch> {
    (plan.placement == Placement::Stream).then(|| Prefetch::start().ok()).flatten()
}

/// Root mean square of the difference between what the denoiser answers and what it would answer with exact weights, as a
/// part of the latter, for one picture in the middle of the schedule. The exact weights are read from their file layer by
/// layer, so that they take no memory but those of convolutions.
pub(super) fn tell_quantisation_error(
    stepper: &mut Stepper,
    plan: &Plan,
    pictures: &Pictures,
    latents: &LatentCache,
    host: &mut dyn Host,
) -> Result<(), TrainError> {
    let bits = if plan.quantise == Quantise::Int8 { 8 } else { 4 };
    let extra = exact_bytes(stepper)?;
    if plan.memory.needed_bytes + extra > plan.budget_bytes {
        let message = format!(
            "What {bits}-bit weights do to the base's answers is not measured: parts of the exact ones would take {:.1} GB more",
            extra as f64 / 1e9
        );
        host.event(Event::Note { message });
        return Ok(());
    }
    host.event(Event::Stage { stage: Stage::Validate, done: 0, total: 2 });
    let captions = pictures.all_captions();
    let caption = captions.first().cloned().unwrap_or_default();
    let shape = latents.shape(0);
    let x0 = latents.latent(0, false, None)?;
    let noise = Stream::new(0, Purpose::ValidationNoise, &[0, 0]).normals(x0.len());
    let input = Noised { x0, noise, levels: vec![stepper.base.schedule.level(0.5)], shape, mask: Vec::new() };
    let none = lorikeet_adapters::LoraSet::from_modules(Default::default());
    let text = stepper.states(&[caption], &none.deltas(1.0))?;
    let condition = stepper.condition(text, vec![latents.sizes(0, false)]);
    let (noisy, ..) = stepper.noised(&input);
    let timesteps = input.timesteps();

    let packed = stepper.denoiser.forward(&Context::base(), noisy.clone(), &timesteps, &condition);
    let packed = read_back(packed, "the answer of quantised weights")?;
    host.event(Event::Stage { stage: Stage::Validate, done: 1, total: 2 });
    let kept = std::mem::replace(&mut stepper.base.storage, Storage::Streamed);
    let exact = stepper.base.load_denoiser();
    stepper.base.storage = kept;
    let exact =
        read_back(exact?.forward(&Context::base(), noisy, &timesteps, &condition), "the answer of exact weights")?;
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v).powi(2)).sum::<f64>();
    let difference = square(&mut packed.iter().zip(&exact).map(|(a, b)| a - b));
    let error = 100.0 * (difference / square(&mut exact.iter().copied()).max(f64::MIN_POSITIVE)).sqrt();
    let message = format!("With {bits}-bit weights the base's answer is {error:.2} % off that of its exact ones");
    host.event(if error > HIGH_ERROR {
        let more = "that much can be seen in pictures. Set base.quantise to int8 or none, or memory.weights to stream";
        Event::Warning { message: format!("{message}: {more}") }
    } else {
        Event::Note { message }
    });
    Ok(())
}

/// Per cent. 8 bits stay far below, 4 bits of real models about there.
const HIGH_ERROR: f64 = 15.0;

/// What exact weights take beside quantised ones though they are streamed: convolutions, and matrices that do not lie in a
/// file in one piece.
fn exact_bytes(stepper: &Stepper) -> Result<u64, TrainError> {
    use lorikeet_nn::{LayerKind, WeightSource as _};
    let base = &stepper.base;
    let part = base.architecture.denoiser();
    let component = base.model.part(part)?;
    let weights = Weights(component);
    let prefix = format!("{}.", part.folder());
    let mut streamed = 0;
    for layer in base.architecture.denoiser_layers(&base.model)? {
        let name = format!("{}.weight", layer.name.strip_prefix(&prefix).unwrap_or(&layer.name));
        if let (LayerKind::Linear { inputs, outputs }, Some(_)) = (layer.kind, weights.raw(&name)) {
            streamed += (inputs * outputs) as u64;
        }
    }
    Ok(component.parameters().saturating_sub(streamed) * base.dtype.size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{picture, recipe};

    fn plan() -> Plan {
        let folder = tempfile::tempdir().unwrap();
        picture(folder.path(), "a.png", 64, 0, "a");
        crate::probe(&recipe(folder.path())).unwrap()
    }

    #[test]
    fn too_little_memory_is_told_with_figures_before_anything_is_computed() {
        let mut plan = plan();
        check_room(&plan).unwrap();
        plan.memory_bytes = plan.memory.needed_bytes - 1;
        let failure = check_room(&plan).unwrap_err().failure();
        assert!(failure.why.contains("of memory is needed") && failure.why.contains("set "), "{failure}");

        let mut plan = self::plan();
        plan.memory.host_bytes = plan.host_memory_bytes + 1;
        let failure = check_room(&plan).unwrap_err().failure();
        assert!(failure.why.contains("computer's memory") && failure.why.contains("to stream"), "{failure}");
    }

    #[test]
    fn a_disk_without_room_for_a_save_is_told_with_figures() {
        let mut plan = plan();
        plan.disk_free_bytes = 1000;
        let failure = check_room(&plan).unwrap_err().failure();
        assert!(failure.why.contains("only 1000 are free") && failure.todo.contains("save.folder"), "{failure}");
    }
}
