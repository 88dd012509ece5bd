//! The hub's answers, good and bad, from a server on this computer.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod server;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lorikeet_hub::{
    Access, Cancel, HubError, OuterOffline, Progress, RepoName, Settings, Token, already_there, choose, fetch, look_up,
};
use server::{COMMIT, EMPTY_JSON, Files, Reply, Request, Server, answer, noise, sha256};
use tempfile::TempDir;

fn access(server: &Server, folder: &TempDir) -> Access {
    Access {
        endpoint: server.url(),
        cache: Some(folder.path().join("hub")),
        settings: Settings::default(),
        patience: Duration::from_millis(1),
        free: |_| None,
        ..Access::default()
    }
}

fn files() -> Files {
    vec![
        ("README.md".to_owned(), b"about birds".to_vec()),
        ("model_index.json".to_owned(), b"{}".to_vec()),
        ("unet/config.json".to_owned(), b"{}".to_vec()),
        ("unet/diffusion_pytorch_model.safetensors".to_owned(), noise(300_000)),
    ]
}

fn weights() -> String {
    sha256(&noise(300_000))
}

/// Looks up, chooses and fetches.
fn get(access: &Access, named: &[&str]) -> Result<std::path::PathBuf, HubError> {
    get_with(access, named, &Cancel::default(), &mut |_| {})
}

fn get_with(
    access: &Access,
    named: &[&str],
    cancel: &Cancel,
    told: &mut dyn FnMut(&Progress),
) -> Result<std::path::PathBuf, HubError> {
    let repository = look_up(access, &RepoName::parse("ann/birds").unwrap(), cancel)?;
    let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
    let selection = choose(&repository, &named)?;
    fetch(access, &repository, &selection, cancel, told)
}

fn blob(folder: &TempDir, name: &str) -> std::path::PathBuf {
    folder.path().join("hub/models--ann--birds/blobs").join(name)
}

#[test]
fn a_model_is_fetched_into_the_layout_of_the_hubs_cache() {
    let server = Server::start(|request: &Request| answer(request, &files()));
    let folder = tempfile::tempdir().unwrap();
    let access = access(&server, &folder);
    let mut last = Progress::default();
    let model = get_with(&access, &[], &Cancel::default(), &mut |progress| last = progress.clone()).unwrap();
    let repository = folder.path().join("hub/models--ann--birds");
    assert_eq!(model, repository.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read(model.join("unet/diffusion_pytorch_model.safetensors")).unwrap(), noise(300_000));
    assert_eq!(std::fs::read(model.join("model_index.json")).unwrap(), b"{}");
    assert!(!model.join("README.md").exists(), "not asked for");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    assert!(blob(&folder, &weights()).is_file() && blob(&folder, EMPTY_JSON).is_file());
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(model.join("unet/config.json")).unwrap(),
        Path::new("../../../blobs").join(EMPTY_JSON),
        "as huggingface_hub links it"
    );
    assert_eq!((last.done, last.total, last.number, last.count), (300_004, 300_004, 3, 3));
    // Again: everything is there, so nothing is asked for but the list.
    let asked = server.seen().len();
    get(&access, &[]).unwrap();
    assert_eq!(server.seen().len(), asked + 1);
}

#[test]
fn a_cut_connection_goes_on_where_it_broke_off() {
    let cuts = AtomicUsize::new(0);
    let server = Server::start(move |request: &Request| {
        let mut reply = answer(request, &files());
        if request.path.ends_with("model.safetensors") && cuts.fetch_add(1, Ordering::SeqCst) < 7 {
            reply.cut_after = Some(40_000);
        }
        reply
    });
    let folder = tempfile::tempdir().unwrap();
    let model = get(&access(&server, &folder), &[]).unwrap();
    assert_eq!(std::fs::read(model.join("unet/diffusion_pytorch_model.safetensors")).unwrap(), noise(300_000));
    let ranges: Vec<_> =
        server.seen().iter().filter_map(|request| request.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges.first().map(String::as_str), Some("bytes=40000-"));
    assert_eq!(ranges.len(), 7, "more than are tried in vain, as each brought it further: {ranges:?}");
}

