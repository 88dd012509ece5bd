//! The settings table and recipes, as other crates use them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use lorikeet_recipe::{BaseClass, Kind, Preset, Recipe, RecipeError, SECTIONS, SETTINGS, Value, When, setting};

#[test]
fn every_setting_is_in_the_table_once_and_complete() {
    let ids: BTreeSet<_> = SETTINGS.iter().map(|setting| setting.id).collect();
    assert_eq!(ids.len(), SETTINGS.len(), "an id is there twice");
    let of_sections: Vec<_> = SECTIONS.iter().flat_map(|section| section.settings).map(|setting| setting.id).collect();
    assert_eq!(of_sections, SETTINGS.iter().map(|setting| setting.id).collect::<Vec<_>>());
    for section in SECTIONS {
        assert!(section.settings.iter().all(|setting| setting.section() == section.id), "{}", section.id);
    }
    for setting in SETTINGS {
        let id = setting.id;
        let sentences = setting.help.matches(". ").count() + usize::from(setting.help.ends_with('.'));
        assert_eq!(sentences, 1, "the help of {id} is not one sentence: {}", setting.help);
        assert!(!setting.label.is_empty() && !setting.label.ends_with([':', '.']), "{id}: {}", setting.label);
        assert!(
            setting.defaults[0].preset.is_none() && setting.defaults[0].bases.is_empty(),
            "{id} has no general default"
        );
        assert!(setting.defaults.iter().all(|row| row.reason.ends_with('.')), "a reason of {id} is no sentence");
        if let When::Set(other) | When::Unset(other) | When::Is(other, _) = setting.when {
            assert!(ids.contains(other), "{id} depends on {other}, which is no setting");
        }
    }
}

#[test]
fn every_default_is_allowed_and_stays_as_it_is() {
    for setting in SETTINGS {
        for preset in Preset::ALL {
            for base in BaseClass::ALL {
                let value = setting.default_value(preset, base);
                assert_eq!(setting.check(value.clone()).unwrap(), value, "{} for {preset} on {base:?}", setting.id);
            }
        }
    }
}

#[test]
fn the_basic_form_has_at_most_ten_fields() {
    // Base and folder are pages of their own.
    let basic: Vec<_> = SETTINGS
        .iter()
        .filter(|setting| setting.level == lorikeet_recipe::Level::Basic)
        .map(|setting| setting.id)
        .filter(|id| !["base.path", "dataset.folder"].contains(id))
        .collect();
    assert!(basic.len() <= 10, "{basic:?}");
}

#[test]
fn every_row_holds_for_some_preset_and_base() {
    for setting in SETTINGS {
        for row in setting.defaults {
            let used = Preset::ALL
                .iter()
                .flat_map(|preset| BaseClass::ALL.map(|base| setting.default_row(*preset, base)))
                .any(|found| found == row);
            assert!(used, "{}: {row:?} never holds", setting.id);
        }
    }
}

#[test]
fn zero_has_a_meaning_where_it_is_special() {
    for setting in SETTINGS {
        let allows_zero = match setting.kind {
            Kind::Int { min, .. } => min == 0,
            Kind::Float { min, .. } => min == 0.0,
            _ => continue,
        };
        assert!(allows_zero || setting.zero_means.is_empty(), "{} cannot be 0", setting.id);
    }
}

#[test]
fn what_is_typed_goes_over_the_defaults_of_preset_and_base() {
    let mut recipe = Recipe::default();
    assert_eq!(recipe.get("dataset.resolution"), Value::Int(128));
    recipe.set_text("base.path", "/models/sd15.safetensors").unwrap();
    assert_eq!(recipe.get("dataset.resolution"), Value::Int(512));
    assert_eq!(recipe.get("network.rank"), Value::Int(32));
    recipe.set_preset(Preset::Character);
    assert_eq!(recipe.get("network.rank"), Value::Int(16));
    recipe.set("network.rank", Value::Int(8)).unwrap();
    recipe.set_preset(Preset::Style);
    assert_eq!(recipe.get("network.rank"), Value::Int(8));
    assert!(recipe.is_set("network.rank"));
    recipe.unset("network.rank");
    assert_eq!(recipe.get("network.rank"), Value::Int(32));
}

