use super::*;

fn with(known: &[(&str, &str)], settings: Option<PathBuf>) -> Access {
    let known: Vec<_> = known.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Access::read(settings, &|name| known.iter().find(|(key, _)| key == name).map(|(_, value)| value.into()))
}

#[test]
fn the_environment_is_heard() {
    let plain = with(&[("HOME", "/home/ann")], None);
    assert_eq!(plain.endpoint, ENDPOINT);
    assert_eq!(plain.cache, Some("/home/ann/.cache/huggingface/hub".into()));
    assert!(!plain.is_offline() && plain.token().is_none());
    let set = with(
        &[
            ("HF_ENDPOINT", "http://mirror.example/"),
            ("HF_HOME", "/big"),
            ("HF_TOKEN", " abc\n"),
            ("HF_HUB_OFFLINE", "ON"),
        ],
        None,
    );
    assert_eq!(set.endpoint, "http://mirror.example");
    assert_eq!(set.cache, Some("/big/hub".into()));
    assert_eq!(set.token(), Some(&Token::new("abc")));
    assert!(set.is_offline());
    assert_eq!(with(&[], None).cache, None);
    let company = with(&[("SSL_CERT_FILE", "/etc/company.pem"), ("SSL_CERT_DIR", "/certs")], None);
    assert_eq!(company.trust, Trust { file: Some("/etc/company.pem".into()), folders: vec!["/certs".into()] });
    assert_eq!(plain.trust, Trust::default());
}

#[test]
fn the_login_of_the_hubs_own_program_counts_and_what_is_set_here_counts_more() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("token"), "theirs\n").unwrap();
    let home = folder.path().to_str().unwrap();
    let mut access = with(&[("HF_HOME", home)], Some(folder.path().join("deep/hub.json")));
    assert_eq!(access.token(), Some(&Token::new("theirs")));
    access.settings.token = Token::new("ours");
    assert_eq!(access.token(), Some(&Token::new("ours")));
    access.save().unwrap();
    access.save().unwrap();
    let again = with(&[("HF_HOME", home)], Some(folder.path().join("deep/hub.json")));
    assert_eq!(again.settings, access.settings);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join("deep/hub.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn settings_that_cannot_be_read_mean_offline_and_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub.json");
    fs::write(&file, "{").unwrap();
    let access = with(&[], Some(file));
    assert!(access.is_offline());
    assert!(access.problem.unwrap().contains("hub.json"));
}

#[test]
fn a_token_is_never_shown() {
    let access = with(&[("HF_TOKEN", "hf_secret")], None);
    assert!(!format!("{access:?}").contains("hf_secret"));
}

#[test]
fn the_disk_tells_what_is_free() {
    let folder = tempfile::tempdir().unwrap();
    // Some containers name no disks; then there is nothing to check.
    if let Some(free) = free_bytes(&folder.path().join("not/there/yet")) {
        assert!(free > 0);
    }
}
