//! The memory that the statistics extension tells of: what a version keeps since it was loaded.

use aiops_inference_pod::protocol::grpc_v2::proto::{MemoryUsage, ModelStatisticsRequest};
use serde_json::{Value, json};

use crate::support::{Repository, Server};
use crate::{ensembles, graph};

const SIDE: usize = 1000;
const WEIGHTS_BYTES: u64 = 4 * (SIDE * SIDE) as u64;

async fn over_http(server: &Server, model: &str) -> Value {
    let url = format!("{}/v2/models/{model}/stats", server.http);
    server.get(url).await["model_stats"][0]["memory_usage"].clone()
}

async fn over_grpc(server: &Server, model: &str) -> Vec<MemoryUsage> {
    let request = ModelStatisticsRequest {
        name: model.into(),
        ..Default::default()
    };
    let answer = server.grpc().await.model_statistics(request).await.unwrap();
    answer.into_inner().model_stats[0].memory_usage.clone()
}

#[tokio::test]
async fn a_version_tells_how_much_memory_it_was_loaded_into() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    for (model, instances) in [("one", 1), ("several", 3)] {
        graph::add_matrix(&repository, model, SIDE);
        let config = format!("max_batch_size: 4\ninstance_group [{{ kind: KIND_CPU count: {instances} }}]");
        repository.config(model, &config);
    }
    ensembles::chain(&repository);
    let server = Server::start(&repository.uri(), &[]).await;
    // Several instances share two copies of the weights, as docs/model-loading.md has it; one needs a single one. Each has an
    // arena, which begins with a mebibyte.
    for (model, copies, instances) in [("one", 1, 1), ("several", 2, 3)] {
        let usage = over_http(&server, model).await;
        let bytes = usage[0]["byte_size"].as_u64().unwrap();
        assert_eq!(usage, json!([{"type": "CPU", "id": 0, "byte_size": bytes}]));
        let least = copies * WEIGHTS_BYTES;
        let most = least + instances * (5 << 18);
        assert!((least..most).contains(&bytes), "{model}: {bytes}");
        let expected = MemoryUsage {
            r#type: "CPU".into(),
            id: 0,
            byte_size: bytes,
        };
        assert_eq!(over_grpc(&server, model).await, [expected]);
    }
    assert_eq!(
        over_http(&server, "chain").await,
        json!([]),
        "its models have the memory"
    );
    assert_eq!(over_grpc(&server, "chain").await, []);
}
