//! The same with the repository on a real MinIO, which goes away and comes back.

use std::time::Duration;

use serde_json::json;

use crate::support::{Server, converted, eventually, publish};

#[path = "../../../model-repository/tests/minio/mod.rs"]
mod minio;

use minio::Minio;

fn environment(minio: &Minio) -> Vec<(&'static str, String)> {
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
