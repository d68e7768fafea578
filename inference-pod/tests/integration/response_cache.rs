//! The response cache: requests that ask the same again are answered without the model.

use aiops_inference_pod::protocol::grpc_v2::proto;
use serde_json::{Value, json};

use crate::support::{Repository, Server, client};

const CACHE: &str = "--cache-config=local,size=1048576";
const ENABLED: &str = "max_batch_size: 8 dynamic_batching { } response_cache { enable: true }";

fn row(values: [f64; 4]) -> Value {
    json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": values}]})
}

async fn stats(server: &Server, model: &str) -> Value {
    let all = server
        .get(format!("{}/v2/models/{model}/stats", server.http))
        .await;
    all["model_stats"][0].clone()
}

/// Hits, misses, inferences and executions.
async fn counts(server: &Server, model: &str) -> [u64; 4] {
    let stats = stats(server, model).await;
    let inference = &stats["inference_stats"];
    [
        &inference["cache_hit"]["count"],
        &inference["cache_miss"]["count"],
        &stats["inference_count"],
        &stats["execution_count"],
    ]
    .map(|count| count.as_u64().unwrap())
}

#[tokio::test]
async fn the_same_question_is_answered_without_the_model() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    repository.config("dense_1", ENABLED);
    let server = Server::start(&repository.uri(), &[CACHE]).await;
    let mut request = row([1.0, 2.0, 3.0, 4.0]);
    let (status, first) = server.infer("dense_1", &request).await;
    assert_eq!(
        (status, &first["outputs"][0]["data"]),
        (200, &json!([2.0, 3.0, 4.0]))
    );
    assert_eq!(counts(&server, "dense_1").await, [0, 1, 1, 1]);
    request["id"] = json!("again");
    let (_, second) = server.infer("dense_1", &request).await;
    assert_eq!(
        (&second["outputs"], &second["id"]),
        (&first["outputs"], &json!("again"))
    );
    assert_eq!(counts(&server, "dense_1").await, [1, 1, 1, 1]);
    // Classes are made of the answer that was kept.
    request["outputs"] = json!([{"name": "y", "parameters": {"classification": 1}}]);
    let (_, classes) = server.infer("dense_1", &request).await;
    assert_eq!(classes["outputs"][0]["data"], json!(["4.000000:2"]));
    // The other protocol asks the same.
    let message = proto::ModelInferRequest {
        model_name: "dense_1".into(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 4],
            ..Default::default()
        }],
        raw_input_contents: vec![
            [1_f32, 2.0, 3.0, 4.0]
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        ],
        ..Default::default()
    };
    let mut grpc = server.grpc().await;
    let answer = grpc.model_infer(message).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents[0][..4], 2_f32.to_le_bytes());
    assert_eq!(counts(&server, "dense_1").await, [3, 1, 1, 1]);
    // Another question is not the same, and neither is another model's.
    let (_, other) = server.infer("dense_1", &row([1.0, 2.0, 3.0, 5.0])).await;
    assert_eq!(other["outputs"][0]["data"], json!([2.0, 3.0, 4.0]));
    let (_, other) = server.infer("dense_2", &row([1.0, 2.0, 3.0, 4.0])).await;
    assert_eq!(other["outputs"][0]["data"], json!([3.0, 4.0, 5.0]));
    assert_eq!(counts(&server, "dense_1").await, [3, 2, 2, 2]);
    assert_eq!(counts(&server, "dense_2").await, [0, 0, 1, 1]);
    // Refused before it is looked up, and not kept.
    for _ in 0..2 {
        let wrong =
            json!({"inputs": [{"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}]});
        assert_eq!(server.infer("dense_1", &wrong).await.0, 400);
    }
    let all = stats(&server, "dense_1").await;
    let inference = &all["inference_stats"];
    assert_eq!(
        [
            &inference["success"]["count"],
            &inference["fail"]["count"],
            &inference["queue"]["count"]
        ],
        [5, 2, 5]
    );
    assert_eq!(inference["compute_infer"]["count"], 2);
    let request = proto::ModelStatisticsRequest {
        name: "dense_1".into(),
        version: String::new(),
    };
    let over_grpc = grpc.model_statistics(request).await.unwrap().into_inner();
    let inference = over_grpc.model_stats[0].inference_stats.as_ref().unwrap();
    assert_eq!(
        (
            inference.cache_hit.unwrap().count,
            inference.cache_miss.unwrap().count
        ),
        (3, 2)
    );
}

#[tokio::test]
async fn hits_and_misses_are_metrics_of_the_models_that_use_the_cache() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    repository.config("dense_1", ENABLED);
    let server = Server::start(&repository.uri(), &["--response-cache-byte-size=1048576"]).await;
    for _ in 0..3 {
        assert_eq!(server.infer("dense_1", &row([0.0; 4])).await.0, 200);
        assert_eq!(server.infer("dense_2", &row([0.0; 4])).await.0, 200);
    }
    let labels = r#"{model="dense_1",version="1"}"#;
    for (name, value) in [
        ("nv_cache_num_hits_per_model", 2.0),
        ("nv_cache_num_misses_per_model", 1.0),
        ("nv_inference_count", 1.0),
        ("nv_inference_exec_count", 1.0),
        ("nv_inference_request_success", 3.0),
    ] {
        assert_eq!(server.metric(&format!("{name}{labels}")).await, value, "{name}");
    }
    for name in [
        "nv_cache_hit_duration_per_model",
        "nv_cache_miss_duration_per_model",
    ] {
        server.metric(&format!("{name}{labels}")).await;
    }
    let metrics = client()
        .get(format!("{}/metrics", server.metrics))
        .send()
        .await
        .unwrap();
    let metrics = metrics.text().await.unwrap();
    assert!(
        metrics.contains("# TYPE nv_cache_num_hits_per_model counter"),
        "{metrics}"
    );
    assert!(
        !metrics.contains(r#"nv_cache_num_hits_per_model{model="dense_2""#),
        "{metrics}"
    );
    for line in [
        "# TYPE nv_cache_num_hits gauge",
        "nv_cache_num_entries 1",
        "nv_cache_num_lookups 3",
        "nv_cache_num_hits 2",
        "nv_cache_num_misses 1",
        "nv_cache_num_evictions 0",
    ] {
        assert!(
            metrics.lines().any(|found| found.trim_end_matches(".0") == line),
            "{line}\n{metrics}"
        );
    }
    let taken = server.metric("nv_cache_util ").await;
    assert!(taken > 0.0 && taken < 0.001, "{taken}");
}

#[tokio::test]
async fn a_model_that_is_loaded_anew_answers_for_itself() {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", ENABLED);
    let server = Server::start(
        &repository.uri(),
        &[CACHE, "--model-control-mode=explicit", "--load-model=dense_1"],
    )
    .await;
    let request = row([0.0; 4]);
    for _ in 0..2 {
        assert_eq!(
            server.infer("dense_1", &request).await.1["outputs"][0]["data"][0],
            1.0
        );
    }
    repository.add("dense_1", 1, "dense_2");
    let load = format!("{}/v2/repository/models/dense_1/load", server.http);
    assert_eq!(client().post(load).send().await.unwrap().status(), 200);
    assert_eq!(
        server.infer("dense_1", &request).await.1["outputs"][0]["data"][0],
        2.0
    );
    let config = server
        .get(format!("{}/v2/models/dense_1/config", server.http))
        .await;
    assert_eq!(config["response_cache"], json!({"enable": true}));
    let told = proto::ModelConfigRequest {
        name: "dense_1".into(),
        version: String::new(),
    };
    let told = server.grpc().await.model_config(told).await.unwrap().into_inner();
    assert!(told.config.unwrap().response_cache.unwrap().enable);
}

#[tokio::test]
async fn a_full_cache_lets_the_oldest_answer_go() {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", ENABLED);
    // Room for two answers.
    let server = Server::start(&repository.uri(), &["--cache-config=local,size=900"]).await;
    for number in [1.0, 2.0, 1.0, 3.0, 1.0, 2.0] {
        let (status, answer) = server.infer("dense_1", &row([number; 4])).await;
        assert_eq!(
            (status, &answer["outputs"][0]["data"][0]),
            (200, &json!(number + 1.0))
        );
    }
    assert_eq!(counts(&server, "dense_1").await[..2], [2, 4]);
}

#[tokio::test]
async fn a_model_is_warned_of_where_the_server_keeps_nothing() {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", ENABLED);
    let server = Server::start(&repository.uri(), &[]).await;
    for _ in 0..2 {
        assert_eq!(server.infer("dense_1", &row([0.0; 4])).await.0, 200);
    }
    assert_eq!(counts(&server, "dense_1").await, [0, 0, 2, 2]);
    let metrics = client()
        .get(format!("{}/metrics", server.metrics))
        .send()
        .await
        .unwrap();
    assert!(!metrics.text().await.unwrap().contains("nv_cache_util"));
    let log = server.log();
    assert!(
        log.contains("response_cache has no effect: this server keeps no answers; start it with --cache-config=local,size=BYTES"),
        "{log}"
    );
}

#[tokio::test]
async fn the_models_of_an_ensemble_keep_their_answers() {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", ENABLED);
    std::fs::create_dir_all(repository.path().join("one/1")).unwrap();
    repository.config(
        "one",
        r#"platform: "ensemble" max_batch_size: 8
        input { name: "x" data_type: TYPE_FP32 dims: 4 } output { name: "y" data_type: TYPE_FP32 dims: 3 }
        ensemble_scheduling { step { model_name: "dense_1" model_version: -1
            input_map { key: "x" value: "x" } output_map { key: "y" value: "y" } } }"#,
    );
    let server = Server::start(&repository.uri(), &[CACHE]).await;
    for _ in 0..2 {
        let (status, answer) = server.infer("one", &row([0.0; 4])).await;
        assert_eq!(
            (status, &answer["outputs"][0]["data"]),
            (200, &json!([1.0, 1.0, 1.0]))
        );
    }
    assert_eq!(
        counts(&server, "one").await,
        [0, 0, 2, 2],
        "as in Triton, an ensemble's own answers are not kept"
    );
    assert_eq!(counts(&server, "dense_1").await, [1, 1, 1, 1]);
}

#[tokio::test]
async fn large_questions_are_told_apart_by_their_last_byte() {
    const WIDTH: usize = 300_000;
    let repository = Repository::of(&["halves"]);
    repository.config("halves", "max_batch_size: 1 response_cache { enable: true }");
    let server = Server::start(&repository.uri(), &["--cache-config=local,size=10000000"]).await;
    let ask = async |last: u8| {
        let mut bytes = vec![0; 4 * WIDTH];
        bytes[4 * WIDTH - 1] = last;
        let input = |name: &str, datatype: &str| {
            json!({"name": name, "shape": [1, WIDTH], "datatype": datatype,
                   "parameters": {"binary_data_size": 2 * WIDTH}})
        };
        let header = json!({
            "inputs": [input("fp16", "FP16"), input("bf16", "BF16")],
            "parameters": {"binary_data_output": true},
        })
        .to_string();
        let answer = client()
            .post(format!("{}/v2/models/halves/infer", server.http))
            .header("inference-header-content-length", header.len())
            .body([header.into_bytes(), bytes].concat())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.unwrap().last(), Some(&last));
    };
    for last in [1, 2, 1, 2] {
        ask(last).await;
    }
    assert_eq!(counts(&server, "halves").await, [2, 2, 2, 2]);
}
