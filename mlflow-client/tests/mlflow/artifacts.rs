//! Files of runs and logged models, and the way from a run to the version of its model.

use aiops_mlflow_client::{Client, ErrorKind, LoggedModelStatus, NewModelVersion, NewRun};
use reqwest::Method;
use serde_json::{Value, json};

use crate::server::{client, tracking_uri, unique};

/// Calls that trainers make through MLflow's Python client and the product does not.
async fn call(method: Method, path: &str, body: Value) -> Value {
    let url = tracking_uri().join(path).unwrap();
    let answer = reqwest::Client::new()
        .request(method, url)
        .json(&body)
        .send()
        .await
        .unwrap();
    let text = answer.error_for_status().unwrap().text().await.unwrap();
    serde_json::from_str(&text).unwrap()
}

async fn upload(artifact_uri: &str, path: &str, content: &[u8]) {
    let folder = artifact_uri.strip_prefix("mlflow-artifacts:/").unwrap();
    let url = tracking_uri()
        .join(&format!("api/2.0/mlflow-artifacts/artifacts/{folder}/{path}"))
        .unwrap();
    let answer = reqwest::Client::new()
        .put(url)
        .body(content.to_vec())
        .send()
        .await
        .unwrap();
    answer.error_for_status().unwrap();
}

async fn new_run(client: &Client) -> (String, String, String) {
    let experiment = client
        .get_or_create_experiment(&unique("artifacts"), &[])
        .await
        .unwrap();
    let run = NewRun {
        experiment_id: experiment.experiment_id.clone(),
        ..NewRun::default()
    };
    let info = client.create_run(&run).await.unwrap().info;
    (experiment.experiment_id, info.run_id, info.artifact_uri)
}

/// A logged model of the run, with one file.
async fn log_model(experiment_id: &str, run_id: &str, step: i64, ready: bool) -> String {
    let body = json!({ "experiment_id": experiment_id, "name": "model", "source_run_id": run_id });
    let created = call(Method::POST, "api/2.0/mlflow/logged-models", body).await;
    let model_id = created["model"]["info"]["model_id"].as_str().unwrap().to_owned();
    upload(
        created["model"]["info"]["artifact_uri"].as_str().unwrap(),
        "MLmodel",
        b"flavors: {}",
    )
    .await;
    if ready {
        let path = format!("api/2.0/mlflow/logged-models/{model_id}");
        let body = json!({ "model_id": model_id, "status": "LOGGED_MODEL_READY" });
        call(Method::PATCH, &path, body).await;
    }
    let body = json!({ "run_id": run_id, "models": [{ "model_id": model_id, "step": step }] });
    call(Method::POST, "api/2.0/mlflow/runs/outputs", body).await;
    model_id
}

#[tokio::test]
async fn files_of_a_run_are_listed_and_downloaded() {
    let client = client();
    let (_, run_id, artifact_uri) = new_run(&client).await;
    let large: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    upload(&artifact_uri, "evaluation/holdout.safetensors", &large).await;
    upload(&artifact_uri, "notes.txt", b"hello").await;

    let mut root = client.list_artifacts(&run_id, "").await.unwrap();
    root.sort_by(|left, right| left.path.cmp(&right.path));
    let paths: Vec<_> = root
        .iter()
        .map(|file| (file.path.as_str(), file.is_folder, file.size_bytes))
        .collect();
    assert_eq!(paths, [("evaluation", true, 0), ("notes.txt", false, 5)]);
    let folder = client.list_artifacts(&run_id, "evaluation").await.unwrap();
    assert_eq!(folder[0].path, "evaluation/holdout.safetensors");
    assert_eq!(client.list_artifacts(&run_id, "nothing here").await.unwrap(), []);

    assert_eq!(
        client.download_artifact(&run_id, "notes.txt", 5).await.unwrap(),
        b"hello"
    );
    let mut stream = client
        .stream_artifact(&run_id, "evaluation/holdout.safetensors")
        .await
        .unwrap();
    let mut received = Vec::new();
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(received == large, "{} of {} bytes", received.len(), large.len());
}

