//! A repository on a real MinIO and in a folder: what holds for one holds for the other.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up its world should stop there"
)]

mod minio;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use aiops_model_repository::{
    Digest, Location, Manifest, ManifestFile, Published, Repository, RepositoryError, S3Settings,
};
use minio::Minio;

const PATIENCE: Duration = Duration::from_secs(150);

fn s3(minio: &Minio, uri: &str) -> Repository {
    let location: Location = uri.parse().unwrap();
    Repository::open_with(location, Some(&minio.settings()))
        .unwrap()
        .with_patience(PATIENCE)
}

fn in_folder(path: &Path) -> Repository {
    Repository::open_with(Location::Folder(path.to_owned()), None).unwrap()
}

async fn put(minio: &Minio, key: &str, content: &[u8]) {
    let body = content.to_vec().into();
    minio
        .client()
        .put_object()
        .bucket("models")
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
}

/// A version's files in a new folder, and its manifest.
async fn version(number: u64, model_bytes: &[u8]) -> (tempfile::TempDir, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), model_bytes).unwrap();
    std::fs::write(
        folder.path().join("config.pbtxt"),
        format!("# version {number}\nmax_batch_size: 8\n"),
    )
    .unwrap();
    let files = vec![
        ManifestFile::describe(folder.path(), "model.onnx").await.unwrap(),
        ManifestFile::describe(folder.path(), "config.pbtxt")
            .await
            .unwrap(),
    ];
    let manifest = Manifest {
        format_version: 1,
        model: "tumour".into(),
        version: number,
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
    (folder, manifest)
}

async fn publish_list_fetch_delete(repository: &Repository) {
    let cache = tempfile::tempdir().unwrap();
    let (folder, first) = version(1, b"first").await;
    assert_eq!(
        repository.publish(&first, folder.path()).await.unwrap(),
        Published::Written
    );
    assert_eq!(
        repository.publish(&first, folder.path()).await.unwrap(),
        Published::AlreadyThere
    );
    let (other, conflicting) = version(1, b"other bytes").await;
    let error = repository.publish(&conflicting, other.path()).await.unwrap_err();
    assert!(
        matches!(error, RepositoryError::VersionConflict { .. }),
        "{error}"
    );

    let (folder, tenth) = version(10, b"tenth").await;
    repository.publish(&tenth, folder.path()).await.unwrap();
    let (folder, second) = version(2, b"second").await;
    repository.publish(&second, folder.path()).await.unwrap();
    assert_eq!(repository.models().await.unwrap(), ["tumour"]);
    assert_eq!(repository.versions("tumour").await.unwrap(), [1, 2, 10]);
    assert_eq!(repository.versions("unknown").await.unwrap(), [0; 0]);
    assert_eq!(repository.manifest("tumour", 10).await.unwrap().unwrap(), tenth);

    let local = repository
        .fetch("tumour", 1, Some(&first.digest), cache.path())
        .await
        .unwrap();
    assert_eq!(std::fs::read(local.folder.join("model.onnx")).unwrap(), b"first");
    assert_eq!(local.config.unwrap(), "# version 1\nmax_batch_size: 8\n");
    assert_eq!(local.digest, first.digest);
    let error = repository
        .fetch("tumour", 2, Some(&first.digest), cache.path())
        .await
        .unwrap_err();
    assert!(matches!(error, RepositoryError::DigestMismatch { .. }), "{error}");
    let error = repository
        .fetch("tumour", 7, None, cache.path())
        .await
        .unwrap_err();
    assert!(matches!(error, RepositoryError::NotFound { .. }), "{error}");

    for number in [1, 2, 10, 10] {
        repository.delete_version("tumour", number).await.unwrap();
    }
    assert_eq!(repository.models().await.unwrap(), [""; 0]);
    assert_eq!(
        repository.config("tumour", 10).await.unwrap(),
        None,
        "nothing is left behind"
    );
}