#[test]
fn what_was_left_by_a_kill_is_used() {
    let server = Server::start(|request: &Request| answer(request, &files()));
    let folder = tempfile::tempdir().unwrap();
    let access = access(&server, &folder);
    let partial = blob(&folder, &format!("{}.incomplete", weights()));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, &noise(300_000)[..123_456]).unwrap();
    let repository = look_up(&access, &RepoName::parse("ann/birds").unwrap(), &Cancel::default()).unwrap();
    let selection = choose(&repository, &[]).unwrap();
    assert_eq!(already_there(&access, &repository, &selection), 123_456);
    get(&access, &[]).unwrap();
    let seen = server.seen();
    assert!(seen.iter().any(|request| request.header("range") == Some("bytes=123456-")));
    assert!(!partial.exists());
}

#[test]
fn a_server_that_knows_no_ranges_is_read_from_the_start() {
    let server = Server::start(|request: &Request| {
        let plain = Request { headers: Vec::new(), ..request.clone() };
        answer(&plain, &files())
    });
    let folder = tempfile::tempdir().unwrap();
    let partial = blob(&folder, &format!("{}.incomplete", weights()));
    std::fs::create_dir_all(partial.parent().unwrap()).unwrap();
    std::fs::write(&partial, b"something else").unwrap();
    get(&access(&server, &folder), &[]).unwrap();
}

#[test]
fn damaged_bytes_are_refused_and_removed() {
    let server = Server::start(|request: &Request| {
        let mut reply = answer(request, &files());
        if request.path.ends_with("model.safetensors") {
            reply.body[1_000] ^= 1;
        }
        reply
    });
    let folder = tempfile::tempdir().unwrap();
    let error = get(&access(&server, &folder), &[]).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { file, .. } if file.ends_with("model.safetensors")), "{error}");
    assert!(!blob(&folder, &format!("{}.incomplete", weights())).exists());
    assert!(!blob(&folder, &weights()).exists());
    assert!(!folder.path().join("hub/models--ann--birds/snapshots").exists(), "half a model is none");
}

#[test]
fn git_checksums_are_checked_too() {
    let server =
        Server::start(
            |request: &Request| {
                if request.path.ends_with("config.json") { Reply::ok("[]") } else { answer(request, &files()) }
            },
        );
    let folder = tempfile::tempdir().unwrap();
    let error = get(&access(&server, &folder), &[]).unwrap_err();
    assert!(matches!(&error, HubError::Checksum { expected, .. } if expected == EMPTY_JSON), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let told = |status: u16, code: &'static str, token: bool| {
        let server = Server::start(move |_: &Request| Reply::status(status, code));
        let folder = tempfile::tempdir().unwrap();
        let mut access = access(&server, &folder);
        if token {
            access.settings.token = Token::new("hf_secret");
        }
        let error = get(&access, &[]).unwrap_err().to_string();
        assert!(!error.contains("hf_secret"));
        assert_eq!(server.seen().len(), 1, "not tried again");
        error
    };
    assert!(told(404, "", false).contains("Check the spelling"));
    assert!(told(401, "RepoNotFound", false).contains("a private model needs a token"));
    assert!(told(404, "RevisionNotFound", false).contains("no revision 'main'"));
    assert!(told(401, "", true).contains("did not accept the token"));
    let gated = told(403, "GatedRepo", false);
    assert!(gated.contains("licence") && gated.contains("/ann/birds") && gated.contains("HF_TOKEN"), "{gated}");
    assert!(told(403, "GatedRepo", true).contains("with the account whose token is set here"));
    assert!(told(400, "", false).contains("status 400"));
}

#[test]
fn a_gated_file_says_so_although_the_list_was_open() {
    let server = Server::start(|request: &Request| {
        if request.path.contains("/resolve/") { Reply::status(401, "GatedRepo") } else { answer(request, &files()) }
    });
    let folder = tempfile::tempdir().unwrap();
    let error = get(&access(&server, &folder), &[]).unwrap_err();
    assert!(matches!(error, HubError::Gated { had_token: false, .. }), "{error}");
}

