//! Loading models beside what serves: fetching that is disturbed, a cache that servers share, memory that is too small.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use aiops_model_repository::{Digest, Manifest, ManifestFile};
use base64::Engine as _;
use serde_json::{Value, json};

use crate::graph;
use crate::object_store::environment;
use crate::object_store::minio::Minio;
use crate::object_store::minio::proxy::Proxy;
use crate::support::{Repository, Server, client, eventually, models, program};

const EXPLICIT: &str = "--model-control-mode=explicit";
const WEIGHTS_BYTES: usize = 48 << 20;

/// Publishes `dense_1` with so many bytes beside it; answers its digest.
pub async fn publish(minio: &Minio, model: &str, version: u64, bytes: usize) -> Digest {
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(models().join("dense_1.onnx"), folder.path().join("model.onnx")).unwrap();
    let seed = version as usize;
    let weights: Vec<u8> = (0..bytes)
        .map(|index| (index * 31 + seed + index / 4096) as u8)
        .collect();
    std::fs::write(folder.path().join("weights.bin"), weights).unwrap();
    let mut files = Vec::new();
    for path in ["model.onnx", "weights.bin"] {
        files.push(ManifestFile::describe(folder.path(), path).await.unwrap());
    }
    let digest = Digest::of_files(&files);
    let manifest = json!({"formatVersion": 1, "model": model, "version": version, "digest": digest, "files": files,
                          "inputs": [], "outputs": []});
    let manifest = Manifest::parse(manifest.to_string().as_bytes(), "here").unwrap();
    let location = "s3://models/team".parse().unwrap();
    let repository =
        aiops_model_repository::Repository::open_with(location, Some(&minio.settings())).unwrap();
    repository.publish(&manifest, folder.path()).await.unwrap();
    digest
}

pub fn through(minio: &Minio, proxy: &Proxy) -> Vec<(&'static str, String)> {
    let mut variables = environment(minio);
    for (name, value) in &mut variables {
        if *name == "AWS_ENDPOINT_URL_S3" {
            *value = proxy.endpoint();
        }
    }
    variables
}

struct Plan(tempfile::NamedTempFile);

impl Plan {
    fn of(version: u64, digest: &Digest) -> Self {
        let plan = Self(tempfile::NamedTempFile::new().unwrap());
        plan.change(version, digest);
        plan
    }

    fn change(&self, version: u64, digest: &Digest) {
        let versions = json!([{"version": version, "digest": digest}]);
        let models = json!([{"name": "m", "defaultVersion": version, "versions": versions}]);
        let text = json!({"formatVersion": 1, "models": models}).to_string();
        std::fs::write(self.0.path(), text).unwrap();
    }

