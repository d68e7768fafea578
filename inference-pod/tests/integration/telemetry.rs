//! ONNX Runtime's builds for Linux report to Microsoft, unless they are told not to before they are loaded.

use crate::support::{Repository, Server};

#[tokio::test]
async fn the_runtime_tells_its_makers_nothing() {
    let repository = Repository::of(&["dense_1"]);
    let home = tempfile::tempdir().unwrap();
    // The library is found as always; only what it keeps for itself goes to the folder.
    let real = std::env::var("HOME").unwrap_or_default();
    let mut environment = vec![("HOME", home.path().display().to_string())];
    if std::env::var_os("ORT_DYLIB_PATH").is_none() {
        environment.push(("XDG_CACHE_HOME", format!("{real}/.cache")));
    }
    let server = Server::start_with_environment(&repository.uri(), &[], &environment);
    server.wait_until_ready().await;
    // Where it reports, it makes an identity of the machine first, and a database of what there is to send.
    let kept: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(kept.is_empty(), "{kept:?}");
    assert!(!server.log().contains("telemetry"), "{}", server.log());
}