#[test]
fn a_busy_server_is_asked_again_and_a_broken_one_not_for_ever() {
    let asked = AtomicUsize::new(0);
    let server = Server::start(move |request: &Request| match asked.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::status(503, ""),
        1 => Reply { headers: vec![("retry-after".to_owned(), "0".to_owned())], ..Reply::status(429, "") },
        _ => answer(request, &files()),
    });
    let folder = tempfile::tempdir().unwrap();
    get(&access(&server, &folder), &[]).unwrap();
    let broken = Server::start(|_: &Request| Reply::status(500, ""));
    let error = get(&access(&broken, &folder), &[]).unwrap_err();
    assert!(matches!(error, HubError::Status { status: 500, .. }), "{error}");
    assert_eq!(broken.seen().len(), 5);
}

#[test]
fn nobody_there_is_told_with_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let mut access = access(&Server::start(|_: &Request| Reply::ok("")), &folder);
    // A port that was open a moment ago.
    access.patience = Duration::ZERO;
    let error = get(&access, &[]).unwrap_err();
    assert!(matches!(&error, HubError::Network { host, .. } if host == "127.0.0.1"), "{error}");
}

#[test]
fn the_token_stays_with_the_hub() {
    let cdn = Server::start(|request: &Request| Reply::ranged(request, &noise(300_000)));
    let elsewhere = cdn.url();
    let hub = Server::start(move |request: &Request| match request.path.as_str() {
        path if path.ends_with("model.safetensors") => Reply::redirect(&format!("{elsewhere}/signed?key=1")),
        path if path.ends_with("unet/config.json") => Reply::redirect("/cached/config.json"),
        "/cached/config.json" => Reply::ok("{}"),
        _ => answer(request, &files()),
    });
    let folder = tempfile::tempdir().unwrap();
    let mut access = access(&hub, &folder);
    access.settings.token = Token::new("hf_secret");
    get(&access, &[]).unwrap();
    assert_eq!(cdn.seen().len(), 1);
    assert_eq!(cdn.seen()[0].header("authorization"), None);
    let at_hub = hub.seen();
    assert!(at_hub.iter().all(|request| request.header("authorization") == Some("Bearer hf_secret")));
    assert!(at_hub.iter().any(|request| request.path == "/cached/config.json"));
}

#[test]
fn redirects_end() {
    let server = Server::start(|request: &Request| {
        if request.path.starts_with("/api") { answer(request, &files()) } else { Reply::redirect("/round/and/round") }
    });
    let folder = tempfile::tempdir().unwrap();
    let error = get(&access(&server, &folder), &[]).unwrap_err();
    assert!(matches!(error, HubError::Redirect { .. }), "{error}");
    let nowhere = Server::start(|_: &Request| Reply::redirect("file:///etc/passwd"));
    assert!(matches!(get(&access(&nowhere, &folder), &[]).unwrap_err(), HubError::Redirect { .. }));
}

#[test]
fn offline_nothing_is_asked() {
    let server = Server::start(|request: &Request| answer(request, &files()));
    let folder = tempfile::tempdir().unwrap();
    let mut access = access(&server, &folder);
    let repository = look_up(&access, &RepoName::parse("ann/birds").unwrap(), &Cancel::default()).unwrap();
    let selection = choose(&repository, &[]).unwrap();
    let asked = server.seen().len();
    access.settings.offline = true;
    let error = get(&access, &[]).unwrap_err().to_string();
    assert!(error.contains("offline") && error.contains("Settings"), "{error}");
    let error = fetch(&access, &repository, &selection, &Cancel::default(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }));
    access.settings.offline = false;
    for (outer, told) in [(OuterOffline::Variable, "HF_HUB_OFFLINE"), (OuterOffline::Flag, "--offline")] {
        access.outer_offline = Some(outer);
        let error = get(&access, &[]).unwrap_err().to_string();
        assert!(error.contains(told), "{error}");
    }
    assert_eq!(server.seen().len(), asked);
}

#[test]
fn a_full_disk_is_told_before_anything_is_fetched() {
    let server = Server::start(|request: &Request| answer(request, &files()));
    let folder = tempfile::tempdir().unwrap();
    let mut access = access(&server, &folder);
    access.free = |_| Some(1_000);
    let error = get(&access, &[]).unwrap_err();
    assert!(matches!(error, HubError::DiskFull { free: 1_000, .. }), "{error}");
    assert_eq!(server.seen().len(), 1, "the list only");
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    for path in ["../../outside.safetensors", "/etc/outside.safetensors", "unet/../../x.safetensors"] {
        let evil: Files = vec![(path.to_owned(), noise(10))];
        let server = Server::start(move |request: &Request| answer(request, &evil));
        let folder = tempfile::tempdir().unwrap();
        let error = get(&access(&server, &folder), &[]).unwrap_err();
        assert!(matches!(error, HubError::UnsafeFile { .. }), "{path}: {error}");
        assert!(!folder.path().join("hub").exists());
    }
}