#[tokio::test]
async fn a_folder_holds_versions() {
    let root = tempfile::tempdir().unwrap();
    publish_list_fetch_delete(&in_folder(root.path())).await;
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_bucket_holds_versions() {
    let minio = Minio::start().await;
    publish_list_fetch_delete(&s3(&minio, "s3://models/team-a")).await;
    let elsewhere = S3Settings {
        endpoint: Some("http://127.0.0.1:1".into()),
        ..minio.settings()
    };
    let uri = format!(
        "s3://{}/models/team-b",
        minio.endpoint().trim_start_matches("http://")
    );
    let repository = Repository::open_with(uri.parse().unwrap(), Some(&elsewhere)).unwrap();
    publish_list_fetch_delete(&repository).await;
    let left = minio
        .client()
        .list_objects_v2()
        .bucket("models")
        .send()
        .await
        .unwrap();
    assert_eq!(left.contents().len(), 0, "{left:?}");
}

/// Publishes two models as the same version at the same time, again and again; whichever wins can be fetched.
async fn race(repository: &Repository) {
    for number in 1..=12 {
        let (left_folder, left) = version(number, b"left").await;
        let (right_folder, right) = version(number, b"right").await;
        let (one, two) = tokio::join!(
            repository.publish(&left, left_folder.path()),
            repository.publish(&right, right_folder.path())
        );
        let winner = match (&one, &two) {
            (Ok(Published::Written), Err(RepositoryError::VersionConflict { .. })) => left,
            (Err(RepositoryError::VersionConflict { .. }), Ok(Published::Written)) => right,
            _ => panic!("{one:?} {two:?}"),
        };
        let cache = tempfile::tempdir().unwrap();
        repository
            .fetch("tumour", number, Some(&winner.digest), cache.path())
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_publishers_with_other_bytes_one_wins_and_its_version_can_be_fetched() {
    let minio = Minio::start().await;
    race(&s3(&minio, "s3://models")).await;
    let root = tempfile::tempdir().unwrap();
    race(&in_folder(root.path())).await;
}

#[tokio::test]
async fn publishing_the_right_bytes_again_restores_a_version_that_was_damaged() {
    let minio = Minio::start().await;
    let repository = s3(&minio, "s3://models");
    let (folder, manifest) = version(1, b"the model").await;
    repository.publish(&manifest, folder.path()).await.unwrap();
    let cache = tempfile::tempdir().unwrap();
    put(&minio, "tumour/1/model.onnx", b"other bytes").await;
    assert_eq!(
        repository.publish(&manifest, folder.path()).await.unwrap(),
        Published::AlreadyThere
    );
    repository
        .fetch("tumour", 1, Some(&manifest.digest), cache.path())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_fetched_version_is_cached_and_checked_again() {
    let minio = Minio::start().await;
    let repository = s3(&minio, "s3://models");
    let cache = tempfile::tempdir().unwrap();
    let (folder, manifest) = version(1, b"the model").await;
    repository.publish(&manifest, folder.path()).await.unwrap();
    let cold = repository.fetch("tumour", 1, None, cache.path()).await.unwrap();
    assert!(cold.fetched_bytes > 0);
    let warm = repository.fetch("tumour", 1, None, cache.path()).await.unwrap();
    assert_eq!((warm.fetched_bytes, &warm.folder), (0, &cold.folder));
    std::fs::write(cold.folder.join("model.onnx"), b"rot").unwrap();
    let repaired = repository.fetch("tumour", 1, None, cache.path()).await.unwrap();
    assert!(repaired.fetched_bytes > 0);
    assert_eq!(
        std::fs::read(repaired.folder.join("model.onnx")).unwrap(),
        b"the model"
    );

    put(&minio, "tumour/1/model.onnx", b"something else").await;
    std::fs::remove_dir_all(&repaired.folder).unwrap();
    let error = repository
        .fetch("tumour", 1, None, cache.path())
        .await
        .unwrap_err();
    assert!(matches!(error, RepositoryError::DigestMismatch { .. }), "{error}");
    let left: Vec<_> = std::fs::read_dir(cache.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != ".locks")
        .collect();
    assert!(left.is_empty(), "nothing half-fetched stays: {left:?}");
}

#[tokio::test]
async fn a_version_being_published_is_not_seen_and_what_a_dead_publisher_left_is_replaced() {
    let minio = Minio::start().await;
    let repository = s3(&minio, "s3://models");
    put(&minio, "tumour/1/config.pbtxt", b"half a").await;
    put(&minio, "tumour/1/model.onnx", b"publication").await;
    assert_eq!(repository.versions("tumour").await.unwrap(), [0; 0]);
    let (folder, manifest) = version(1, b"whole").await;
    assert_eq!(
        repository.publish(&manifest, folder.path()).await.unwrap(),
        Published::Written
    );
    let cache = tempfile::tempdir().unwrap();
    let local = repository
        .fetch("tumour", 1, Some(&manifest.digest), cache.path())
        .await
        .unwrap();
    assert_eq!(std::fs::read(local.folder.join("model.onnx")).unwrap(), b"whole");
}

#[tokio::test]
async fn a_plain_triton_repository_is_read_as_it_is() {
    let minio = Minio::start().await;
    let repository = s3(&minio, "s3://models/plain");
    put(&minio, "plain/dense/config.pbtxt", b"max_batch_size: 0").await;
    put(&minio, "plain/dense/3/model.onnx", b"graph").await;
    put(&minio, "plain/dense/3/weights/part.bin", b"weights").await;
    put(&minio, "plain/dense/notes/readme.txt", b"no version").await;
    assert_eq!(repository.models().await.unwrap(), ["dense"]);
    assert_eq!(repository.versions("dense").await.unwrap(), [3]);
    let cache = tempfile::tempdir().unwrap();
    let local = repository.fetch("dense", 3, None, cache.path()).await.unwrap();
    assert_eq!(
        std::fs::read(local.folder.join("weights/part.bin")).unwrap(),
        b"weights"
    );
    assert_eq!(local.config.as_deref(), Some("max_batch_size: 0"));
    assert!(local.manifest.is_none());
}

#[tokio::test]
async fn a_store_that_is_away_is_waited_for() {
    let mut minio = Minio::stopped();
    let repository = s3(&minio, "s3://models");
    let (folder, manifest) = version(1, b"patient").await;
    let publication = repository.publish(&manifest, folder.path());
    let starting = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        minio.run();
    };
    let (published, ()) = tokio::join!(publication, starting);
    assert_eq!(published.unwrap(), Published::Written);
    minio.stop();
    let impatient = repository.with_patience(Duration::ZERO);
    let error = impatient.models().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn wrong_credentials_and_buckets_are_named() {
    let minio = Minio::start().await;
    let wrong = S3Settings {
        secret_access_key: "wrong".into(),
        ..minio.settings()
    };
    let repository = Repository::open_with("s3://models".parse().unwrap(), Some(&wrong)).unwrap();
    let error = repository.with_patience(PATIENCE).models().await.unwrap_err();
    assert!(matches!(error, RepositoryError::AccessDenied { .. }), "{error}");
    let error = s3(&minio, "s3://absent").models().await.unwrap_err();
    assert!(error.to_string().contains("bucket absent"), "{error}");
}

#[tokio::test]
async fn a_cached_version_needs_no_store() {
    let mut minio = Minio::start().await;
    let repository = s3(&minio, "s3://models").with_patience(Duration::ZERO);
    let cache = tempfile::tempdir().unwrap();
    let (folder, manifest) = version(1, b"the model").await;
    repository.publish(&manifest, folder.path()).await.unwrap();
    let cold = repository
        .fetch("tumour", 1, Some(&manifest.digest), cache.path())
        .await
        .unwrap();
    minio.stop();
    let warm = repository
        .fetch("tumour", 1, Some(&manifest.digest), cache.path())
        .await
        .unwrap();
    assert_eq!(
        (&warm.config, &warm.manifest, warm.fetched_bytes),
        (&cold.config, &cold.manifest, 0)
    );
    let error = repository
        .fetch("tumour", 1, None, cache.path())
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
}

#[tokio::test]
async fn a_store_with_a_certificate_of_its_own_authority_is_trusted_by_its_bundle_only() {
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let minio =
        Minio::start_with_tls(&certificate.cert.pem(), &certificate.signing_key.serialize_pem()).await;
    let trusting = minio.settings();
    assert!(trusting.endpoint.as_ref().unwrap().starts_with("https://"));
    publish_list_fetch_delete(
        &Repository::open_with("s3://models/tls".parse().unwrap(), Some(&trusting)).unwrap(),
    )
    .await;
    let wary = S3Settings {
        ca_bundle: None,
        ..trusting
    };
    let repository = Repository::open_with("s3://models".parse().unwrap(), Some(&wary)).unwrap();
    let error = repository.models().await.unwrap_err().to_string();
    assert!(error.contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_fifo_in_a_version_is_an_error_that_names_it_and_no_wait_for_its_writer() {
    let folder = tempfile::tempdir().unwrap();
    let version = folder.path().join("m/1");
    std::fs::create_dir_all(&version).unwrap();
    std::fs::write(version.join("model.onnx"), "x").unwrap();
    for name in ["1/pipe", "config.pbtxt", "1/manifest.json"] {
        let pipe = folder.path().join("m").join(name);
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let repository = Repository::open(folder.path().to_str().unwrap().parse().unwrap()).unwrap();
        let cache = folder.path().join("cache");
        let fetching = repository.fetch("m", 1, None, cache.as_path());
        let fetched = tokio::time::timeout(std::time::Duration::from_secs(10), fetching).await;
        let error = fetched.expect("nothing is waited for").unwrap_err().to_string();
        assert!(error.contains(pipe.to_str().unwrap()), "{error}");
        assert!(error.contains("a FIFO (named pipe)"), "{error}");
        std::fs::remove_file(pipe).unwrap();
    }
}
