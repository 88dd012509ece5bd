//! The base: its class, its parts, and those of other programs.

use std::path::Path;

use egui_kittest::kittest::Queryable;
use lorikeet_recipe::Value;
use lorikeet_studio::Page;

use crate::fake::Fake;
use crate::{settle, studio};

#[test]
fn a_part_may_come_from_another_file_and_the_base_is_looked_at_with_it() {
    let mut harness = studio(&Fake::default(), (1280.0, 1100.0));
    harness.state_mut().go(Page::Model);
    settle(&mut harness);
    harness.get_by_label("Parts");
    harness.get_by_label("Autoencoder (VAE)");
    assert!(harness.query_by_label("Second text encoder").is_none(), "the demo base has one");
    let vae = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-base/vae");
    harness.state_mut().use_part("base.vae", vae.to_string_lossy().into_owned());
    settle(&mut harness);
    assert_eq!(harness.state().recipe().get("base.vae"), Value::Text(vae.to_string_lossy().into_owned()));
    harness.get_by_label("Reset autoencoder (vae)").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(!harness.state().recipe().is_set("base.vae"));
    harness.state_mut().use_part("base.vae", "there is no such file".to_owned());
    settle(&mut harness);
    assert!(harness.query_all_by_label_contains("there is no such file").count() >= 1, "told on the page");
}
