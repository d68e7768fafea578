//! The same with the repository on a real MinIO, which goes away and comes back.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use aiops_model_repository::{Digest, Manifest, ManifestFile};
use serde_json::json;

use crate::support::{Server, converted, eventually, publish};

#[path = "../../../model-repository/tests/minio/mod.rs"]
pub mod minio;

use minio::Minio;

pub fn environment(minio: &Minio) -> Vec<(&'static str, String)> {
    let settings = minio.settings();
    vec![
        ("AWS_ACCESS_KEY_ID", settings.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", settings.secret_access_key),
        ("AWS_ENDPOINT_URL_S3", minio.endpoint()),
        ("AWS_REGION", settings.region),
        ("AIOPS_S3_PATH_STYLE", "true".into()),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_published_to_a_bucket_and_served_from_it_although_the_store_was_away() {
    let mut minio = Minio::start().await;
    let environment = environment(&minio);
    minio.stop();
    let publishing = tokio::task::spawn_blocking({
        let environment = environment.clone();
        move || {
            let input = converted("iris");
            let folder = input.path().to_str().unwrap().to_owned();
            let arguments = [
                "--input",
                &folder,
                "--model-repository",
                "s3://models/team",
                "--model",
                "iris",
                "--version",
                "1",
            ];
            publish(&arguments, &environment)
        }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    minio.run();
    let (output, message) = publishing.await.unwrap();
    assert!(output.status.success(), "{message}");

    minio.stop();
    let plan = tempfile::NamedTempFile::new().unwrap();
    let version = json!({"version": 1, "digest": message["digest"], "weight": 100});
    let models = json!([{"name": "iris", "defaultVersion": 1, "versions": [version]}]);
    std::fs::write(
        plan.path(),
        json!({"formatVersion": 1, "models": models}).to_string(),
    )
    .unwrap();
    let cache = tempfile::tempdir().unwrap();
    let arguments = [
        "--serving-plan",
        plan.path().to_str().unwrap(),
        "--model-cache",
        cache.path().to_str().unwrap(),
    ];
    let server = Server::start_with_environment("s3://models/team", &arguments, &environment);
    eventually("the store to be missed", || async {
        server.plan().await["message"]
            .as_str()
            .unwrap()
            .contains("cannot be reached")
    })
    .await;
    assert!(!server.is_ready().await);
    minio.run();
    server.wait_until_ready().await;
    let rows = json!({"instances": [[5.1, 3.5, 1.4, 0.2]]});
    let (status, answer) = crate::support::post(&format!("{}/predict/iris", server.rest), &rows).await;
    assert_eq!(
        (status, &answer["predictions"][0]["label"]),
        (200, &json!("setosa")),
        "{answer}"
    );
    minio.stop();
    let (status, _) = crate::support::post(&format!("{}/predict/iris", server.rest), &rows).await;
    assert_eq!(status, 200, "what is loaded needs no store");
}

/// Publishes a folder of `tests/models` into the bucket; answers its digest.
fn publish_to(minio: &Minio, name: &str, version: &str) -> String {
    let input = converted(name);
    let folder = input.path().to_str().unwrap();
    let repository = ["--model-repository", "s3://models/team", "--model", "iris"];
    let arguments = [&["--input", folder, "--version", version], &repository[..]].concat();
    let (output, message) = publish(&arguments, &environment(minio));
    assert!(output.status.success(), "{message}");
    message["digest"].as_str().unwrap().to_owned()
}

/// Publishes a version that is what it says but no model.
async fn publish_garbage(minio: &Minio, version: u64) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.onnx"), "garbage").unwrap();
    let files = vec![ManifestFile::describe(folder.path(), "model.onnx").await.unwrap()];
    let digest = Digest::of_files(&files);
    let manifest = json!({"formatVersion": 1, "model": "iris", "version": version, "digest": digest, "files": files,
                          "inputs": [], "outputs": []});
    let manifest = Manifest::parse(manifest.to_string().as_bytes(), "here").unwrap();
    let location = "s3://models/team".parse().unwrap();
    let repository =
        aiops_model_repository::Repository::open_with(location, Some(&minio.settings())).unwrap();
    repository.publish(&manifest, folder.path()).await.unwrap();
    digest.to_string()
}

fn cached(cache: &Path) -> BTreeSet<String> {
    std::fs::read_dir(cache)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != ".locks")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cache_holds_what_is_served_and_nothing_else() {
    let minio = Minio::start().await;
    let first = publish_to(&minio, "iris", "1");
    let second = publish_to(&minio, "iris_names", "2");
    let garbage = publish_garbage(&minio, 3).await;
    let folder = |digest: &str| digest.replace(':', "-");
    let (cache, plan) = (
        tempfile::tempdir().unwrap(),
        tempfile::NamedTempFile::new().unwrap(),
    );
    // Left by a container that was restarted.
    std::fs::create_dir(cache.path().join(format!("sha256-{}", "a".repeat(64)))).unwrap();
    let serve = |version: u64, digest: &str| {
        let version = json!({"version": version, "digest": digest});
        let models = json!([{"name": "iris", "defaultVersion": version["version"], "versions": [version]}]);
        let text = json!({"formatVersion": 1, "models": models}).to_string();
        std::fs::write(plan.path(), text).unwrap();
    };
    serve(1, &first);
    let arguments = [
        "--serving-plan",
        plan.path().to_str().unwrap(),
        "--model-cache",
        cache.path().to_str().unwrap(),
    ];
    let server = Server::start_with_environment("s3://models/team", &arguments, &environment(&minio));
    let becomes = async |digests: &[&str]| {
        let wanted: BTreeSet<_> = digests.iter().map(|digest| folder(digest)).collect();
        eventually(&format!("the cache to hold {wanted:?}"), || async {
            cached(cache.path()) == wanted
        })
        .await;
    };
    server.wait_until_ready().await;
    becomes(&[&first]).await;
    serve(3, &garbage);
    eventually("the garbage to be refused", || async {
        server.plan().await["state"] == "Failed"
    })
    .await;
    // Kept while it is wanted, so that it is not fetched again and again.
    becomes(&[&first, &garbage]).await;
    serve(2, &second);
    becomes(&[&second]).await;
    assert_eq!(server.plan().await["state"], "Applied");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_will_be_found_again_ends_a_publication_at_once_with_its_reason() {
    let minio = Minio::start().await;
    let source = crate::support::models().join("dense_1.onnx");
    let (source, good) = (source.to_str().unwrap(), environment(&minio));
    let mut wrong = good.clone();
    wrong[1].1 = "wrong".into();
    for (source, repository, environment, reason, part) in [
        (
            "s3://models/absent.onnx",
            "s3://models",
            &good,
            "SourceNotFound",
            "s3://models/absent.onnx",
        ),
        (
            "s3://absent/model.onnx",
            "s3://models",
            &good,
            "SourceNotFound",
            "bucket absent",
        ),
        (
            "s3://models/model.onnx",
            "s3://models",
            &wrong,
            "SourceForbidden",
            "is denied",
        ),
        (
            source,
            "s3://absent",
            &good,
            "RepositoryNotFound",
            "bucket absent",
        ),
        (source, "s3://models", &wrong, "RepositoryForbidden", "is denied"),
    ] {
        let arguments = [
            "--source",
            source,
            "--model-repository",
            repository,
            "--model",
            "m",
            "--version",
            "1",
        ];
        let (output, message) = publish(&arguments, environment);
        assert_eq!(
            (output.status.code(), &message["reason"]),
            (Some(2), &json!(reason)),
            "{message}"
        );
        assert!(message["message"].as_str().unwrap().contains(part), "{message}");
    }
}
