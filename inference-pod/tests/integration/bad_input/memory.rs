//! A load that the memory refuses works once another model is unloaded.

use serde_json::json;

use super::http_error;
use crate::graph;
use crate::support::{Repository, Server, client, eventually};

const SIDE: usize = 6000; // 137 MiB of weights
const LIMIT: &str = "--max-model-memory=482344960";

async fn repository_call(server: &Server, call: &str) -> (u16, String) {
    let url = format!("{}/v2/repository/models/{call}", server.http);
    http_error(client().post(url).send().await.unwrap()).await
}

#[tokio::test]
async fn a_load_that_the_memory_refused_works_when_another_model_is_unloaded() {
    let repository = Repository::new();
    graph::add_matrix(&repository, "one", SIDE);
    graph::add_matrix(&repository, "two", SIDE);
    let server = Server::start(
        &repository.uri(),
        &["--model-control-mode=explicit", "--load-model=one", LIMIT],
    )
    .await;
    let (status, text) = repository_call(&server, "two/load").await;
    assert!(
        status == 503 && text.contains("it does not fit the memory"),
        "{status} {text}"
    );
    assert!(server.is_ready().await);
    assert_eq!(repository_call(&server, "one/unload").await.0, 200);
    // Unloading ends after its answer.
    eventually("the model to fit", || async {
        repository_call(&server, "two/load").await.0 == 200
    })
    .await;
}

#[tokio::test]
async fn a_plan_that_the_memory_refused_is_carried_out_when_another_model_is_unloaded() {
    let repository = Repository::new();
    graph::add_matrix(&repository, "one", SIDE);
    graph::add_matrix(&repository, "two", SIDE);
    let plan = tempfile::NamedTempFile::new().unwrap();
    let serve = |names: &[&str]| {
        let models = names
            .iter()
            .map(|name| json!({"name": name, "defaultVersion": 1, "versions": [{"version": 1}]}));
        let models: Vec<_> = models.collect();
        std::fs::write(
            plan.path(),
            json!({"formatVersion": 1, "models": models}).to_string(),
        )
        .unwrap();
    };
    serve(&["one"]);
    let arguments = ["--serving-plan", plan.path().to_str().unwrap(), LIMIT];
    let server = Server::start(&repository.uri(), &arguments).await;
    serve(&["one", "two"]);
    eventually("the plan to be refused", || async {
        server.plan().await["state"] == "Failed"
    })
    .await;
    let message = server.plan().await["message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("version 1 of model two cannot be loaded: it does not fit the memory"),
        "{message}"
    );
    assert!(server.is_ready().await);
    serve(&["two"]);
    eventually("the plan to be carried out", || async {
        server.plan().await["state"] == "Applied"
    })
    .await;
}
