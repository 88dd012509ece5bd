//! The rules of ARCHITECTURE.md: who may know whom, and how long a file may be.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// The table under the heading, as package -> what it may know.
fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let section =
        page.split("\n## ").find(|section| section.starts_with("Who may know whom")).expect("the section is there");
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let known = cells[1].split(',').map(|name| name.trim().trim_matches('`').to_owned());
        (cells[0].trim_matches('`').to_owned(), known.filter(|name| name != "nothing").collect())
    })
    .collect()
}

/// A package of ours, or the family that the table speaks of.
fn family(name: &str) -> Option<String> {
    match name {
        _ if name.starts_with("lorikeet") => Some(name.to_owned()),
        _ if name.starts_with("burn") || name.starts_with("cubecl") => Some("Burn".to_owned()),
        _ if name.starts_with("egui") || ["eframe", "emath", "epaint", "ecolor"].contains(&name) => {
            Some("egui".to_owned())
        }
        _ => None,
    }
}

/// What each package of ours declares, apart from what only its tests use.
fn declared() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let metadata: Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let used = dependencies.filter(|dependency| dependency["kind"].is_null());
            let names = used.filter_map(|dependency| family(dependency["name"].as_str().unwrap()));
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .filter(|(name, _)| name != "lorikeet-e2e")
        .collect()
}

#[test]
fn packages_know_only_whom_they_may() {
    let (allowed, declared) = (allowed(), declared());
    let names = |map: &BTreeMap<String, BTreeSet<String>>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&allowed), names(&declared), "the table and the workspace have the same packages");
    for (package, known) in &declared {
        let excess: Vec<&String> = known.difference(&allowed[package]).collect();
        assert!(excess.is_empty(), "{package} must not know {excess:?}; see ARCHITECTURE.md, Who may know whom");
    }
}

#[test]
fn the_table_has_no_circle_and_nothing_that_is_not_there() {
    let allowed = allowed();
    let mut settled: BTreeSet<&str> = BTreeSet::from(["Burn", "egui"]);
    while settled.len() < allowed.len() + 2 {
        let next = allowed.iter().find(|(name, known)| {
            !settled.contains(name.as_str()) && known.iter().all(|known| settled.contains(known.as_str()))
        });
        let Some((name, _)) = next else { panic!("a circle or an unknown name; settled so far: {settled:?}") };
        settled.insert(name);
    }
}

#[test]
fn files_are_short_enough_to_read() {
    let mut long = Vec::new();
    let mut folders: Vec<PathBuf> = ["crates", "tests"].map(|folder| root().join(folder)).into();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                seen += 1;
                let limit = if path.starts_with(root().join("crates/models")) { 700 } else { 400 };
                let lines = fs::read_to_string(&path).unwrap().lines().count();
                if lines > limit {
                    long.push(format!("{} has {lines} lines of {limit}", path.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(seen > 50, "the sources were not found");
    assert!(long.is_empty(), "{}", long.join("\n"));
}
