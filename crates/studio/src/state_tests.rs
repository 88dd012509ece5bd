use super::*;
use lorikeet_recipe::{Preset, Recipe, example};

fn step(step: u64) -> Event {
    Event::Step(Step {
        step,
        steps: 100,
        epoch: 1,
        epochs: 4,
        loss: 0.1,
        smoothed: 0.12,
        learning_rate: 1e-4,
        grad_norm: 1.0,
        seconds: 0.5,
        seconds_left: 50.0,
        memory_bytes: 1 << 30,
        device_memory_bytes: None,
    })
}

fn started(at: u64) -> Event {
    Event::Started { run_dir: "runs/ink".into(), resumed_at: at }
}

fn failure(what: &str) -> Failure {
    Failure { what: what.to_owned(), why: "because".to_owned(), todo: "do this".to_owned(), last_save: None }
}

fn sample(step: u64, prompt_index: usize, path: &str) -> Event {
    Event::Sample(Sample {
        step,
        epoch: 0,
        prompt_index,
        prompt: format!("prompt {prompt_index}"),
        seed: 1,
        path: path.into(),
    })
}

#[test]
fn a_run_goes_from_start_to_finish() {
    let mut state = State::default();
    assert!(!state.active() && !state.can_export());
    state.starting();
    assert!(state.active());
    state.apply(started(0));
    state.apply(Event::Stage { stage: Stage::CacheLatents, done: 3, total: 24 });
    assert_eq!(state.stage.map(|s| s.done), Some(3));
    state.apply(step(25));
    assert_eq!(state.stage, None);
    assert_eq!(state.fraction(), Some(0.25));
    state.apply(Event::Paused { step: 25 });
    assert_eq!(state.phase, Phase::Paused);
    state.apply(Event::Resumed { step: 25 });
    state.apply(Event::Saved { step: 50, path: "runs/ink/checkpoints/50".into() });
    assert!(state.can_export());
    state.apply(Event::Finished {
        run_dir: "runs/ink".into(),
        step: 100,
        lora: Some("runs/ink/ink.safetensors".into()),
        seconds: 60.0,
    });
    assert!(!state.active() && state.can_export());
    assert_eq!(state.take_messages(), [Message::Good("Saved at step 50".to_owned())]);
    assert_eq!(state.take_messages(), []);
}

#[test]
fn a_failure_belongs_to_what_was_asked() {
    let mut state = State::default();
    state.asking(Asked::Plan);
    state.apply(Event::Failed(failure("no plan")));
    assert_eq!(state.plan_failure.as_ref().map(|f| f.what.as_str()), Some("no plan"));
    assert_eq!(state.phase, Phase::Idle);
    assert!(!state.planning());

    state.starting();
    state.apply(started(0));
    state.asking(Asked::Export);
    state.apply(Event::Failed(failure("disk full")));
    assert_eq!(state.export_failure.as_ref().map(|f| f.what.as_str()), Some("disk full"));
    assert_eq!(state.phase, Phase::Running);

    state.apply(Event::Failed(failure("the loss is not a number")));
    assert!(matches!(&state.phase, Phase::Failed(f) if f.what == "the loss is not a number"));
}

#[test]
fn previews_form_a_grid_and_a_redrawn_one_replaces_the_old() {
    let mut state = State::default();
    for (at, prompt) in [(0, 0), (0, 1), (50, 0), (50, 1), (100, 0)] {
        state.apply(sample(at, prompt, "old.png"));
    }
    state.apply(sample(50, 1, "new.png"));
    let (prompts, steps) = state.sample_grid();
    assert_eq!(prompts, [(0, "prompt 0"), (1, "prompt 1")]);
    assert_eq!(steps, [0, 50, 100]);
    assert_eq!(state.samples.len(), 5);
    assert_eq!(state.sample(1, 50).map(|s| s.path.clone()), Some("new.png".into()));
    assert_eq!(state.sample(1, 100), None);
}

#[test]
fn resuming_drops_what_will_be_done_again() {
    let mut state = State::default();
    state.starting();
    state.apply(started(0));
    for i in 1..=60 {
        state.apply(step(i));
    }
    state.apply(Event::Validation { step: 60, loss: 0.1, base_loss: 0.2 });
    state.apply(sample(60, 0, "a.png"));
    state.apply(Event::Failed(failure("power cut")));
    state.phase = Phase::Starting;
    state.apply(started(50));
    assert_eq!(state.losses.points().last().map(|p| p.step), Some(50));
    assert!(state.validation.is_empty() && state.samples.is_empty());
    assert_eq!(state.phase, Phase::Running);
}

#[test]
fn a_new_run_starts_clean_but_keeps_its_plan() {
    let mut state = State::default();
    let mut recipe = Recipe::new(Preset::Style);
    recipe.set_text("dataset.folder", "pictures").unwrap();
    let plan = lorikeet_recipe::plan(&recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine())
        .unwrap();
    state.apply(Event::Planned { plan: Box::new(plan) });
    state.apply(step(3));
    state.apply(Event::Warning { message: "slow".to_owned() });
    state.starting();
    assert!(state.plan.is_some() && state.step.is_none() && state.losses.is_empty() && state.warnings.is_empty());
    assert_eq!(state.take_messages(), [Message::Warning("slow".to_owned())]);
}

#[test]
fn a_run_that_fails_while_an_export_is_under_way_still_counts_as_failed() {
    let mut state = State::default();
    state.starting();
    state.apply(started(0));
    state.asking(Asked::Export);
    state.apply(Event::Failed(failure("the disk is full")));
    state.apply(Event::Exported { path: "a.safetensors".into(), modules: 48 });
    assert!(matches!(&state.phase, Phase::Failed(f) if f.what == "the disk is full"));
    assert_eq!(state.export_failure, None);
}
