//! Fetching from a real MinIO while the network, the store or other processes get in the way.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up its world should stop there"
)]

mod minio;

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aiops_model_repository::{
    Cache, Digest, FetchSettings, LocalVersion, Manifest, ManifestFile, Repository, RepositoryError,
};
use minio::Minio;
use minio::proxy::{Fault, Proxy};

const PART_BYTES: u64 = 1 << 20;
const MODEL_BYTES: usize = 12 << 20;

struct World {
    minio: Minio,
    proxy: Proxy,
    cache: tempfile::TempDir,
    manifest: Manifest,
    model: Vec<u8>,
}

/// Bytes that are different everywhere, so that a part in the wrong place is noticed.
fn content(seed: u64) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let mut bytes = Vec::with_capacity(MODEL_BYTES);
    while bytes.len() < MODEL_BYTES {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}

async fn publish(minio: &Minio, version: u64, model: &[u8]) -> Manifest {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), model).unwrap();
    std::fs::create_dir(folder.path().join("labels")).unwrap();
    std::fs::write(folder.path().join("labels/names.txt"), "a\nb\n").unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let mut files = Vec::new();
    for path in ["model.onnx", "labels/names.txt", "empty"] {
        files.push(ManifestFile::describe(folder.path(), path).await.unwrap());
    }
    let manifest = Manifest {
        format_version: 1,
        model: "m".into(),
        version,
        digest: Digest::of_files(&files),
        files,
        inputs: vec![],
        outputs: vec![],
        task: None,
        feature_names: vec![],
        class_labels: vec![],
        class_values: vec![],
        opset: BTreeMap::new(),
        ir_version: 8,
        parity: None,
        source: None,
    };
    let repository = Repository::open_with("s3://models".parse().unwrap(), Some(&minio.settings())).unwrap();
    repository.publish(&manifest, folder.path()).await.unwrap();
    manifest
}

impl World {
    async fn new() -> Self {
        let minio = Minio::start().await;
        let proxy = Proxy::before(&minio.endpoint()).await;
        let model = content(7);
        let manifest = publish(&minio, 1, &model).await;
        Self {
            minio,
            proxy,
            cache: tempfile::tempdir().unwrap(),
            manifest,
            model,
        }
    }

    fn repository(&self) -> Repository {
        let settings = self.minio.settings_through(&self.proxy);
        let repository = Repository::open_with("s3://models".parse().unwrap(), Some(&settings)).unwrap();
        repository.with_fetch_settings(FetchSettings {
            part_bytes: PART_BYTES,
            parallel_parts: 4,
            stall_timeout: Duration::from_millis(700),
        })
    }

    async fn fetch(&self) -> Result<LocalVersion, RepositoryError> {
        self.repository()
            .fetch("m", 1, Some(&self.manifest.digest), self.cache.path())
            .await
    }

    fn start(&self) -> tokio::task::JoinHandle<Result<LocalVersion, RepositoryError>> {
        let (repository, cache) = (self.repository(), self.cache.path().to_owned());
        tokio::spawn(async move { repository.fetch("m", 1, None, cache.as_path()).await })
    }

    fn check(&self, local: &LocalVersion) {
        assert!(std::fs::read(local.folder.join("model.onnx")).unwrap() == self.model);
        assert_eq!(
            std::fs::read(local.folder.join("labels/names.txt")).unwrap(),
            b"a\nb\n"
        );
        assert_eq!(std::fs::read(local.folder.join("empty")).unwrap(), b"");
        assert_eq!(self.left(), [local.folder.file_name().unwrap().to_str().unwrap()]);
    }

