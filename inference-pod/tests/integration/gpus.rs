//! Instances on GPUs, as far as they go without one.

use serde_json::json;

use crate::support::{Repository, Server};

fn repository(groups: &str) -> Repository {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", groups);
    repository
}

async fn failure(groups: &str, arguments: &[&str]) -> String {
    let repository = repository(groups);
    let mut server = Server::start_unready(&repository.uri(), arguments);
    assert!(!server.end().await.success());
    server.log()
}

#[tokio::test]
async fn a_gpu_that_the_server_does_not_use_is_refused() {
    let log = failure("instance_group { kind: KIND_GPU }", &[]).await;
    assert!(
        log.contains(
            "instance_group has kind KIND_GPU, and this server does not use GPUs; give it --enable-gpu"
        ),
        "{log}"
    );
}

#[tokio::test]
async fn instances_that_may_run_anywhere_run_on_the_cpu_and_say_so() {
    let repository = repository(
        "max_batch_size: 4 instance_group { kind: KIND_AUTO } instance_group { count: 2 kind: KIND_CPU }
         optimization { cuda { graphs: true } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let config = server
        .get(format!("{}/v2/models/dense_1/config", server.http))
        .await;
    let groups = config["instance_group"].as_array().unwrap();
    let shown: Vec<_> = groups
        .iter()
        .map(|group| json!([group["name"], group["kind"], group["count"], group["gpus"]]))
        .collect();
    assert_eq!(
        shown,
        [
            json!(["dense_1_0", "KIND_CPU", 1, []]),
            json!(["dense_1_1", "KIND_CPU", 2, []]),
        ]
    );
    assert_eq!(config["optimization"]["cuda"], json!({"graphs": true}));
}

#[test]
fn gpus_need_a_runtime_that_has_cuda() {
    let repository = Repository::of(&["dense_1"]);
    let output = crate::support::program()
        .args(["--model-repository", &repository.uri(), "--enable-gpu"])
        .output()
        .unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(
        log.contains("--enable-gpu needs ONNX Runtime with CUDA, and ") && log.contains("was built without"),
        "{log}"
    );
}
