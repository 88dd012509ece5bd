//! The command palette, shortcuts, and undo.

use egui::{Event as Input, Key, Modifiers, Role};
use egui_kittest::kittest::Queryable;
use lorikeet_protocol::Command;
use lorikeet_recipe::Value;
use lorikeet_studio::{Page, StudioApp};

use crate::fake::Fake;
use crate::{Harness, settle, studio};

fn ctrl(harness: &mut Harness<'_, StudioApp>, key: Key) {
    harness.key_press_modifiers(Modifiers::COMMAND, key);
    harness.run_steps(3);
}

fn type_text(harness: &mut Harness<'_, StudioApp>, text: &str) {
    harness.input_mut().events.push(Input::Text(text.to_owned()));
    harness.run_steps(3);
}

fn rank(harness: &Harness<'_, StudioApp>) -> Value {
    harness.state().recipe().get("network.rank")
}

#[test]
fn a_few_letters_find_an_action_and_enter_does_it() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    ctrl(&mut harness, Key::K);
    type_text(&mut harness, "go to samp");
    harness.get_by_role_and_label(Role::Button, "Go to Samples");
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    assert_eq!(harness.state().page(), Page::Samples);
    assert!(harness.query_by_label("Type an action or a setting").is_none(), "the palette closes");

    ctrl(&mut harness, Key::K);
    type_text(&mut harness, "train");
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    assert!(matches!(engine.take_sent().as_slice(), [Command::Start { .. }]));
    ctrl(&mut harness, Key::K);
    harness.key_press(Key::Escape);
    harness.run_steps(3);
    assert!(harness.query_by_label("Type an action or a setting").is_none());
}

#[test]
fn every_setting_is_found_and_shown_with_the_keyboard_on_it() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    ctrl(&mut harness, Key::K);
    type_text(&mut harness, "weight decay");
    harness.key_press(Key::Enter);
    harness.run_steps(4);
    assert_eq!(harness.state().page(), Page::Training);
    // Advanced is open, and the field can be typed into at once.
    assert!(harness.query_all_by_label("Weight decay").count() >= 1);
    harness.get_by_label("Find a setting");
}

#[test]
fn what_is_typed_after_a_jump_takes_the_place_of_what_was_there() {
    let engine = Fake::default();
    let mut harness = studio(&engine, (1280.0, 800.0));
    // One that shows a word for zero, one with decimals, one that is whole.
    for (letters, id, typed, value) in [
        ("memory limit", "memory.limit", "7.5", Value::Float(7.5)),
        ("beta 2", "train.beta2", "0.5", Value::Float(0.5)),
        ("Setting: Seed", "train.seed", "7", Value::Int(7)),
    ] {
        ctrl(&mut harness, Key::K);
        type_text(&mut harness, letters);
        harness.key_press(Key::Enter);
        harness.run_steps(4);
        type_text(&mut harness, typed);
        harness.key_press(Key::Enter);
        harness.run_steps(4);
        assert_eq!(harness.state().recipe().get(id), value, "{id}");
    }
}

#[test]
fn pages_have_keys_of_their_own() {
    let mut harness = studio(&Fake::default(), (1280.0, 800.0));
    for (key, page) in [(Key::Num3, Page::Training), (Key::Num7, Page::Settings), (Key::Num1, Page::Dataset)] {
        ctrl(&mut harness, key);
        assert_eq!(harness.state().page(), page);
    }
}

#[test]
fn a_change_of_a_setting_is_undone_and_done_again() {
    let mut harness = studio(&Fake::default(), (1280.0, 800.0));
    let before = harness.state().recipe();
    ctrl(&mut harness, Key::K);
    type_text(&mut harness, "preset concept");
    harness.key_press(Key::Enter);
    settle(&mut harness);
    let after = harness.state().recipe();
    assert_ne!(before.preset(), after.preset());
    ctrl(&mut harness, Key::Z);
    assert_eq!(harness.state().recipe(), before);
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    harness.run_steps(3);
    assert_eq!(harness.state().recipe(), after);
    ctrl(&mut harness, Key::Z);
    assert_eq!(harness.state().recipe(), before, "and back");
    ctrl(&mut harness, Key::Z);
    assert_eq!(harness.state().recipe(), before, "the start is the end of it");
    let _ = rank(&harness);
}

#[test]
fn undoing_another_folder_looks_at_the_former_again() {
    let folder = tempfile::tempdir().unwrap();
    crate::pictures(folder.path(), 2);
    let mut harness = studio(&Fake::default(), (1280.0, 800.0));
    harness.get_by_label_contains("24 pictures ·");
    crate::drop_path(&mut harness, folder.path());
    harness.get_by_label_contains("2 pictures · all with captions");
    ctrl(&mut harness, Key::Z);
    settle(&mut harness);
    harness.get_by_label_contains("24 pictures ·");
}
