//! Ensembles: models of the repository that are called as one.

use std::time::{Duration, Instant};

use aiops_inference_pod::protocol::grpc_v2::proto;
use futures::future::join_all;
use proto::model_config::SchedulingChoice;
use proto::{ModelConfigRequest, ModelMetadataRequest, ModelStatisticsRequest};
use serde_json::{Value, json};

use crate::support::{Repository, Server, client, eventually};

/// One call of a model with the input `x` and the output `y`.
pub fn step(model: &str, from: &str, to: &str) -> String {
    format!(
        "step {{ model_name: \"{model}\" model_version: -1 input_map {{ key: \"x\" value: \"{from}\" }} \
         output_map {{ key: \"y\" value: \"{to}\" }} }}\n"
    )
}

pub fn tensor(role: &str, name: &str, sizes: &str) -> String {
    format!("{role} {{ name: \"{name}\" data_type: TYPE_FP32 dims: [ {sizes} ] }}\n")
}

/// From four elements, `IN`, to three, `OUT`.
pub fn ensemble(rows: u32, steps: &str) -> String {
    format!(
        "platform: \"ensemble\"\nmax_batch_size: {rows}\n{}{}ensemble_scheduling {{\n{steps}}}\n",
        tensor("input", "IN", "4"),
        tensor("output", "OUT", "3")
    )
}

pub fn add(repository: &Repository, name: &str, config: &str) {
    std::fs::create_dir_all(repository.path().join(name).join("1")).unwrap();
    repository.config(name, config);
}

/// `dense_1`, and then `fixed`, which has no rows: OUT = -(IN[..3] + 1).
pub fn chain(repository: &Repository) {
    let steps = step("fixed", "between", "OUT") + &step("dense_1", "IN", "between");
    add(repository, "chain", &ensemble(8, &steps));
}

pub fn row(values: [f64; 4]) -> Value {
    json!({"id": "r1", "inputs": [{"name": "IN", "shape": [1, 4], "datatype": "FP32", "data": values}]})
}

fn rows(count: usize) -> Value {
    json!({"inputs": [{"name": "IN", "shape": [count, 4], "datatype": "FP32", "data": vec![0.0; 4 * count]}]})
}

async fn executions(server: &Server, model: &str) -> u64 {
    let url = format!("{}/v2/models/{model}/stats", server.http);
    server.get(url).await["model_stats"][0]["execution_count"]
        .as_u64()
        .unwrap()
}

#[tokio::test]
async fn models_with_and_without_rows_answer_as_one_over_every_protocol() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    let server = Server::start(&repository.uri(), &[]).await;
    let (status, answer) = server.infer("chain", &row([1.0, 2.0, 3.0, 4.0])).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        answer,
        json!({"model_name": "chain", "model_version": "1", "id": "r1", "outputs": [
            {"name": "OUT", "datatype": "FP32", "shape": [1, 3], "data": [-2.0, -3.0, -4.0]}]})
    );
    let message = proto::ModelInferRequest {
        model_name: "chain".into(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "IN".into(),
            datatype: "FP32".into(),
            shape: vec![1, 4],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 16].into()],
        ..Default::default()
    };
    let mut grpc = server.grpc().await;
    let answer = grpc.model_infer(message).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents[0][..4], (-1_f32).to_le_bytes());
    let url = format!("{}/v1/models/chain:predict", server.rest);
    let (status, answer) = crate::support::post(&url, &json!({"instances": [[1, 2, 3, 4]]})).await;
    assert_eq!(
        (status, &answer["predictions"]),
        (200, &json!([{"OUT": [-2.0, -3.0, -4.0]}])),
        "{answer}"
    );

    let metadata = server.get(format!("{}/v2/models/chain", server.http)).await;
    assert_eq!(metadata["platform"], "ensemble");
    assert_eq!(
        metadata["inputs"],
        json!([{"name": "IN", "datatype": "FP32", "shape": [-1, 4]}])
    );
    let request = ModelMetadataRequest {
        name: "chain".into(),
        version: String::new(),
    };
    assert_eq!(
        grpc.model_metadata(request).await.unwrap().into_inner().platform,
        "ensemble"
    );
    let config = server
        .get(format!("{}/v2/models/chain/config", server.http))
        .await;
    assert_eq!(
        config["ensemble_scheduling"]["step"][1],
        json!({"model_name": "dense_1", "model_version": -1, "model_namespace": "",
               "input_map": {"x": "IN"}, "output_map": {"y": "between"}})
    );
    assert_eq!(
        (&config["backend"], &config["instance_group"]),
        (&json!(""), &json!([]))
    );
    let request = ModelConfigRequest {
        name: "chain".into(),
        version: String::new(),
    };
    let config = grpc
        .model_config(request)
        .await
        .unwrap()
        .into_inner()
        .config
        .unwrap();
    let Some(SchedulingChoice::EnsembleScheduling(scheduling)) = config.scheduling_choice else {
        panic!("{config:?}")
    };
    assert_eq!((config.platform.as_str(), scheduling.step.len()), ("ensemble", 2));
    assert_eq!(
        (
            scheduling.step[0].model_version,
            &scheduling.step[0].output_map["y"]
        ),
        (-1, &"OUT".to_owned())
    );
}

