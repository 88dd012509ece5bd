//! What the curves of a run say, in words, with what to do about it.

use crate::state::State;
use crate::texts;

/// A remark on the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Advice {
    pub what: String,
    pub todo: String,
}

/// The smoothed loss so much above its lowest is no noise any more.
const DIVERGED: f32 = 1.6;
/// Fewer points say nothing.
const POINTS: usize = 30;
/// A validation loss so much above its lowest counts as worse.
const WORSE: f32 = 1.02;
/// Validations in a row that must be worse.
const IN_A_ROW: usize = 2;
/// A device as full as this puts what comes next into slower memory.
const FULL: f64 = 0.97;
/// So much of it in other programs is worth having back.
const MUCH: f64 = 0.1;

/// In order of gravity. Empty while all goes well.
pub fn advice(state: &State) -> Vec<Advice> {
    let mut found = Vec::new();
    found.extend(diverging(state));
    found.extend(over_fitting(state));
    found.extend(spilling(state));
    found
}

fn diverging(state: &State) -> Option<Advice> {
    let points = state.losses.points();
    let last = points.last().filter(|_| points.len() >= POINTS)?;
    // Early averages are of few steps.
    let settled = &points[points.len() / 10..];
    let best = settled.iter().min_by(|a, b| a.smoothed.total_cmp(&b.smoothed))?;
    let earlier = settled[settled.len() * 9 / 10].smoothed;
    (last.smoothed > DIVERGED * best.smoothed && last.smoothed >= earlier).then(|| Advice {
        what: texts::monitor::loss_rises(best.smoothed, best.step, last.smoothed),
        todo: texts::monitor::RATE_TOO_HIGH.to_owned(),
    })
}

fn over_fitting(state: &State) -> Option<Advice> {
    let points: Vec<_> = state.validation.iter().filter(|point| point.loss.is_finite()).collect();
    let best = points.iter().min_by(|a, b| a.loss.total_cmp(&b.loss))?;
    let later: Vec<_> = points.iter().filter(|point| point.step > best.step).collect();
    let worse = later.iter().rev().take_while(|point| point.loss > WORSE * best.loss).count();
    if later.len() < IN_A_ROW || worse < IN_A_ROW {
        return None;
    }
    let save = state.saves.keys().copied().min_by_key(|step| step.abs_diff(best.step));
    let todo = match save {
        Some(step) => texts::monitor::export_save_at(step),
        None => texts::monitor::STOP_HERE.to_owned(),
    };
    Some(Advice { what: texts::monitor::over_fitting(best.step), todo })
}

fn spilling(state: &State) -> Option<Advice> {
    let card = state.load.as_ref().and_then(|load| load.card.as_ref()?.memory);
    let (used, total, others) = match card {
        Some(memory) => (memory.used, memory.total, memory.of_others()),
        // The run's own part, of a card whose driver does not tell of the rest.
        None => (state.step.as_ref()?.device_memory_bytes?, state.plan.as_ref()?.memory_bytes, None),
    };
    let full = total > 0 && used as f64 > FULL * total as f64;
    let todo = match others.filter(|others| *others as f64 > MUCH * total as f64) {
        Some(others) => texts::monitor::memory_of_others(others),
        None => texts::monitor::MEMORY_SPILLS.to_owned(),
    };
    full.then(|| Advice { what: texts::monitor::device_full(used, total), todo })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Validation;
    use lorikeet_protocol::{CardLoad, CardMemory, Event, Load, Step};

    fn run(losses: impl Iterator<Item = f32>) -> State {
        let mut state = State::default();
        for (index, loss) in losses.enumerate() {
            state.apply(Event::Step(Step {
                step: index as u64 + 1,
                steps: 1000,
                loss,
                smoothed: loss,
                ..Default::default()
            }));
        }
        state
    }

    #[test]
    fn a_run_that_goes_well_gets_no_advice() {
        assert_eq!(advice(&State::default()), []);
        let falling = (0..400).map(|i| 0.1 + 0.1 * (-(i as f32) / 100.0).exp() + 0.01 * ((i * 7 % 13) as f32 / 13.0));
        assert_eq!(advice(&run(falling)), []);
    }

    #[test]
    fn a_loss_that_rises_is_told_with_where_it_was_best() {
        let state =
            run((0..200).map(|i| if i < 100 { 0.2 - i as f32 * 0.001 } else { 0.1 + (i - 100) as f32 * 0.005 }));
        let told = advice(&state);
        assert!(told[0].what.contains("rising") && told[0].what.contains("at step 1"), "{told:?}");
        assert!(told[0].todo.contains("learning rate"));
        let recovered = run((0..300).map(|i| if (100..120).contains(&i) { 0.5 } else { 0.1 }));
        assert_eq!(advice(&recovered), [], "a spike that is over is none");
    }

    #[test]
    fn a_full_card_is_told_from_its_own_reading_and_others_are_named() {
        let mut state = run((0..10).map(|_| 0.1));
        let read = |state: &mut State, used: u64, own: Option<u64>| {
            let memory = Some(CardMemory { total: 24 << 30, used: used << 30, own: own.map(|own| own << 30) });
            let card = Some(CardLoad { memory, ..CardLoad::default() });
            state.apply(Event::Load(Load { card, ..Load::default() }));
            advice(state)
        };
        assert_eq!(read(&mut state, 20, Some(12)), []);
        let told = read(&mut state, 24, Some(12));
        assert_eq!(told[0].what, "The device is full: 24 of 24 GB");
        assert!(told[0].todo.contains("Other programs have 12 GB of it: close them. Or lower the batch"), "{told:?}");
        for own in [Some(23), None] {
            let told = read(&mut state, 24, own);
            assert!(told[0].todo.contains("spills. Lower the batch"), "{told:?}");
        }
    }

    #[test]
    fn validation_that_grows_names_the_save_to_take() {
        let mut state = run((0..10).map(|_| 0.1));
        let add = |state: &mut State, step, loss| state.validation.push(Validation { step, loss, base_loss: 0.2 });
        for (step, loss) in [(0, 0.2), (50, 0.15), (100, 0.12), (150, 0.13)] {
            add(&mut state, step, loss);
        }
        assert_eq!(advice(&state), [], "once may be chance");
        add(&mut state, 200, 0.14);
        state.saves.insert(100, "step-000100".into());
        state.saves.insert(200, "step-000200".into());
        let told = advice(&state);
        assert!(told[0].what.contains("since step 100"), "{told:?}");
        assert_eq!(told[0].todo, "Export the save at step 100, where validation was best");
    }
}
