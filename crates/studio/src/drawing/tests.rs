use std::collections::BTreeSet;
use std::fs;

use lorikeet_protocol::UsedLora;
use lorikeet_recipe::{Precision, Preset, Recipe, example, plan};

use super::form::MOST;
use super::*;

fn save(step: u64, strength: f32) -> Row {
    Row { source: Source::Save(step), strength }
}

fn with_saves() -> Drawing {
    let saves = [100, 200].map(|step| (step, PathBuf::from(format!("/runs/ink/checkpoints/step-{step:06}"))));
    let material = Material { run_dir: Some("/runs/ink".into()), saves: saves.to_vec(), ..Material::default() };
    let mut drawing = Drawing::default();
    drawing.take(material, None);
    drawing
}

fn ask(drawing: &mut Drawing) -> Result<DrawRequest, String> {
    drawing.request(("demo".to_owned(), BaseParts::default()), "cpu".to_owned(), Path::new("/runs"))
}

#[test]
fn a_run_in_f32_is_drawn_in_f32() {
    assert_eq!(ask(&mut with_saves()).unwrap().precision, Precision::Auto);
    let mut recipe = Recipe::new(Preset::Style);
    for (id, value) in [("dataset.folder", "pictures"), ("run.precision", "f32")] {
        recipe.set_text(id, value).unwrap();
    }
    let plan = plan(&recipe, &example::demo_base(), &example::pictures(24, 128), &example::machine()).unwrap();
    let mut drawing = with_saves();
    drawing.material.plan = Some(Box::new(plan));
    assert_eq!(ask(&mut drawing).unwrap().precision, Precision::F32);
}

#[test]
fn a_sweep_is_every_strength_of_every_save_and_the_other_loras_stay() {
    let mut drawing = with_saves();
    let form = drawing.form.as_mut().unwrap();
    assert_eq!(form.rows, [save(200, 1.0)]);
    form.rows.push(Row { source: Source::File("/loras/detail.safetensors".into()), strength: 0.3 });
    assert_eq!(form.variants().unwrap().len(), 1);
    (form.sweep, form.strengths, form.saves) = (true, "0 ,0.5, 1.25".to_owned(), BTreeSet::from([100, 200]));
    let request = ask(&mut drawing).unwrap();
    let used: Vec<(String, f32)> =
        request.pictures.iter().map(|picture| (picture.loras[0].name.clone(), picture.loras[0].strength)).collect();
    let of = |step: u64| [0.0, 0.5, 1.25].map(|strength| (format!("lora-step{step}"), strength));
    assert_eq!(used, [of(100), of(200)].concat());
    assert!(request.pictures.iter().all(|picture| picture.loras[1].strength == 0.3));
    assert_eq!(request.out_dir, Path::new("/runs/ink/drawings"));
    assert_eq!(drawing.progress(), Some((0, 6)));
}

#[test]
fn what_cannot_be_read_as_strengths_is_said() {
    let mut form = Form::suggest(None, Some(5));
    form.sweep = true;
    for (text, word) in [("0, much", "much"), (" , ", "at least one"), ("NaN", "NaN")] {
        form.strengths = text.to_owned();
        let error = form.variants().unwrap_err();
        assert!(error.contains(word), "{error}");
    }
    form.strengths = "1,".repeat(MOST + 1);
    assert!(form.variants().unwrap_err().contains("more than"));
}

#[test]
fn events_of_a_drawing_are_taken_and_those_of_a_run_are_not() {
    let mut drawing = with_saves();
    let stage = Event::Stage { stage: lorikeet_protocol::Stage::Sample, done: 1, total: 9 };
    assert!(drawing.event(stage.clone(), false).is_some());
    let set = ask(&mut drawing).unwrap().set;
    assert!(drawing.event(stage.clone(), false).is_none() && drawing.stage.is_some());
    assert!(drawing.event(stage, true).is_some());
    let settings = PictureSettings { set, ..Default::default() };
    drawing.event(Event::Drawn(Drawn { index: 0, settings, path: "a.png".into() }), false);
    assert_eq!((drawing.progress(), drawing.shown), (Some((1, 1)), Some(0)));
    drawing.event(Event::DrawEnded(DrawEnd { set: set + 1, ..Default::default() }), false);
    assert!(drawing.busy(), "that was another's");
    drawing.event(Event::DrawEnded(DrawEnd { set, drawn: 1, failure: None }), false);
    assert!(!drawing.busy() && drawing.stage.is_none());
}

#[test]
fn a_picture_gives_its_settings_back_and_a_save_that_went_is_no_longer_chosen() {
    let mut drawing = with_saves();
    let lora = |name: &str| UsedLora { name: name.to_owned(), strength: 0.5 };
    let settings = PictureSettings {
        prompt: "a cat".to_owned(),
        loras: vec![lora("lora-step100"), lora("unknown")],
        seed: 7,
        ..Default::default()
    };
    drawing.material.drawn.push(Kept { settings, path: "a.png".into() });
    drawing.use_settings(0);
    let form = drawing.form.clone().unwrap();
    assert_eq!((form.rows, form.prompt.as_str(), form.seed), (vec![save(100, 0.5)], "a cat", 7));

    let mut material = drawing.material.clone();
    material.saves.remove(0);
    drawing.take(material, None);
    let form = drawing.form.as_ref().unwrap();
    assert_eq!((form.rows.as_slice(), form.prompt.as_str()), (&[save(200, 1.0)][..], "a cat"));
}

#[test]
fn a_run_folder_tells_its_saves_and_its_drawings() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("ink");
    for step in ["step-000200", "step-000050", "step-000300.part"] {
        fs::create_dir_all(run.join("checkpoints").join(step)).unwrap();
        fs::write(run.join("checkpoints").join(step).join("adapter.safetensors"), "").unwrap();
    }
    fs::create_dir_all(run.join(FOLDER)).unwrap();
    for (name, set) in [("b", 1), ("a", 2)] {
        let settings = PictureSettings { set, ..Default::default() };
        let bytes = lorikeet_picture::png_bytes(&[0; 3], (1, 1), &settings, "").unwrap();
        fs::write(run.join(FOLDER).join(name).with_extension("png"), bytes).unwrap();
    }
    fs::write(run.join(FOLDER).join("other.png"), "not ours").unwrap();
    let found = material(Some(run), Path::new("/runs"));
    assert_eq!(found.saves.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [50, 200]);
    assert_eq!(found.drawn.iter().map(|kept| stem(&kept.path)).collect::<Vec<_>>(), ["b", "a"]);
}