#[tokio::test]
async fn bad_requests_are_told_by_the_ensemble_or_by_the_model_that_refuses() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    let server = Server::start(&repository.uri(), &[]).await;
    for (request, error) in [
        (
            rows(2),
            "in ensemble 'chain', unexpected shape for input 'x' for model 'fixed'. Expected [1,3], got [2,3].",
        ),
        (
            rows(9),
            "inference request batch-size must be <= 8 for 'chain', got 9",
        ),
        (
            json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}),
            "unexpected inference input 'x' for model 'chain', which takes 'IN'",
        ),
    ] {
        let (status, answer) = server.infer("chain", &request).await;
        assert_eq!((status, answer["error"].as_str().unwrap()), (400, error));
    }
    let stats = server.get(format!("{}/v2/models/chain/stats", server.http)).await;
    assert_eq!(stats["model_stats"][0]["inference_stats"]["fail"]["count"], 3);
    assert_eq!(
        server
            .metric(r#"nv_inference_request_failure{model="chain",version="1",reason="OTHER"}"#)
            .await,
        3.0
    );
}

#[tokio::test]
async fn independent_steps_run_at_the_same_time_and_only_those_that_are_asked_for() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    let patient = "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 1000000 }";
    repository.config("dense_1", patient);
    repository.config("dense_2", patient);
    let steps = step("dense_1", "IN", "OUT") + &step("dense_2", "IN", "RIGHT");
    add(
        &repository,
        "both",
        &(ensemble(4, &steps) + &tensor("output", "RIGHT", "3")),
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let start = Instant::now();
    // Each step alone waits a second for company; together they need one.
    let (status, answer) = server.infer("both", &row([0.0; 4])).await;
    let elapsed = start.elapsed();
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["data"], json!([1.0, 1.0, 1.0]));
    assert_eq!(answer["outputs"][1]["data"], json!([2.0, 2.0, 2.0]));
    assert!(
        (Duration::from_secs(1)..Duration::from_millis(1900)).contains(&elapsed),
        "{elapsed:?}"
    );
    let mut request = row([0.0; 4]);
    request["outputs"] = json!([{"name": "RIGHT"}]);
    let (_, answer) = server.infer("both", &request).await;
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    assert_eq!(
        (
            executions(&server, "dense_1").await,
            executions(&server, "dense_2").await
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn requests_are_batched_by_the_models_and_bounded_by_the_ensemble() {
    let repository = Repository::of(&["dense_1"]);
    let patient = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 500000 }";
    repository.config("dense_1", patient);
    let one = step("dense_1", "IN", "OUT");
    add(&repository, "open", &ensemble(4, &one));
    add(
        &repository,
        "narrow",
        &ensemble(4, &format!("max_inflight_requests: 1 {one}")),
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let request = row([0.0; 4]);
    let answers = join_all((0..4).map(|_| server.infer("open", &request))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(executions(&server, "dense_1").await, 1, "one batch of four");
    let answers = join_all((0..2).map(|_| server.infer("narrow", &request))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    assert_eq!(executions(&server, "dense_1").await, 3, "one after another");
}

#[tokio::test]
async fn ensembles_are_counted_beside_the_models_that_they_are_made_of() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    let inner = "step { model_name: \"chain\" model_version: 1 input_map { key: \"IN\" value: \"IN\" } \
                 output_map { key: \"OUT\" value: \"OUT\" } }\n";
    add(&repository, "around", &ensemble(2, inner));
    let server = Server::start(&repository.uri(), &[]).await;
    let (status, answer) = server.infer("around", &row([1.0, 2.0, 3.0, 4.0])).await;
    assert_eq!(
        (status, &answer["outputs"][0]["data"]),
        (200, &json!([-2.0, -3.0, -4.0])),
        "{answer}"
    );
    for model in ["around", "chain", "dense_1", "fixed"] {
        let request = ModelStatisticsRequest {
            name: model.into(),
            version: String::new(),
        };
        let all = server
            .grpc()
            .await
            .model_statistics(request)
            .await
            .unwrap()
            .into_inner();
        let stats = &all.model_stats[0];
        assert_eq!((stats.inference_count, stats.execution_count), (1, 1), "{model}");
        let inference = stats.inference_stats.as_ref().unwrap();
        let (success, infer) = (inference.success.unwrap(), inference.compute_infer.unwrap());
        assert!(
            success.count == 1 && infer.ns > 0 && infer.ns <= success.ns,
            "{model}"
        );
        let line = format!(r#"nv_inference_request_success{{model="{model}",version="1"}}"#);
        assert_eq!(server.metric(&line).await, 1.0, "{model}");
    }
}

#[tokio::test]
async fn the_time_of_a_request_is_that_of_all_its_steps() {
    let repository = Repository::new();
    let patient = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 600000 }";
    for model in ["first", "second"] {
        repository.add(model, 1, "slow");
        repository.config(model, patient);
    }
    let steps = step("first", "IN", "between") + &step("second", "between", "OUT");
    let config = ensemble(4, &steps)
        .replace("[ 4 ]", "[ 1 ]")
        .replace("[ 3 ]", "[ 1 ]");
    add(&repository, "two", &config);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut request = json!({"inputs": [{"name": "IN", "shape": [1, 1], "datatype": "FP32", "data": [5]}]});
    // Each step alone would be in time.
    request["parameters"] = json!({"timeout": 1_000_000});
    let (status, answer) = server.infer("two", &request).await;
    assert_eq!(
        (status, &answer["error"]),
        (503, &json!("in ensemble 'two', Request timeout expired"))
    );
    assert_eq!(
        (
            executions(&server, "first").await,
            executions(&server, "second").await
        ),
        (1, 0)
    );
    request["parameters"] = json!({"timeout": 20_000_000});
    let (status, answer) = server.infer("two", &request).await;
    assert_eq!(
        (status, &answer["outputs"][0]["data"]),
        (200, &json!([5.0])),
        "{answer}"
    );
    let rejected = r#"nv_inference_request_failure{model="two",version="1",reason="REJECTED"}"#;
    assert_eq!(server.metric(rejected).await, 1.0);
}

#[tokio::test]
async fn a_caller_that_leaves_takes_the_requests_of_the_steps_back() {
    let repository = Repository::of(&["dense_1"]);
    let patient = "max_batch_size: 4 dynamic_batching { max_queue_delay_microseconds: 30000000 }";
    repository.config("dense_1", patient);
    add(&repository, "one", &ensemble(4, &step("dense_1", "IN", "OUT")));
    let server = Server::start(&repository.uri(), &[]).await;
    let url = format!("{}/v2/models/one/infer", server.http);
    let left = client()
        .post(url)
        .json(&row([0.0; 4]))
        .timeout(Duration::from_millis(300))
        .send()
        .await;
    assert!(left.unwrap_err().is_timeout());
    eventually("the step and the ensemble to be counted as canceled", || async {
        let canceled = |model: &str| {
            format!(r#"nv_inference_request_failure{{model="{model}",version="1",reason="CANCELED"}}"#)
        };
        server.metric(&canceled("one")).await == 1.0 && server.metric(&canceled("dense_1")).await == 1.0
    })
    .await;
    assert_eq!(
        server
            .metric(r#"nv_inference_pending_request_count{model="dense_1",version="1"}"#)
            .await,
        0.0
    );
}

#[tokio::test]
async fn an_ensemble_names_the_classes_of_its_outputs() {
    let repository = Repository::of(&["dense_1"]);
    let config = ensemble(4, &step("dense_1", "IN", "OUT"));
    let labelled = config.replace("name: \"OUT\"", "name: \"OUT\" label_filename: \"names.txt\"");
    add(&repository, "one", &labelled);
    std::fs::write(repository.path().join("one/names.txt"), "cat\ndog\nbird\n").unwrap();
    let server = Server::start(&repository.uri(), &[]).await;
    let mut request = row([5.0, 7.0, 6.0, 0.0]);
    request["outputs"] = json!([{"name": "OUT", "parameters": {"classification": 2}}]);
    let (status, answer) = server.infer("one", &request).await;
    assert_eq!(
        (status, &answer["outputs"][0]["data"]),
        (200, &json!(["8.000000:1:dog", "7.000000:2:bird"])),
        "{answer}"
    );
}