    /// What is in the cache besides locks.
    fn left(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.cache.path()).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".locks")
            .collect()
    }

    fn incoming_model(&self) -> PathBuf {
        let incoming = format!(".incoming-{}", self.manifest.digest.folder_name());
        self.cache.path().join(incoming).join("files/model.onnx")
    }

    /// A fetch that ends when so many bytes were served; then the store is well again.
    async fn break_off_after(&self, bytes: u64) {
        self.proxy.stall_after(bytes);
        let fetching = self.start();
        self.proxy.wait_until_stalled().await;
        fetching.abort();
        let _ = fetching.await;
        self.proxy.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stalls_resets_and_early_ends_cost_only_what_was_on_its_way() {
    let world = World::new().await;
    world.proxy.spoil(&[
        Fault::Stall,
        Fault::Reset,
        Fault::Close,
        Fault::Reset,
        Fault::Stall,
        Fault::Close,
    ]);
    let local = world.fetch().await.unwrap();
    world.check(&local);
    assert_eq!(world.proxy.unused_faults(), 0);
    let served = world.proxy.served() as usize;
    assert!(
        served < MODEL_BYTES + MODEL_BYTES / 2,
        "{served} bytes were served"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_about_the_content_is_told_on_and_nothing_of_it_stays() {
    let world = World::new().await;
    world.proxy.spoil(&[Fault::Lie]);
    let error = world.fetch().await.unwrap_err();
    assert!(matches!(error, RepositoryError::DigestMismatch { .. }), "{error}");
    assert!(
        error.to_string().contains("s3://models/m/1/model.onnx"),
        "{error}"
    );
    assert!(world.left().is_empty(), "{:?}", world.left());
    world.check(&world.fetch().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_replaced_while_it_is_fetched_is_an_error_and_not_a_mixture() {
    let world = World::new().await;
    world.proxy.stall_after(3 << 20);
    let fetching = world.start();
    world.proxy.wait_until_stalled().await;
    let put = world
        .minio
        .client()
        .put_object()
        .bucket("models")
        .key("m/1/model.onnx");
    put.body(content(8).into()).send().await.unwrap();
    world.proxy.heal();
    let error = fetching.await.unwrap().unwrap_err();
    assert!(matches!(error, RepositoryError::Replaced { .. }), "{error}");
    assert!(world.left().is_empty(), "{:?}", world.left());
    let error = world.fetch().await.unwrap_err();
    assert!(matches!(error, RepositoryError::DigestMismatch { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_was_broken_off_goes_on_where_it_was() {
    let world = World::new().await;
    world.break_off_after(8 << 20).await;
    let before = world.proxy.served();
    let local = world.fetch().await.unwrap();
    world.check(&local);
    let served = world.proxy.served() - before;
    assert!(
        served < 9 << 20 && local.fetched_bytes < 9 << 20,
        "{served} bytes were served again, {} fetched",
        local.fetched_bytes
    );
    assert!(local.fetched_bytes >= 4 << 20, "{}", local.fetched_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_while_nobody_fetched_is_fetched_anew() {
    let world = World::new().await;
    world.break_off_after(8 << 20).await;
    let file = std::fs::File::options()
        .write(true)
        .open(world.incoming_model())
        .unwrap();
    for part in 0..12 {
        file.write_all_at(&[0; 64], part * PART_BYTES).unwrap();
    }
    world.check(&world.fetch().await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_share_a_cache_fetch_once_and_one_takes_over_when_the_other_is_gone() {
    let world = World::new().await;
    let before = world.proxy.served();
    let (one, two) = tokio::join!(world.fetch(), world.fetch());
    let (one, two) = (one.unwrap(), two.unwrap());
    world.check(&one);
    assert_eq!(one.fetched_bytes.min(two.fetched_bytes), 0, "one of them waited");
    let served = (world.proxy.served() - before) as usize;
    assert!(served < MODEL_BYTES + (1 << 20), "{served} bytes were served");

    std::fs::remove_dir_all(world.cache.path()).unwrap();
    world.proxy.stall_after(6 << 20);
    let first = world.start();
    world.proxy.wait_until_stalled().await;
    let second = world.start();
    tokio::time::sleep(Duration::from_millis(300)).await;
    first.abort();
    let _ = first.await;
    world.proxy.heal();
    let local = second.await.unwrap().unwrap();
    world.check(&local);
    assert!(
        (local.fetched_bytes as usize) < MODEL_BYTES,
        "it went on where the other was"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_entry_is_replaced_while_another_has_it_open() {
    let world = World::new().await;
    let first = world.fetch().await.unwrap();
    let open = std::fs::File::open(first.folder.join("model.onnx")).unwrap();
    std::fs::write(first.folder.join("labels/names.txt"), "a\nc\n").unwrap();
    let second = world.fetch().await.unwrap();
    world.check(&second);
    let mut bytes = vec![0; 16];
    open.read_exact_at(&mut bytes, MODEL_BYTES as u64 - 16).unwrap();
    assert_eq!(bytes, world.model[MODEL_BYTES - 16..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn cleaning_removes_the_least_recently_used_but_never_what_is_in_use() {
    let world = World::new().await;
    let repository = world.repository();
    let cache = Cache::new(world.cache.path()).with_capacity(30 << 20);
    let mut held = Vec::new();
    for version in 2..=4 {
        publish(&world.minio, version, &content(version)).await;
        held.push(repository.fetch("m", version, None, &cache).await.unwrap());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let there = |local: &LocalVersion| local.folder.join("model.onnx").exists();
    cache.clean(HashSet::new()).await;
    assert!(
        held.iter().all(there),
        "all are in use, though together they are too large"
    );
    let (two, mut three, mut four) = (held.remove(0), held.remove(0), held.remove(0));
    three.lease = None;
    tokio::time::sleep(Duration::from_millis(20)).await;
    four.lease = None;
    cache.clean(HashSet::new()).await;
    assert!(there(&two) && !there(&three) && there(&four));
    let small = Cache::new(world.cache.path());
    let four_is_wanted = HashSet::from([four.folder.file_name().unwrap().to_owned()]);
    small.clean(four_is_wanted).await;
    assert!(there(&two) && there(&four));
    small.clean(HashSet::new()).await;
    assert!(there(&two) && !there(&four));
    drop(two);
    small.clean(HashSet::new()).await;
    assert!(world.left().is_empty(), "{:?}", world.left());
    let locks = std::fs::read_dir(world.cache.path().join(".locks"))
        .unwrap()
        .count();
    assert_eq!(locks, 0, "locks go with what they guard");
}

#[tokio::test(flavor = "multi_thread")]
async fn room_is_made_for_what_comes() {
    let world = World::new().await;
    publish(&world.minio, 2, &content(2)).await;
    let cache = Cache::new(world.cache.path()).with_capacity(20 << 20);
    let fetch = async |version| {
        world
            .repository()
            .fetch("m", version, None, &cache)
            .await
            .unwrap()
    };
    let first = fetch(1).await;
    drop(fetch(2).await);
    assert!(first.folder.exists(), "it is in use");
    drop(fetch(2).await);
    let LocalVersion { folder, lease, .. } = first;
    drop(lease);
    publish(&world.minio, 3, &content(3)).await;
    drop(fetch(3).await);
    assert!(!folder.exists() && world.left().len() == 1, "{:?}", world.left());
}

async fn put(world: &World, key: &str, bytes: Vec<u8>) {
    let put = world.minio.client().put_object().bucket("models").key(key);
    put.body(bytes.into()).send().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_without_a_manifest_is_cached_by_what_the_store_lists() {
    let world = World::new().await;
    put(&world, "plain/1/model.onnx", content(1)).await;
    put(&world, "plain/1/deep/weights.bin", vec![1, 2, 3]).await;
    let fetch = async || {
        world
            .repository()
            .fetch("plain", 1, None, world.cache.path())
            .await
            .unwrap()
    };
    let cold = fetch().await;
    assert_eq!(cold.fetched_bytes as usize, MODEL_BYTES + 3);
    let warm = fetch().await;
    assert_eq!(
        (warm.fetched_bytes, &warm.folder, &warm.digest),
        (0, &cold.folder, &cold.digest)
    );
    assert_eq!(read(&warm.folder, "deep/weights.bin"), [1, 2, 3]);
    put(&world, "plain/1/deep/weights.bin", vec![4, 5, 6]).await;
    let replaced = fetch().await;
    assert_ne!(replaced.folder, cold.folder);
    assert_ne!(replaced.digest, cold.digest);
    assert_eq!(read(&replaced.folder, "deep/weights.bin"), [4, 5, 6]);
    assert_eq!(
        read(&cold.folder, "deep/weights.bin"),
        [1, 2, 3],
        "who serves the old one goes on"
    );
}

fn read(folder: &Path, path: &str) -> Vec<u8> {
    std::fs::read(folder.join(path)).unwrap()
}

const SPEED_BYTES: usize = 1 << 30;

/// Seconds of `work`, as bytes per second over `SPEED_BYTES`.
async fn speed(work: impl Future<Output = ()>) -> f64 {
    let start = std::time::Instant::now();
    work.await;
    SPEED_BYTES as f64 / f64::from(1 << 20) / start.elapsed().as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: a fetch of 1 GiB against the disk's own speed"]
async fn speed_of_a_large_fetch() {
    let minio = Minio::start().await;
    let model: Vec<u8> = content(3).into_iter().cycle().take(SPEED_BYTES).collect();
    let manifest = publish(&minio, 1, &model).await;
    let repository = Repository::open_with("s3://models".parse().unwrap(), Some(&minio.settings())).unwrap();
    for _ in 0..3 {
        let cache = tempfile::tempdir_in("/var/tmp").unwrap();
        let path = cache.path().join("plain");
        let disk = speed(async {
            let mut file = std::fs::File::create(&path).unwrap();
            for piece in model.chunks(1 << 20) {
                std::io::Write::write_all(&mut file, piece).unwrap();
            }
            file.sync_data().unwrap();
        })
        .await;
        std::fs::remove_file(&path).unwrap();
        let mut verify = Duration::ZERO;
        let fetch = speed(async {
            let local = repository
                .fetch("m", 1, Some(&manifest.digest), cache.path())
                .await
                .unwrap();
            verify = local.verify;
            let file = std::fs::File::open(local.folder.join("model.onnx")).unwrap();
            file.sync_data().unwrap();
        })
        .await;
        println!("disk {disk:.0} MiB/s, fetch {fetch:.0} MiB/s, hashing {verify:?}");
    }
}