    fn server(&self, cache: &Path, environment: &[(&'static str, String)]) -> Server {
        let plan = self.0.path().to_str().unwrap();
        let cache = cache.to_str().unwrap();
        let arguments = ["--serving-plan", plan, "--model-cache", cache];
        Server::start_with_environment("s3://models/team", &arguments, environment)
    }
}

fn entries(cache: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(cache).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".locks").collect()
}

/// Bytes of an unfinished fetch that are noted as written. What a proxy has sent may be with the kernel yet.
fn noted_bytes(cache: &Path) -> u64 {
    let folders = entries(cache)
        .into_iter()
        .map(|name| cache.join(name).join("parts"));
    let journals = folders.flat_map(|parts| std::fs::read_dir(parts).into_iter().flatten());
    journals
        .map(|journal| {
            let text = std::fs::read_to_string(journal.unwrap().path()).unwrap_or_default();
            let notes = text.lines().skip(1).filter_map(|line| line.split_once(' '));
            let parts: BTreeMap<_, _> = notes.collect();
            parts
                .values()
                .filter_map(|bytes| bytes.parse::<u64>().ok())
                .sum::<u64>()
        })
        .sum()
}

async fn wait_until_most_is_noted(cache: &Path) {
    eventually("most of what was sent to be written", || async {
        noted_bytes(cache) > WEIGHTS_BYTES as u64 / 3
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_while_it_fetches_goes_on_where_it_was() {
    let minio = Minio::start().await;
    let digest = publish(&minio, "m", 1, WEIGHTS_BYTES).await;
    let proxy = Proxy::before(&minio.endpoint()).await;
    let (plan, cache) = (Plan::of(1, &digest), tempfile::tempdir().unwrap());
    proxy.stall_after(WEIGHTS_BYTES as u64 * 2 / 3);
    let mut first = plan.server(cache.path(), &through(&minio, &proxy));
    proxy.wait_until_stalled().await;
    wait_until_most_is_noted(cache.path()).await;
    first.signal("KILL");
    first.end().await;
    proxy.heal();
    let before = proxy.served();
    let second = plan.server(cache.path(), &through(&minio, &proxy));
    second.wait_until_ready().await;
    let again = proxy.served() - before;
    assert!(
        again < WEIGHTS_BYTES as u64 * 7 / 10,
        "{again} of {WEIGHTS_BYTES} bytes were served again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_share_a_cache_fetch_a_version_once_and_leave_each_other_what_they_serve() {
    let minio = Minio::start().await;
    let digest = publish(&minio, "m", 1, WEIGHTS_BYTES).await;
    let small = publish(&minio, "m", 2, 1000).await;
    let proxy = Proxy::before(&minio.endpoint()).await;
    let cache = tempfile::tempdir().unwrap();
    let (plan_one, plan_two) = (Plan::of(1, &digest), Plan::of(1, &digest));
    proxy.stall_after(WEIGHTS_BYTES as u64 / 2);
    let mut dying = plan_one.server(cache.path(), &through(&minio, &proxy));
    proxy.wait_until_stalled().await;
    let other = Proxy::before(&minio.endpoint()).await;
    let one = plan_one.server(cache.path(), &through(&minio, &other));
    let two = plan_two.server(cache.path(), &through(&minio, &other));
    eventually("the others to wait", || async {
        one.log().contains("another server fetches") && two.log().contains("another server fetches")
    })
    .await;
    wait_until_most_is_noted(cache.path()).await;
    dying.signal("KILL");
    dying.end().await;
    one.wait_until_ready().await;
    two.wait_until_ready().await;
    let served = proxy.served() + other.served();
    assert!(
        served < WEIGHTS_BYTES as u64 * 4 / 3,
        "{served} bytes were served for {WEIGHTS_BYTES}"
    );

    let folder = |digest: &Digest| digest.to_string().replace(':', "-");
    plan_one.change(2, &small);
    eventually("the first to serve the other version", || async {
        one.plan().await["state"] == "Applied" && entries(cache.path()).contains(&folder(&small))
    })
    .await;
    eventually("the first to have unloaded", || async {
        one.log().contains("is unloaded")
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        entries(cache.path()).contains(&folder(&digest)),
        "the second serves it"
    );
    plan_two.change(2, &small);
    eventually("nobody to need it", || async {
        entries(cache.path()) == BTreeSet::from([folder(&small)])
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_too_small_is_named_and_nothing_of_the_fetch_stays_on_it() {
    let minio = Minio::start().await;
    publish(&minio, "m", 1, 8 << 20).await;
    let cache = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        // No file may be larger than a few blocks; the signal that says so is ignored, so that the write fails.
        .args(["-c", "trap '' XFSZ; ulimit -f 1024; exec \"$0\" \"$@\""])
        .arg(program().get_program())
        .args([
            "--model-repository=s3://models/team",
            "--http-port=0",
            "--grpc-port=0",
        ])
        .args(["--rest-port=0", "--metrics-port=0", "--model-cache"])
        .arg(cache.path())
        .envs(environment(&minio))
        .stdout(Stdio::null())
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    for part in [
        "has no room",
        "bytes are needed",
        cache.path().to_str().unwrap(),
        "--model-cache",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(entries(cache.path()), BTreeSet::new());
}

pub async fn load(server: &Server, model: &str, body: &Value) -> (u16, String) {
    let url = format!("{}/v2/repository/models/{model}/load", server.http);
    let answer = client().post(url).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn status_of(server: &Server, model: &str) -> u16 {
    let request =
        json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]});
    server.infer(model, &request).await.0
}

#[tokio::test]
async fn a_model_that_does_not_fit_the_memory_is_refused_and_what_serves_goes_on() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    let padding = std::fs::File::create(repository.path().join("dense_2/1/weights.bin")).unwrap();
    padding.set_len(200 << 20).unwrap();
    let limited = [EXPLICIT, "--load-model=dense_1", "--max-model-memory=536870912"];
    let server = Server::start(&repository.uri(), &limited).await;
    let (status, text) = load(&server, "dense_2", &json!({})).await;
    assert_eq!(status, 503, "{text}");
    for part in [
        "load failed for model 'dense_2': version 1 is at UNAVAILABLE state: it does not fit the memory",
        "needs about 509 MiB (its files have 201)",
        "of 512 MiB",
        "--max-model-memory",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(status_of(&server, "dense_1").await, 200);
    assert!(server.is_ready().await);
    let index = format!("{}/v2/repository/index", server.http);
    let index: Value = client().post(index).send().await.unwrap().json().await.unwrap();
    let reason = index[1]["reason"].as_str().unwrap();
    assert!(reason.contains("it does not fit the memory"), "{index}");
    let unchecked = [&limited[..], &["--model-load-memory-check=false"]].concat();
    let server = Server::start(&repository.uri(), &unchecked).await;
    assert_eq!(load(&server, "dense_2", &json!({})).await, (200, String::new()));
    assert_eq!(status_of(&server, "dense_2").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_takes_long_holds_up_no_other_model() {
    let minio = Minio::start().await;
    publish(&minio, "m", 1, WEIGHTS_BYTES).await;
    let proxy = Proxy::before(&minio.endpoint()).await;
    let cache = tempfile::tempdir().unwrap();
    let cache_argument = format!("--model-cache={}", cache.path().display());
    let arguments = [EXPLICIT, "--model-load-thread-count=2", &cache_argument];
    let server = Server::start_with_environment("s3://models/team", &arguments, &through(&minio, &proxy));
    server.wait_until_ready().await;
    proxy.stall_after(1 << 20);
    let url = format!("{}/v2/repository/models/m/load", server.http);
    let loading = tokio::spawn(client().post(url).json(&json!({})).send());
    proxy.wait_until_stalled().await;
    let model = std::fs::read(models().join("dense_2.onnx")).unwrap();
    let given = json!({"parameters": {
        "config": "{}",
        "file:1/model.onnx": base64::engine::general_purpose::STANDARD.encode(model),
    }});
    assert_eq!(load(&server, "other", &given).await, (200, String::new()));
    assert_eq!(status_of(&server, "other").await, 200);
    assert!(!loading.is_finished());
    proxy.heal();
    assert_eq!(loading.await.unwrap().unwrap().status(), 200);
    assert_eq!(status_of(&server, "m").await, 200);
}

#[tokio::test]
async fn a_failed_load_is_tried_again_as_often_as_asked_for() {
    let repository = Repository::of(&["dense_1"]);
    std::fs::write(repository.path().join("dense_1/1/model.onnx"), "nonsense").unwrap();
    let server = Server::start(&repository.uri(), &[EXPLICIT, "--model-load-retry-count=1"]).await;
    assert_eq!(load(&server, "dense_1", &json!({})).await.0, 400);
    assert_eq!(server.log().matches("--model-load-retry-count").count(), 1);
}

const SIDE: usize = 3600; // 50 MiB of weights

#[tokio::test]
async fn memory_is_given_back_when_models_are_unloaded() {
    let repository = Repository::new();
    graph::add_matrix(&repository, "large", SIDE);
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    let mut resident = Vec::new();
    for _ in 0..30 {
        assert_eq!(load(&server, "large", &json!({})).await.0, 200);
        let loaded = server.memory("VmRSS");
        let url = format!("{}/v2/repository/models/large/unload", server.http);
        assert_eq!(client().post(url).send().await.unwrap().status(), 200);
        eventually("the model to be unloaded", || async {
            let index = format!("{}/v2/repository/index", server.http);
            let index: Value = client().post(index).send().await.unwrap().json().await.unwrap();
            index[0]["reason"] == "unloaded"
        })
        .await;
        resident.push((loaded >> 20, server.memory("VmRSS") >> 20));
    }
    println!("MiB loaded and unloaded: {resident:?}");
    // The first loads start threads, and the allocator has a place for each.
    let (early, last) = (resident[14], resident[29]);
    assert!(last.0 >= last.1 + 40, "{resident:?}");
    assert!(last.1 <= early.1 + early.1 / 20, "{resident:?}");
}

#[tokio::test]
#[ignore = "measures the factors of docs/model-loading.md"]
async fn memory_that_opening_takes() {
    for side in [3600, 7200] {
        for instances in [1, 2, 4] {
            let repository = Repository::new();
            graph::add_matrix(&repository, "large", side);
            repository.config(
                "large",
                &format!("max_batch_size: 4\ninstance_group [{{ count: {instances} }}]"),
            );
            let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
            let before = server.memory("VmRSS");
            assert_eq!(load(&server, "large", &json!({})).await.0, 200);
            let megabytes = |bytes: u64| bytes as f64 / (4 * side * side) as f64;
            println!(
                "{} MiB, {instances} instances: peak {:.2} and then {:.2} times the file",
                (4 * side * side) >> 20,
                megabytes(server.memory("VmHWM") - before),
                megabytes(server.memory("VmRSS") - before),
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_ends_in_order_leaves_no_more_in_the_cache_than_may_stay_there() {
    let minio = Minio::start().await;
    let digest = publish(&minio, "m", 1, 1000).await;
    let (plan, kept, emptied) = (
        Plan::of(1, &digest),
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    for (cache, size) in [
        (kept.path(), "--model-cache-size=1000000"),
        (emptied.path(), "--model-cache-size=0"),
    ] {
        let plan = plan.0.path().to_str().unwrap();
        let folder = cache.to_str().unwrap();
        let arguments = ["--serving-plan", plan, "--model-cache", folder, size];
        let mut server = Server::start_with_environment("s3://models/team", &arguments, &environment(&minio));
        server.wait_until_ready().await;
        server.signal("TERM");
        assert_eq!(server.end().await.code(), Some(0), "{}", server.log());
    }
    assert_eq!(entries(kept.path()).len(), 1);
    assert_eq!(entries(emptied.path()), BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_hangs_holds_up_no_unload_of_what_serves() {
    let minio = Minio::start().await;
    publish(&minio, "m", 1, 1000).await;
    let proxy = Proxy::before(&minio.endpoint()).await;
    let cache = tempfile::tempdir().unwrap();
    let folder = cache.path().to_str().unwrap();
    let arguments = [EXPLICIT, "--load-model=m", "--model-cache", folder];
    let server = Server::start_with_environment("s3://models/team", &arguments, &through(&minio, &proxy));
    server.wait_until_ready().await;
    proxy.stall_after(0);
    let call = async |what: &str| {
        let url = format!("{}/v2/repository/models/m/{what}", server.http);
        let answer = client().post(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let start = std::time::Instant::now();
    let unload = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let unloaded = call("unload").await;
        (unloaded.0, start.elapsed())
    };
    let ((load_status, why), (unload_status, took)) = tokio::join!(call("load"), unload);
    assert_eq!(
        (unload_status, took < Duration::from_secs(8)),
        (200, true),
        "{took:?}"
    );
    assert!(load_status == 503 && why.contains("was unloaded while"), "{why}");
    let answer = client()
        .get(format!("{}/v2/models/m/ready", server.http))
        .send()
        .await;
    assert_ne!(answer.unwrap().status(), 200);
}
