//! Ensembles: models of the repository that are called as one.

use std::time::{Duration, Instant};

use aiops_inference_pod::protocol::grpc_v2::proto;
use futures::future::join_all;
use proto::model_config::SchedulingChoice;
use proto::{ModelConfigRequest, ModelMetadataRequest, ModelReadyRequest, ModelStatisticsRequest};
use serde_json::{Value, json};

use crate::support::{Repository, Server, client, eventually};

const EXPLICIT: &str = "--model-control-mode=explicit";

/// One call of a model with the input `x` and the output `y`.
fn step(model: &str, from: &str, to: &str) -> String {
    format!(
        "step {{ model_name: \"{model}\" model_version: -1 input_map {{ key: \"x\" value: \"{from}\" }} \
         output_map {{ key: \"y\" value: \"{to}\" }} }}\n"
    )
}

fn tensor(role: &str, name: &str, sizes: &str) -> String {
    format!("{role} {{ name: \"{name}\" data_type: TYPE_FP32 dims: [ {sizes} ] }}\n")
}

/// From four elements, `IN`, to three, `OUT`.
fn ensemble(rows: u32, steps: &str) -> String {
    format!(
        "platform: \"ensemble\"\nmax_batch_size: {rows}\n{}{}ensemble_scheduling {{\n{steps}}}\n",
        tensor("input", "IN", "4"),
        tensor("output", "OUT", "3")
    )
}

fn add(repository: &Repository, name: &str, config: &str) {
    std::fs::create_dir_all(repository.path().join(name).join("1")).unwrap();
    repository.config(name, config);
}

/// `dense_1`, and then `fixed`, which has no rows: OUT = -(IN[..3] + 1).
fn chain(repository: &Repository) {
    let steps = step("fixed", "between", "OUT") + &step("dense_1", "IN", "between");
    add(repository, "chain", &ensemble(8, &steps));
}

fn row(values: [f64; 4]) -> Value {
    json!({"id": "r1", "inputs": [{"name": "IN", "shape": [1, 4], "datatype": "FP32", "data": values}]})
}

fn rows(count: usize) -> Value {
    json!({"inputs": [{"name": "IN", "shape": [count, 4], "datatype": "FP32", "data": vec![0.0; 4 * count]}]})
}