#[test]
fn a_checksum_or_commit_that_is_no_checksum_is_refused() {
    for (from, to) in [(COMMIT, "../../../../elsewhere"), (EMPTY_JSON, "../x")] {
        let server = Server::start(move |_: &Request| Reply::ok(server::listing(&files()).replace(from, to)));
        let folder = tempfile::tempdir().unwrap();
        let error = get(&access(&server, &folder), &[]).unwrap_err();
        assert!(matches!(error, HubError::Answer { .. }), "{to}: {error}");
    }
}

#[test]
fn answers_that_are_too_long_or_no_answers_are_refused() {
    let long = Server::start(|_: &Request| Reply::ok(vec![b' '; 17 << 20]));
    let folder = tempfile::tempdir().unwrap();
    let error = get(&access(&long, &folder), &[]).unwrap_err();
    assert!(matches!(&error, HubError::Answer { problem, .. } if problem.contains("more than 16 MB")), "{error}");
    let page = Server::start(|_: &Request| Reply::ok("<html>Log in to the hotel</html>"));
    let error = get(&access(&page, &folder), &[]).unwrap_err();
    assert!(matches!(error, HubError::Answer { .. }), "{error}");
}

#[test]
fn cancelling_ends_even_a_silent_connection_and_keeps_what_came() {
    let server = Server::start(|request: &Request| {
        let mut reply = answer(request, &files());
        if request.path.ends_with("model.safetensors") {
            (reply.cut_after, reply.then_silent) = (Some(50_000), true);
        }
        reply
    });
    let folder = tempfile::tempdir().unwrap();
    let access = access(&server, &folder);
    let cancel = Cancel::default();
    let (arrived, waiting) = std::sync::mpsc::sync_channel(1_000);
    let error = std::thread::scope(|scope| {
        let job = scope.spawn(|| {
            get_with(&access, &[], &cancel, &mut |progress| {
                arrived.send(progress.done).unwrap();
            })
        });
        while waiting.recv().unwrap() < 50_000 {}
        cancel.cancel();
        job.join().unwrap().unwrap_err()
    });
    assert!(matches!(error, HubError::Cancelled), "{error}");
    let partial = blob(&folder, &format!("{}.incomplete", weights()));
    assert_eq!(std::fs::metadata(partial).unwrap().len(), 50_000);
}

#[test]
fn a_file_that_another_program_fetches_is_left_to_it() {
    let server = Server::start(|request: &Request| answer(request, &files()));
    let folder = tempfile::tempdir().unwrap();
    let access = access(&server, &folder);
    let locks = folder.path().join("hub/.locks/models--ann--birds");
    std::fs::create_dir_all(&locks).unwrap();
    let lock = std::fs::File::create(locks.join(format!("{}.lock", weights()))).unwrap();
    lock.lock().unwrap();
    assert!(matches!(get(&access, &[]).unwrap_err(), HubError::Busy { .. }));
    lock.unlock().unwrap();
    get(&access, &[]).unwrap();
}

#[test]
fn a_single_file_is_given_as_the_model() {
    let mut several = files();
    several.push(("birds v2.safetensors".to_owned(), noise(10)));
    let listed = several.clone();
    let server = Server::start(move |request: &Request| {
        let plain = Request { path: request.path.replace("%20", " "), ..request.clone() };
        answer(&plain, &listed)
    });
    let folder = tempfile::tempdir().unwrap();
    let access = access(&server, &folder);
    let model = get(&access, &["birds v2.safetensors"]).unwrap();
    assert!(model.ends_with("birds v2.safetensors"));
    assert_eq!(std::fs::read(model).unwrap(), noise(10));
    let error = get(&access, &["birds v3.safetensors"]).unwrap_err().to_string();
    assert!(error.contains("birds v2.safetensors"), "{error}");
}
