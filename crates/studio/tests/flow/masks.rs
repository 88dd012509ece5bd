//! Masks painted over pictures and kept in their files.

use std::fs;
use std::path::Path;

use egui::{Event as Input, Key, Modifiers, PointerButton, Role, pos2};
use egui_kittest::kittest::Queryable;
use lorikeet_dataset::Mask;
use lorikeet_studio::StudioApp;

use crate::fake::Fake;
use crate::{Harness, drop_path, pictures, settle, studio};

fn opened(folder: &Path) -> Harness<'static, StudioApp> {
    pictures(folder, 2);
    let mut harness = studio(&Fake::default(), (1280.0, 900.0));
    drop_path(&mut harness, folder);
    harness.state_mut().close_welcome();
    harness.state_mut().select_pictures(&[0]);
    harness.run_steps(3);
    harness.get_by_label("Paint mask").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness
}

/// Across the picture at half its height.
fn stroke(harness: &mut Harness<'_, StudioApp>) {
    let rect = harness.get_by_role_and_label(Role::Image, "What is learned of 0.png").rect();
    let button = |pressed, pos| Input::PointerButton {
        pos,
        button: PointerButton::Primary,
        pressed,
        modifiers: Modifiers::NONE,
    };
    let (from, to) = (rect.center(), pos2(rect.center().x + rect.height() / 4.0, rect.center().y));
    harness.input_mut().events.push(Input::PointerMoved(from));
    harness.run_steps(1);
    harness.input_mut().events.push(button(true, from));
    harness.run_steps(1);
    harness.input_mut().events.push(Input::PointerMoved(to));
    harness.run_steps(1);
    harness.input_mut().events.push(button(false, to));
    harness.run_steps(2);
}

fn save(harness: &mut Harness<'_, StudioApp>) {
    harness.get_by_label("Save mask").click();
    harness.run_steps(2);
    settle(harness);
}

#[test]
fn a_mask_is_painted_saved_undone_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0-masklabel.png");
    let mut harness = opened(folder.path());
    harness.get_by_label_contains("0 % is learned, what is red counts 0.1 times");
    for _ in 0..12 {
        harness.key_press(Key::OpenBracket);
    }
    harness.run_steps(2);
    stroke(&mut harness);
    assert!(harness.query_by_label_contains("0 % is learned,").is_none());
    // Undo belongs to the strokes.
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    harness.run_steps(2);
    harness.get_by_label_contains("0 % is learned,");
    harness.get_by_label("Redo stroke").click();
    harness.run_steps(2);
    assert!(!file.exists(), "nothing is written while painting");
    save(&mut harness);
    let mask = Mask::read(&file).unwrap();
    assert_eq!((mask.width, mask.height), (64, 64), "as large as the picture");
    assert_eq!((mask.grey[32 * 64 + 36], mask.grey[0]), (255, 0));

    harness.get_by_label("Change mask").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_role_and_label(Role::Button, "Invert").click();
    harness.run_steps(2);
    save(&mut harness);
    assert_eq!(Mask::read(&file).unwrap().grey[0], 255);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(Mask::read(&file).unwrap(), mask, "the file as it was");

    harness.get_by_label("Change mask").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Remove mask").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(!file.exists());
    harness.get_by_label("Paint mask");
}

#[test]
fn a_mask_that_another_program_changed_is_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("0-masklabel.png");
    let mut harness = opened(folder.path());
    harness.get_by_role_and_label(Role::Button, "Fill").click();
    harness.run_steps(2);
    fs::write(&file, "painted elsewhere").unwrap();
    save(&mut harness);
    assert_eq!(fs::read_to_string(&file).unwrap(), "painted elsewhere");
    harness.get_by_label_contains("The mask was changed by another program meanwhile");

    // What is no mask is told rather than painted over.
    harness.get_by_label("Change mask").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label_contains("0-masklabel.png cannot be used");
}
