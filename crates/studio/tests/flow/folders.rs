//! Several folders of pictures, each with its repeats.

use std::fs;
use std::path::Path;

use egui::Role;
use egui_kittest::kittest::{NodeT as _, Queryable};
use lorikeet_recipe::PictureFolder;
use lorikeet_studio::StudioApp;

use crate::fake::Fake;
use crate::{Harness, drop_path, pictures, settle, studio};

const SIZE: (f32, f32) = (1280.0, 900.0);

fn chosen(harness: &Harness<'_, StudioApp>) -> Vec<(String, u32)> {
    let name = |folder: PictureFolder| Path::new(&folder.path).file_name().unwrap().to_string_lossy().into_owned();
    harness.state().recipe().folders().into_iter().map(|folder| (name(folder.clone()), folder.repeats)).collect()
}

fn pairs(expected: &[(&str, u32)]) -> Vec<(String, u32)> {
    expected.iter().map(|(name, repeats)| ((*name).to_owned(), *repeats)).collect()
}

fn made(root: &Path) -> [std::path::PathBuf; 3] {
    [("cats", 3), ("dogs", 2), ("10_birds", 1)].map(|(name, count)| {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        pictures(&folder, count);
        folder
    })
}

#[test]
fn dropped_folders_are_added_shown_more_often_filtered_and_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut harness = studio(&Fake::default(), SIZE);
    for folder in made(root.path()) {
        drop_path(&mut harness, &folder);
    }
    assert_eq!(chosen(&harness), pairs(&[("cats", 1), ("dogs", 1), ("10_birds", 1)]), "the example made room");
    harness.get_by_label_contains("6 pictures · 15 looks an epoch");
    harness.get_by_label("1 picture · 10 looks an epoch · shown 10 times for its name");

    harness.get_by_role_and_label(Role::SpinButton, "Repeats of dogs").focus();
    harness.run_steps(2);
    harness.key_press(egui::Key::ArrowUp);
    harness.run_steps(30);
    settle(&mut harness);
    assert_eq!(chosen(&harness)[1].1, 2);
    harness.get_by_label("2 pictures · 4 looks an epoch");

    harness.get_by_label("Show only dogs").click();
    harness.run_steps(3);
    harness.get_by_label("2 of 6 shown");
    harness.get_by_label("Show all pictures").click();
    harness.run_steps(2);

    harness.get_by_label("Remove cats from the list").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert_eq!(chosen(&harness), pairs(&[("dogs", 2), ("10_birds", 1)]));
    harness.get_by_label_contains("3 pictures · 14 looks an epoch");
    harness.key_press_modifiers(egui::Modifiers::COMMAND, egui::Key::Z);
    settle(&mut harness);
    assert_eq!(chosen(&harness).len(), 3, "undo brings the folder back");
}

#[test]
fn a_folder_twice_is_one_and_the_last_one_removed_leaves_an_empty_page() {
    let root = tempfile::tempdir().unwrap();
    let [cats, ..] = made(root.path());
    let mut harness = studio(&Fake::default(), SIZE);
    drop_path(&mut harness, &cats);
    drop_path(&mut harness, &cats);
    assert_eq!(chosen(&harness), pairs(&[("cats", 1)]));
    harness.get_by_label("Remove cats from the list").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Drop a folder of pictures here");
    assert!(harness.get_by_label("Train").accesskit_node().is_disabled());
    // A caption in a further folder is changed where it lies.
    drop_path(&mut harness, &cats);
    drop_path(&mut harness, &root.path().join("dogs"));
    harness.state_mut().select_pictures(&[3]);
    harness.state_mut().show_tags(true);
    harness.run_steps(3);
    harness.get_by_label("Remove thing 0").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(!root.path().join("dogs/0.txt").exists() && cats.join("0.txt").exists());
}