async fn call(server: &Server, path: &str, body: &Value) -> (u16, String) {
    let url = format!("{}/v2/repository/models/{path}", server.http);
    let answer = client().post(url).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn state(server: &Server, model: &str) -> (String, String) {
    let (_, index) = crate::support::post(&format!("{}/v2/repository/index", server.http), &json!({})).await;
    let found = index
        .as_array()
        .unwrap()
        .iter()
        .find(|status| status["name"] == model)
        .unwrap()
        .clone();
    let text = |name: &str| found[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

async fn is_ready(server: &Server, model: &str) -> bool {
    let url = format!("{}/v2/models/{model}/ready", server.http);
    let over_http = client().get(url).send().await.unwrap().status() == 200;
    let request = ModelReadyRequest {
        name: model.into(),
        version: String::new(),
    };
    let over_grpc = server
        .grpc()
        .await
        .model_ready(request)
        .await
        .unwrap()
        .into_inner()
        .ready;
    assert_eq!(over_http, over_grpc);
    over_http
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
            "inference request batch-size must be between 1 and 8 for 'chain', got 9",
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
async fn ensembles_that_do_not_fit_their_models_are_refused_with_what_to_do() {
    let repository = Repository::of(&["dense_1", "dense_2", "fixed", "ratio"]);
    repository.config("dense_2", "max_batch_size: 2");
    let one = step("dense_1", "IN", "OUT");
    let inner = |model: &str| {
        step(model, "IN", "OUT")
            .replace("\"x\"", "\"IN\"")
            .replace("\"y\"", "\"OUT\"")
    };
    add(&repository, "left", &ensemble(0, &inner("right")));
    add(&repository, "right", &ensemble(0, &inner("left")));
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    for (config, part) in [
        (
            ensemble(4, &step("absent", "IN", "OUT")),
            "config.pbtxt line 6: ensemble e contains models that are not available or ambiguous: absent; an ensemble needs the models of \
             its steps served beside it",
        ),
        (
            ensemble(4, &one.replace("-1", "7")),
            "ensemble e contains models that are not available or ambiguous: dense_1 version 7",
        ),
        (
            ensemble(4, &step("dense_2", "IN", "OUT")),
            "ensemble e allows maximum batch size 4, but it contains model dense_2 which only allows maximum batch size to be 2; \
             lower max_batch_size of the ensemble or raise that of the model",
        ),
        (
            ensemble(4, &one.replace("\"x\"", "\"z\"")),
            "in ensemble e, ensemble tensor IN is mapping to non-existing input z in model dense_1, which takes x",
        ),
        (
            ensemble(4, &one.replace("\"y\"", "\"z\"")),
            "in ensemble e, ensemble tensor OUT is mapped from non-existing output z in model dense_1, which answers y",
        ),
        (
            ensemble(4, &step("ratio", "IN", "OUT")),
            "in ensemble e, ensemble tensor IN: inconsistent shape: [-1,4] is inferred from model e while [-1,1] is inferred from \
             model ratio",
        ),
        (
            ensemble(4, &step("ratio", "IN", "OUT")).replace("[ 4 ]", "[ 1 ]"),
            "in ensemble e, input divisor in model ratio is not mapped to any ensemble tensors; add it to the input_map of step 0",
        ),
        (
            ensemble(4, &one).replacen("TYPE_FP32", "TYPE_INT64", 1),
            "in ensemble e, ensemble tensor IN: inconsistent data type: TYPE_INT64 is inferred from model e while TYPE_FP32 is \
             inferred from model dense_1",
        ),
        (
            ensemble(4, &inner("e")),
            "circular dependency between ensembles: e -> ... -> e -> e",
        ),
        (
            ensemble(4, "step { }"),
            "step of model '' lacks its model_version",
        ),
    ] {
        add(&repository, "e", &config);
        let (status, text) = call(&server, "e/load", &json!({})).await;
        assert!(status == 400 && text.contains(part), "{status} {text}\n{part}");
        assert_eq!(state(&server, "e").await.0, "UNAVAILABLE");
    }
    let (status, text) = call(&server, "left/load", &json!({})).await;
    assert!(
        status == 400 && text.contains("circular dependency between ensembles: left -> ... -> right -> left"),
        "{status} {text}"
    );
    drop(server);
    // The same where the server loads all by itself: it says so and ends.
    let mut server = Server::start_unready(&repository.uri(), &[]);
    assert!(!server.end().await.success());
    let log = server.log();
    assert!(
        log.contains("circular dependency between ensembles: left -> ... -> right -> left")
            && log.contains("model e cannot be loaded"),
        "{log}"
    );
}

#[tokio::test]
async fn an_ensemble_is_loaded_with_its_models_and_tells_when_one_of_them_went_away() {
    let repository = Repository::of(&["dense_1", "dense_2", "fixed"]);
    chain(&repository);
    add(&repository, "other", &ensemble(8, &step("dense_1", "IN", "OUT")));
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    assert_eq!(
        call(&server, "chain/load", &json!({})).await,
        (200, String::new())
    );
    assert!(is_ready(&server, "chain").await && is_ready(&server, "fixed").await);
    assert!(!is_ready(&server, "dense_2").await);
    let zero = row([0.0; 4]);
    assert_eq!(
        server.infer("chain", &zero).await.1["outputs"][0]["data"],
        json!([-1.0, -1.0, -1.0])
    );

    assert_eq!(call(&server, "dense_1/unload", &json!({})).await.0, 200);
    let (status, answer) = server.infer("chain", &zero).await;
    assert_eq!(status, 503);
    assert_eq!(
        answer["error"],
        "in ensemble 'chain', Request for unknown model: 'dense_1' has no available versions"
    );
    assert!(!is_ready(&server, "chain").await);
    let (now, reason) = state(&server, "chain").await;
    assert!(
        now == "UNAVAILABLE"
            && reason.contains("ensemble chain contains models that are not available or ambiguous: dense_1"),
        "{now} {reason}"
    );
    assert_eq!(call(&server, "dense_1/load", &json!({})).await.0, 200);
    assert!(is_ready(&server, "chain").await);
    assert_eq!(state(&server, "chain").await.0, "READY");

    // Replaced by one that answers something else, and then by one that does not fit.
    repository.add("dense_1", 1, "dense_2");
    assert_eq!(call(&server, "dense_1/load", &json!({})).await.0, 200);
    assert_eq!(
        server.infer("chain", &zero).await.1["outputs"][0]["data"],
        json!([-2.0, -2.0, -2.0])
    );
    repository.add("dense_1", 1, "ratio");
    assert_eq!(call(&server, "dense_1/load", &json!({})).await.0, 200);
    let (status, answer) = server.infer("chain", &zero).await;
    assert!(
        status == 400
            && answer["error"]
                .as_str()
                .unwrap()
                .starts_with("in ensemble 'chain', expected 2 inputs"),
        "{status} {answer}"
    );
    assert!(!is_ready(&server, "chain").await);

    repository.add("dense_1", 1, "dense_1");
    for model in ["dense_1", "other"] {
        assert_eq!(call(&server, &format!("{model}/load"), &json!({})).await.0, 200);
    }
    let dependents = json!({"parameters": {"unload_dependents": true}});
    assert_eq!(call(&server, "chain/unload", &dependents).await.0, 200);
    assert!(!is_ready(&server, "chain").await && !is_ready(&server, "fixed").await);
    assert!(
        is_ready(&server, "other").await,
        "what another ensemble needs stays"
    );
    assert_eq!(call(&server, "other/unload", &dependents).await.0, 200);
    assert!(!is_ready(&server, "dense_1").await);
    // What the server tells of an ensemble can be given back to it.
    assert_eq!(call(&server, "chain/load", &json!({})).await.0, 200);
    let config = server
        .get(format!("{}/v2/models/chain/config", server.http))
        .await;
    let given = json!({"parameters": {"config": config.to_string()}});
    assert_eq!(call(&server, "chain/load", &given).await, (200, String::new()));
    assert!(is_ready(&server, "chain").await);
}

#[tokio::test]
async fn a_server_that_is_told_to_load_an_ensemble_loads_its_models_too() {
    let repository = Repository::of(&["dense_1", "dense_2", "fixed"]);
    chain(&repository);
    let server = Server::start(&repository.uri(), &[EXPLICIT, "--load-model=chain"]).await;
    assert!(is_ready(&server, "chain").await && !is_ready(&server, "dense_2").await);
}

#[tokio::test]
async fn a_serving_plan_names_the_models_of_an_ensemble() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plan.json");
    let plan = |names: &[&str]| {
        let models: Vec<_> = names
            .iter()
            .map(|name| json!({"name": name, "defaultVersion": 1, "versions": [{"version": 1}]}))
            .collect();
        let next = folder.path().join("next");
        std::fs::write(&next, json!({"formatVersion": 1, "models": models}).to_string()).unwrap();
        std::fs::rename(next, &path).unwrap();
    };
    plan(&["chain", "dense_1"]);
    let server = Server::start_unready(&repository.uri(), &["--serving-plan", path.to_str().unwrap()]);
    eventually("the plan to fail", || async {
        server.plan().await["state"] == "Failed"
    })
    .await;
    let message = server.plan().await["message"].to_string();
    assert!(
        message.contains("model chain cannot be served")
            && message.contains("ensemble chain contains models that are not available or ambiguous: fixed"),
        "{message}"
    );
    assert!(!server.is_ready().await);
    plan(&["chain", "dense_1", "fixed"]);
    server.wait_until_ready().await;
    assert_eq!(server.plan().await["state"], "Applied");
    assert_eq!(server.infer("chain", &row([0.0; 4])).await.0, 200);
}
