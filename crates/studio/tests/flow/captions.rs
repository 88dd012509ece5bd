//! Captions in their files, pictures set aside, and the doctor.

use std::fs;
use std::path::Path;

use egui::{Event as Input, Key, Modifiers, Role};
use egui_kittest::kittest::{NodeT as _, Queryable};
use lorikeet_studio::StudioApp;

use crate::fake::Fake;
use crate::{Harness, drop_path, pictures, settle, studio};

const SIZE: (f32, f32) = (1280.0, 900.0);

fn read(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join(name)).unwrap_or_default()
}

fn opened(folder: &Path) -> Harness<'static, StudioApp> {
    let mut harness = studio(&Fake::default(), SIZE);
    drop_path(&mut harness, folder);
    harness
}

fn undo(harness: &mut Harness<'_, StudioApp>) {
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    settle(harness);
}

#[test]
fn a_caption_is_typed_saved_with_enter_and_undone() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 3);
    let mut harness = opened(folder.path());
    harness.get_by_label("0.png: thing 0").click();
    harness.run_steps(3);
    harness.get_by_role_and_label(Role::TextInput, "Caption").focus();
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.run_steps(1);
    harness.input_mut().events.push(Input::Text("a red thing".to_owned()));
    harness.run_steps(2);
    assert_eq!(read(folder.path(), "0.txt"), "thing 0", "nothing is written while typing");
    harness.key_press(Key::Enter);
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(read(folder.path(), "0.txt"), "a red thing\n");
    harness.get_by_label("Picture 2 of 3");
    harness.get_by_label("0.png: a red thing");

    // Out of the text field, whose own undo comes first.
    harness.get_by_label("1.png: thing 1").click();
    harness.run_steps(2);
    undo(&mut harness);
    assert_eq!(read(folder.path(), "0.txt"), "thing 0", "byte for byte");
    harness.get_by_label("0.png: thing 0");
}

#[test]
fn arrows_and_shift_select_pictures_and_tags_are_changed_in_bulk() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 4);
    let mut harness = opened(folder.path());
    harness.get_by_label("0.png: thing 0").click();
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowRight);
    harness.run_steps(3);
    harness.get_by_label("3 pictures selected");
    harness.get_by_label("Find").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(Input::Text("thing".to_owned()));
    harness.run_steps(2);
    harness.get_by_label("Changes 3 captions");
    harness.get_by_label("Replace with").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(Input::Text("cup".to_owned()));
    harness.run_steps(2);
    harness.get_by_role_and_label(Role::Button, "Replace").click();
    harness.run_steps(2);
    settle(&mut harness);
    let captions = |n: usize| (0..n).map(|i| read(folder.path(), &format!("{i}.txt"))).collect::<Vec<_>>();
    assert_eq!(captions(4), ["cup 0\n", "cup 1\n", "cup 2\n", "thing 3"]);
    harness.get_by_label("Changed 3 captions");

    harness.get_by_label("Remove cup 1 from all selected").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(!folder.path().join("1.txt").exists(), "a caption without words is no file");
    harness.get_by_label("1.png: No caption");
    undo(&mut harness);
    undo(&mut harness);
    assert_eq!(captions(4), ["thing 0", "thing 1", "thing 2", "thing 3"]);
}

#[test]
fn tags_are_chips_that_can_be_moved_and_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 1);
    fs::write(folder.path().join("0.txt"), "red, cat, sky").unwrap();
    let mut harness = opened(folder.path());
    harness.state_mut().select_pictures(&[0]);
    harness.state_mut().show_tags(true);
    harness.run_steps(3);
    harness.get_by_label("Move cat forward").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(read(folder.path(), "0.txt"), "cat, red, sky\n");
    harness.get_by_label("Remove sky").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(read(folder.path(), "0.txt"), "cat, red\n");
    harness.get_by_label("2 tags");
}

#[test]
fn the_doctor_finds_copies_and_sets_them_aside_and_undo_brings_them_back() {
    let folder = tempfile::tempdir().unwrap();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../datasets-example/ink-style");
    for (from, to) in [("crown.png", "a.png"), ("crown.png", "copy.png"), ("camera.png", "c.png")] {
        fs::copy(example.join(from), folder.path().join(to)).unwrap();
    }
    let mut harness = opened(folder.path());
    settle(&mut harness);
    harness.get_by_label("1 picture is nearly the same as another");
    harness.get_by_label("3 pictures have no caption");
    harness.get_by_label("Set 1 copy aside, keep the largest").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(!folder.path().join("copy.png").exists());
    assert!(harness.query_by_label("1 picture is nearly the same as another").is_none());
    undo(&mut harness);
    settle(&mut harness);
    assert!(folder.path().join("copy.png").exists());
    harness.get_by_label("1 picture is nearly the same as another");
}

#[test]
fn captions_changed_by_another_program_are_seen_when_the_window_is_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 2);
    let mut harness = opened(folder.path());
    fs::write(folder.path().join("1.txt"), "written elsewhere").unwrap();
    for focused in [false, true] {
        harness.input_mut().focused = focused;
        harness.input_mut().events.push(Input::WindowFocused(focused));
        harness.run_steps(2);
    }
    settle(&mut harness);
    harness.get_by_label("1.png: written elsewhere");
}

#[test]
fn search_and_filter_leave_what_fits() {
    let folder = tempfile::tempdir().unwrap();
    pictures(folder.path(), 5);
    let mut harness = opened(folder.path());
    harness.get_by_label("Find in captions and names").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(Input::Text("thing 3".to_owned()));
    harness.run_steps(3);
    harness.get_by_label("1 of 5 shown");
    assert!(harness.query_by_label("2.png: thing 2").is_none());
    harness.get_by_label("Show all pictures").click();
    harness.run_steps(3);
    harness.get_by_label("2.png: thing 2");
    let shapes = harness.get_by_label_contains("Show 128 × 128");
    assert_eq!(shapes.accesskit_node().role(), Role::Button);
}