#[tokio::test]
async fn a_file_that_is_missing_or_too_large_is_told_apart() {
    let client = client();
    let (_, run_id, artifact_uri) = new_run(&client).await;
    upload(&artifact_uri, "notes.txt", b"hello").await;
    let missing = client
        .download_artifact(&run_id, "evaluation/none.png", 100)
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    assert!(missing.to_string().contains("evaluation/none.png"), "{missing}");
    assert!(missing.to_string().contains(&run_id), "{missing}");
    let large = client
        .download_artifact(&run_id, "notes.txt", 4)
        .await
        .unwrap_err();
    assert_eq!(large.kind(), ErrorKind::InvalidRequest, "{large}");
    let outside = client
        .download_artifact(&run_id, "../notes.txt", 100)
        .await
        .unwrap_err();
    assert_eq!(outside.kind(), ErrorKind::InvalidRequest, "{outside}");
    let no_run = client
        .download_artifact("0123456789abcdef0123456789abcdef", "notes.txt", 100)
        .await
        .unwrap_err();
    assert_eq!(no_run.kind(), ErrorKind::NotFound, "{no_run}");
}

#[tokio::test]
async fn a_run_leads_to_its_model_and_the_model_to_a_version() {
    let client = client();
    let (experiment_id, run_id, _) = new_run(&client).await;
    let first = log_model(&experiment_id, &run_id, 0, true).await;
    let last = log_model(&experiment_id, &run_id, 1, true).await;
    let unfinished = log_model(&experiment_id, &run_id, 2, false).await;

    let run = client.get_run(&run_id).await.unwrap();
    assert_eq!(run.outputs.model_outputs.len(), 3);
    let models = client.get_logged_models_of_run(&run_id).await.unwrap();
    let identifiers: Vec<_> = models.iter().map(|model| model.info.model_id.as_str()).collect();
    assert_eq!(identifiers, [last.as_str(), first.as_str()]);
    let info = &models[0].info;
    assert_eq!(
        (info.status, info.source_run_id.as_str()),
        (LoggedModelStatus::Ready, run_id.as_str())
    );
    assert!(
        info.artifact_uri.ends_with(&format!("/models/{last}/artifacts")),
        "{}",
        info.artifact_uri
    );
    let pending = client.get_logged_model(&unfinished).await.unwrap();
    assert_eq!(pending.info.status, LoggedModelStatus::Pending);

    let version = NewModelVersion {
        name: unique("team.tumour"),
        source: info.artifact_uri.clone(),
        run_id: Some(run_id.clone()),
        model_id: Some(last.clone()),
        ..NewModelVersion::default()
    };
    let version = client.ensure_model_version("uid", version).await.unwrap();
    assert_eq!(
        (version.run_id.as_str(), version.logged_model_id()),
        (run_id.as_str(), Some(last.as_str()))
    );
}

#[tokio::test]
async fn a_model_that_was_deleted_does_not_hide_the_others_of_its_run() {
    let client = client();
    let (experiment_id, run_id, _) = new_run(&client).await;
    let first = log_model(&experiment_id, &run_id, 0, true).await;
    let deleted = log_model(&experiment_id, &run_id, 1, true).await;
    let path = format!("api/2.0/mlflow/logged-models/{deleted}");
    call(Method::DELETE, &path, json!({})).await;

    let models = client.get_logged_models_of_run(&run_id).await.unwrap();
    let identifiers: Vec<_> = models.iter().map(|model| model.info.model_id.as_str()).collect();
    assert_eq!(identifiers, [first.as_str()]);
}

#[tokio::test]
async fn files_of_a_logged_model_are_listed_and_downloaded() {
    let client = client();
    let (experiment_id, run_id, _) = new_run(&client).await;
    let model_id = log_model(&experiment_id, &run_id, 0, true).await;
    let files = client.list_logged_model_artifacts(&model_id, "").await.unwrap();
    assert_eq!(
        files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(),
        ["MLmodel"]
    );
    let content = client
        .download_logged_model_artifact(&model_id, "MLmodel", 1000)
        .await
        .unwrap();
    assert_eq!(content, b"flavors: {}");
    let missing = client
        .download_logged_model_artifact(&model_id, "model.onnx", 1000)
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let no_model = client
        .get_logged_model("m-0123456789abcdef0123456789abcdef")
        .await
        .unwrap_err();
    assert_eq!(no_model.kind(), ErrorKind::NotFound, "{no_model}");
}
