//! Models whose store stalls, resets, closes or lies while they are loaded by call.

use std::path::Path;

use crate::loading::{load, publish, through};
use crate::object_store::minio::Minio;
use crate::object_store::minio::proxy::{Fault, Proxy};
use crate::support::Server;
use serde_json::json;

use super::Table;

const BYTES: usize = 400_000;
const EXPLICIT: &str = "--model-control-mode=explicit";

/// A server in front of a store that a proxy spoils; `dense_1` serves, `m` is to be loaded.
struct World {
    _minio: Minio,
    proxy: Proxy,
    cache: tempfile::TempDir,
    server: Server,
}

impl World {
    async fn start() -> Self {
        let minio = Minio::start().await;
        publish(&minio, "dense_1", 1, 1000).await;
        publish(&minio, "m", 1, BYTES).await;
        let proxy = Proxy::before(&minio.endpoint()).await;
        let cache = tempfile::tempdir().unwrap();
        let folder = format!("--model-cache={}", cache.path().display());
        let arguments = [EXPLICIT, "--load-model=dense_1", &folder];
        let server = Server::start_with_environment("s3://models/team", &arguments, &through(&minio, &proxy));
        server.wait_until_ready().await;
        Self {
            _minio: minio,
            proxy,
            cache,
            server,
        }
    }

    /// What a load answers while the store is spoilt, and what stays of it in the cache; then a load works.
    async fn row(&self, name: &str, faults: &[Fault], expected: (u16, &str), stays: usize) {
        let before = entries(self.cache.path());
        self.proxy.spoil(faults);
        let mut table = Table::of(&self.server);
        let got = load(&self.server, "m", &json!({})).await;
        let (status, says) = expected;
        table
            .row(
                name,
                (got.0, without_damaged_digest(&error_of(&got.1))),
                (status, says),
            )
            .await;
        self.proxy.heal();
        self.proxy.forget();
        let left = entries(self.cache.path()).len() - before.len();
        let more = format!(
            "{left} entries stay in the cache: {:?}",
            entries(self.cache.path())
        );
        if left != stays {
            table.wrong.push(format!("{name}: {more}"));
        }
        let again = load(&self.server, "m", &json!({})).await;
        table.row("then", again, (200, "")).await;
        table.end();
    }
}

/// Which byte is another depends on how the network cuts the answer.
fn without_damaged_digest(message: &str) -> String {
    match (
        message.split_once("has digest "),
        message.split_once(", expected "),
    ) {
        (Some((before, _)), Some((_, after))) => format!("{before}has digest …, expected {after}"),
        _ => message.to_owned(),
    }
}

fn error_of(text: &str) -> String {
    let body: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    body["error"].as_str().unwrap_or(text).to_owned()
}

fn entries(cache: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(cache).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".locks").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_is_told_on() {
    let world = World::start().await;
    world.row("a lie", &[Fault::Lie], (400, "load failed for model 'm': version 1 is at UNAVAILABLE state: s3://models/team/m/1/weights.bin has digest …, expected 99b6f72c36dd8193d40ed02a178558312a29b91142914802a5952aa39a48f111; it was damaged or replaced, publish it again;"), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_breaks_off_again_and_again_is_waited_for_as_long_as_something_comes() {
    let world = World::start().await;
    world
        .row(
            "breaks",
            &[Fault::Reset, Fault::Close, Fault::Reset, Fault::Stall],
            (200, ""),
            1,
        )
        .await;
}
