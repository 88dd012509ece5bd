//! Models from the hub, which is a server in the test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use egui_kittest::kittest::Queryable;
use lorikeet_hub::{Access, Settings};
use lorikeet_recipe::Value;
use lorikeet_studio::{Page, StudioApp};

use crate::fake::{self, Fake};
use crate::server::{self, COMMIT, Files, Reply, Request, Server, answer};
use crate::{Harness, settle};

/// The studio on its Model page, with a hub at an address.
fn studio_with<'a>(url: &str, folder: &Path, offline: bool) -> Harness<'a, StudioApp> {
    let mut start = fake::start(folder.join("runs"));
    start.hub = Access {
        endpoint: url.to_owned(),
        cache: Some(folder.join("hub")),
        settings: Settings { offline, ..Settings::default() },
        settings_file: Some(folder.join("hub.json")),
        patience: std::time::Duration::from_millis(1),
        free: |_| None,
        ..Access::default()
    };
    let mut harness = Harness::builder()
        .with_size((1280.0, 1500.0))
        .with_max_steps(64)
        .build_eframe(move |cc| StudioApp::new(&cc.egui_ctx, Box::new(Fake::default()), start));
    harness.state_mut().go(Page::Model);
    settle(&mut harness);
    harness
}

/// The demo base, as somebody might have put it on the hub.
fn demo_base() -> Files {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo-base");
    let names = [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
    ];
    names.iter().map(|name| ((*name).to_owned(), std::fs::read(root.join(name)).unwrap())).collect()
}

fn look_up(harness: &mut Harness<'_, StudioApp>, name: &str) {
    harness.state_mut().look_up_on_hub(name);
    settle(harness);
}

#[test]
fn a_model_is_looked_up_downloaded_and_chosen() {
    let (files, folder) = (demo_base(), tempfile::tempdir().unwrap());
    let server = Server::start(move |request: &Request| answer(request, &files));
    let mut harness = studio_with(&server.url(), folder.path(), false);
    look_up(&mut harness, "ann/birds");
    harness.get_by_label("cc0-1.0");
    harness.get_by_label_contains("34 MB in 8 files");
    assert_eq!(server.seen().len(), 1, "nothing is fetched before it is asked for");
    harness.get_by_label("Download 34 MB").click();
    harness.run_steps(2);
    settle(&mut harness);
    let Value::Text(path) = harness.state().recipe().get("base.path") else { panic!("a base is chosen") };
    assert!(path.ends_with(COMMIT), "{path}");
    harness.get_by_label_contains("ready to train");
    // Another time nothing has to be fetched.
    look_up(&mut harness, "ann/birds");
    harness.get_by_label("Use it");
}

#[test]
fn a_download_is_shown_cancelled_and_gone_on_with() {
    let (files, folder) = (demo_base(), tempfile::tempdir().unwrap());
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |request: &Request| {
        let mut reply = answer(request, &files);
        if request.path.ends_with("unet/diffusion_pytorch_model.safetensors")
            && asked.fetch_add(1, Ordering::SeqCst) == 0
        {
            (reply.cut_after, reply.then_silent) = (Some(11 << 20), true);
        }
        reply
    });
    let mut harness = studio_with(&server.url(), folder.path(), false);
    look_up(&mut harness, "ann/birds");
    harness.state_mut().fetch_from_hub();
    while harness.query_all_by_label_contains("File 1 of 8: diffusion_pytorch_model").count() == 0 {
        harness.step();
        std::thread::yield_now();
    }
    harness.get_by_label("Cancel download").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label_contains("The download was cancelled");
    assert!(!harness.state().recipe().is_set("base.path"));
    harness.get_by_label("Resume download").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label_contains("ready to train");
    assert!(harness.state().recipe().is_set("base.path"));
}

#[test]
fn a_refusal_shows_the_models_page_and_can_be_tried_again() {
    let files: Files = vec![("birds.safetensors".to_owned(), server::noise(1_000))];
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(move |request: &Request| {
        let open = request.header("authorization") == Some("Bearer hf_mine");
        if request.path.contains("/resolve/") && !open {
            Reply::status(403, "GatedRepo")
        } else {
            answer(request, &files)
        }
    });
    let mut harness = studio_with(&server.url(), folder.path(), false);
    look_up(&mut harness, "ann/birds");
    harness.state_mut().fetch_from_hub();
    settle(&mut harness);
    harness.get_by_label_contains("asks for its licence to be accepted");
    harness.get_by_label("Open the model's page");
    harness.state_mut().go(Page::Settings);
    settle(&mut harness);
    harness.get_by_label("Token").focus();
    harness.run_steps(2);
    harness.input_mut().events.push(egui::Event::Text("hf_mine".to_owned()));
    harness.run_steps(2);
    harness.get_by_label("Keep token").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(std::fs::read_to_string(folder.path().join("hub.json")).unwrap().contains("hf_mine"));
    harness.state_mut().go(Page::Model);
    settle(&mut harness);
    harness.get_by_label("Resume download").click();
    harness.run_steps(2);
    settle(&mut harness);
    let Value::Text(path) = harness.state().recipe().get("base.path") else { panic!("a base is chosen") };
    assert!(path.ends_with("birds.safetensors"), "{path}");
}

#[test]
fn of_several_models_one_is_asked_for() {
    let files: Files =
        vec![("a.safetensors".to_owned(), server::noise(2_048)), ("b.safetensors".to_owned(), server::noise(1_024))];
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(move |request: &Request| answer(request, &files));
    let mut harness = studio_with(&server.url(), folder.path(), false);
    look_up(&mut harness, "ann/birds");
    harness.get_by_label("b.safetensors · 1 KB").click();
    harness.run_steps(2);
    settle(&mut harness);
    harness.get_by_label("Download 1 KB");
}

#[test]
fn a_wrong_name_and_an_unknown_one_say_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_: &Request| Reply::status(404, "RepoNotFound"));
    let mut harness = studio_with(&server.url(), folder.path(), false);
    look_up(&mut harness, "birds");
    harness.get_by_label_contains("a name on the hub is owner/name");
    look_up(&mut harness, "ann/gone");
    harness.get_by_label_contains("Check the spelling");
    harness.get_by_label("Dismiss").click();
    harness.run_steps(2);
    assert!(harness.query_by_label_contains("Check the spelling").is_none());
}

#[test]
fn offline_nothing_goes_to_the_network_and_the_page_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_: &Request| Reply::status(404, "RepoNotFound"));
    let mut harness = studio_with(&server.url(), folder.path(), true);
    harness.get_by_label_contains("nothing goes to the network");
    assert!(harness.query_by_label("Look up").is_none());
    look_up(&mut harness, "ann/birds");
    assert_eq!(server.seen().len(), 0);
    harness.state_mut().go(Page::Settings);
    settle(&mut harness);
    harness.get_by_label("Stay offline: never use the network").click();
    harness.run_steps(2);
    settle(&mut harness);
    assert!(std::fs::read_to_string(folder.path().join("hub.json")).unwrap().contains("\"offline\": false"));
    harness.state_mut().go(Page::Model);
    settle(&mut harness);
    look_up(&mut harness, "ann/birds");
    assert_eq!(server.seen().len(), 1);
}
