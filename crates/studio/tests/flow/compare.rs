//! Another recipe beside the draft.

use egui::Role;
use egui_kittest::kittest::Queryable;
use lorikeet_recipe::{Preset, Recipe, Value};
use lorikeet_studio::Page;

use crate::fake::Fake;
use crate::{settle, studio_in};

#[test]
fn a_run_is_compared_with_and_its_values_are_taken_over() {
    let runs = tempfile::tempdir().unwrap();
    let run = runs.path().join("inky");
    std::fs::create_dir_all(&run).unwrap();
    let mut recipe = Recipe::new(Preset::Style);
    recipe.set_text("network.rank", "5").unwrap();
    recipe.set_text("dataset.folder", runs.path().to_str().unwrap()).unwrap();
    recipe.save(&run.join("recipe.toml")).unwrap();

    let mut harness = studio_in(&Fake::default(), (1280.0, 2400.0), runs.path());
    harness.state_mut().go(Page::Training);
    harness.run_steps(2);
    harness.get_by_label("Compare with…").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_role_and_label(Role::Button, "inky").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Compared with inky");
    harness.get_by_label("There: 5");
    harness.get_by_label("Take over rank: 5").click();
    harness.run_steps(3);
    assert_eq!(harness.state().recipe().get("network.rank"), Value::Int(5));
    assert!(harness.query_by_label("Take over rank: 5").is_none(), "it is the same now");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    harness.run_steps(3);
    harness.get_by_label("Take over rank: 5");
    harness.get_by_label("Close comparison").click();
    harness.run_steps(2);
    assert!(harness.query_by_label("Compared with inky").is_none());
}