#[test]
fn text_becomes_the_right_kind() {
    let get = |id: &str, text: &str| {
        let mut recipe = Recipe::default();
        recipe.set_text(id, text).map(|()| recipe.get(id))
    };
    assert_eq!(get("train.steps", " 1_500 ").unwrap(), Value::Int(1500));
    assert_eq!(get("train.learning_rate", "3e-4").unwrap(), Value::Float(3e-4));
    assert_eq!(get("network.alpha", "8").unwrap(), Value::Float(8.0));
    assert_eq!(get("dataset.flip", "Yes").unwrap(), Value::Bool(true));
    assert_eq!(get("train.schedule", "Linear").unwrap(), Value::Text("linear".into()));
    assert_eq!(get("run.device", "CUDA:1").unwrap(), Value::Text("cuda:1".into()));
    let list = |items: &[&str]| Value::List(items.iter().map(|item| (*item).to_owned()).collect());
    assert_eq!(get("sample.prompts", "a cat | a dog |").unwrap(), list(&["a cat", "a dog"]));
    assert_eq!(get("sample.prompts", r#"["a | b", "c"]"#).unwrap(), list(&["a | b", "c"]));
    assert_eq!(get("sample.prompts", "[portrait] of a cat").unwrap(), list(&["[portrait] of a cat"]));
    assert_eq!(get("sample.prompts", "").unwrap(), list(&[]));
}

#[test]
fn refusals_name_setting_value_and_range() {
    let refused = |id: &str, text: &str| Recipe::default().set_text(id, text).unwrap_err().to_string();
    assert_eq!(refused("network.rank", "300"), "network.rank = 300 is out of range; allowed: 1 to 256");
    assert_eq!(
        refused("dataset.resolution", "100"),
        "dataset.resolution = 100 is out of range; allowed: 32 to 2048 px, a multiple of 8"
    );
    assert_eq!(refused("train.beta1", "NaN"), "train.beta1 = NaN is out of range; allowed: 0 to 0.9999");
    assert_eq!(
        refused("network.rank", "many"),
        "network.rank takes a whole number, not text (\"many\"); allowed: 1 to 256"
    );
    assert!(refused("network.rank", "1.5").contains("not a number with a fraction"));
    assert!(refused("dataset.flip", "maybe").contains("dataset.flip takes true or false, not text (\"maybe\")"));
    assert_eq!(
        refused("train.schedule", "cosin"),
        "train.schedule = \"cosin\" is not a choice; allowed: one of constant, cosine, linear; did you mean `cosine`?"
    );
    assert_eq!(refused("network.rnak", "4"), "there is no setting `network.rnak`; did you mean `network.rank`?");
    assert_eq!(refused("rank", "4"), "there is no setting `rank`; did you mean `network.rank`?");
    assert_eq!(refused("zzzzzz", "4"), "there is no setting `zzzzzz`");
    assert_eq!(refused("preset", "stile"), "there is no preset `stile`; did you mean `style`?");
}

#[test]
fn texts_that_could_do_harm_are_refused() {
    let refused = |id: &str, text: &str| Recipe::default().set_text(id, text).is_err();
    for name in ["a/b", "a\\b", "..", ".hidden", "end.", "C:", "con", "Com1.x", "a\0b", &"x".repeat(121)] {
        assert!(refused("save.name", name), "{name:?}");
    }
    for name in ["Zoë's cat", "猫 v2.1", "community", "console"] {
        assert!(!refused("save.name", name), "{name:?}");
    }
    for device in ["gpu", "cuda:", "cuda:x", "cpu:0", ""] {
        assert!(refused("run.device", device), "{device:?}");
    }
    assert!(refused("dataset.trigger", "two\nlines"));
    assert!(refused("base.path", " "));
    assert!(refused("save.folder", ""));
    assert!(!refused("dataset.folder", ""));
}

#[test]
fn settings_apply_when_what_they_belong_to_is_on() {
    let mut recipe = Recipe::default();
    let applies = |recipe: &Recipe, id: &str| recipe.applies(setting(id).unwrap());
    assert!(!applies(&recipe, "train.text_encoder_lr"));
    recipe.set_text("network.text_encoder", "on").unwrap();
    assert!(applies(&recipe, "train.text_encoder_lr"));
    assert!(applies(&recipe, "dataset.validation_split"));
    recipe.set_text("dataset.validation_folder", "held out").unwrap();
    assert!(!applies(&recipe, "dataset.validation_split"));
    recipe.set_text("sample.every", "0").unwrap();
    assert!(!applies(&recipe, "sample.prompts"));
}

fn full() -> Recipe {
    let mut recipe = Recipe::new(Preset::Concept);
    for (id, text) in [
        ("base.path", r#"C:\models\my "best" model.safetensors"#),
        ("dataset.folder", "Bilder/Zoë 猫"),
        ("dataset.trigger", "it's \\ odd"),
        ("train.learning_rate", "0.00001"),
        ("train.epsilon", "1e-9"),
        ("network.alpha", "8"),
        ("network.text_encoder", "true"),
        ("sample.prompts", "one, \"quoted\" | two"),
        ("dataset.flip", "true"),
        ("train.steps", "0"),
    ] {
        recipe.set_text(id, text).unwrap();
    }
    recipe
}

#[test]
fn a_written_recipe_reads_back_the_same() {
    for recipe in [Recipe::default(), Recipe::new(Preset::Character), full()] {
        assert_eq!(Recipe::from_toml(&recipe.to_toml()).unwrap(), recipe, "{}", recipe.to_toml());
    }
}

#[test]
fn a_written_recipe_shows_all_defaults_as_comments_that_can_be_uncommented() {
    let text = Recipe::default().to_toml();
    let uncommented: String = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ')) => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let recipe = Recipe::from_toml(&uncommented).unwrap();
    for setting in SETTINGS {
        assert!(recipe.is_set(setting.id), "{} is not in the file", setting.id);
        assert_eq!(recipe.get(setting.id), Recipe::default().get(setting.id), "{}", setting.id);
        assert!(text.contains(&format!("# {}", setting.help)), "the help of {} is missing", setting.id);
    }
}

#[test]
fn faults_in_a_file_come_with_their_line() {
    let refused = |text: &str| Recipe::from_toml(text).unwrap_err().to_string();
    let error = refused("preset = \"style\"\n\n[network]\nrank = 999\n");
    assert_eq!(error, "line 4: network.rank = 999 is out of range; allowed: 1 to 256");
    let error = refused("[network]\nrank = 8\n\n[trian]\nsteps = 5\n");
    assert_eq!(error, "line 5: there is no setting `trian.steps`; did you mean `train.steps`?");
    let error = refused("[train]\nbatch = \"four\"\n");
    assert_eq!(error, "line 2: train.batch takes a whole number, not text (\"four\"); allowed: 1 to 64 pictures");
    let error = refused("[train]\nsteps = 12.5\n");
    assert!(
        error.starts_with("line 2: train.steps takes a whole number, not a number with a fraction (12.5)"),
        "{error}"
    );
    let error = refused("[sample]\nprompts = [\"a\", 1]\n");
    assert!(error.contains("line 2: sample.prompts takes a list of texts"), "{error}");
    let error = refused("# ok\npreset = \"hero\"\n");
    assert_eq!(error, "line 2: there is no preset `hero`");
    let error = refused("rank = 4\n");
    assert_eq!(error, "line 1: there is no setting `rank`; did you mean `network.rank`?");
    let error = refused("[nothing]\n");
    assert_eq!(error, "line 1: there is no setting `nothing`");
    let error = refused("[train]\nsteps = \n");
    assert!(matches!(Recipe::from_toml("[train]\nsteps = \n"), Err(RecipeError::Toml { line: 2, .. })), "{error}");
    let error = refused("[train]\nsteps = 1\nsteps = 2\n");
    assert!(error.contains("at line 3"), "{error}");
}

#[test]
fn hand_written_forms_of_toml_are_taken() {
    let recipe = Recipe::from_toml("train.steps = 40\nsample = { prompts = \"one\", cfg = 5 }\n").unwrap();
    assert_eq!(recipe.get("train.steps"), Value::Int(40));
    assert_eq!(recipe.get("sample.prompts"), Value::List(vec!["one".to_owned()]));
    assert_eq!(recipe.get("sample.cfg"), Value::Float(5.0));
    assert_eq!(Recipe::from_toml("").unwrap(), Recipe::default());
}

#[test]
fn files_are_saved_whole_and_faults_name_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my recipe ü.toml");
    full().save(&path).unwrap();
    assert_eq!(Recipe::load(&path).unwrap(), full());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");

    std::fs::write(&path, "[network]\nrank = 0\n").unwrap();
    let error = Recipe::load(&path).unwrap_err().to_string();
    assert!(error.contains("my recipe ü.toml: line 2: network.rank = 0"), "{error}");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(matches!(Recipe::load(&path), Err(RecipeError::Read { .. })));
    assert!(matches!(Recipe::load(&folder.path().join("none.toml")), Err(RecipeError::Read { .. })));
    assert!(matches!(full().save(&folder.path().join("no/such/r.toml")), Err(RecipeError::Write { .. })));
}

#[test]
fn json_is_checked_like_toml() {
    let json = serde_json::to_string(&full()).unwrap();
    assert_eq!(serde_json::from_str::<Recipe>(&json).unwrap(), full());
    let refused = serde_json::from_str::<Recipe>(r#"{"preset":"style","values":{"network.rank":-1}}"#);
    assert!(refused.unwrap_err().to_string().contains("network.rank = -1 is out of range"));
}

#[test]
fn the_settings_page_is_current() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/settings.md");
    let page = lorikeet_recipe::settings_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &page).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    assert!(found == page, "docs/settings.md is not current; run UPDATE_DOCS=1 cargo test -p lorikeet-recipe");
}
