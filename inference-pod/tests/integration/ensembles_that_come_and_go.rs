//! Ensembles among the models that come and go: what is refused, what is loaded with them, what they tell when a model is gone.

use std::time::Duration;

use aiops_inference_pod::protocol::grpc_v2::proto::ModelReadyRequest;
use serde_json::{Value, json};

use crate::ensembles::{add, chain, ensemble, row, step};
use crate::support::{Repository, Server, client, eventually, post};

const EXPLICIT: &str = "--model-control-mode=explicit";

async fn call(server: &Server, path: &str, body: &Value) -> (u16, String) {
    let url = format!("{}/v2/repository/models/{path}", server.http);
    let answer = client().post(url).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn state(server: &Server, model: &str) -> (String, String) {
    let (_, index) = post(&format!("{}/v2/repository/index", server.http), &json!({})).await;
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
async fn ensembles_that_are_loaded_at_the_same_time_load_what_they_share_once() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    add(&repository, "other", &ensemble(8, &step("dense_1", "IN", "OUT")));
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    let nothing = json!({});
    let (chain, other) = tokio::join!(
        call(&server, "chain/load", &nothing),
        call(&server, "other/load", &nothing)
    );
    assert_eq!((chain.0, other.0), (200, 200), "{} {}", chain.1, other.1);
    assert!(is_ready(&server, "chain").await && is_ready(&server, "other").await);
    let log = server.log();
    let loads = |model: &str| {
        let lines = log
            .lines()
            .filter(|line| line.contains("model version is loaded"));
        lines.filter(|line| line.contains(model)).count()
    };
    assert_eq!((loads("dense_1"), loads("fixed")), (1, 1), "{log}");
}

#[tokio::test]
async fn ensembles_of_each_other_that_are_loaded_at_the_same_time_do_not_wait_for_each_other() {
    let repository = Repository::new();
    let of = |model: &str| {
        let named = step(model, "IN", "OUT").replace("\"x\"", "\"IN\"");
        ensemble(0, &named.replace("\"y\"", "\"OUT\""))
    };
    add(&repository, "left", &of("right"));
    add(&repository, "right", &of("left"));
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    for _ in 0..10 {
        let nothing = json!({});
        let both = futures::future::join(
            call(&server, "left/load", &nothing),
            call(&server, "right/load", &nothing),
        );
        let (left, right) = tokio::time::timeout(Duration::from_secs(30), both).await.unwrap();
        for (status, text) in [left, right] {
            assert!(
                status == 400 && text.contains("circular dependency"),
                "{status} {text}"
            );
        }
    }
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

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_while_a_model_of_an_ensemble_is_replaced() {
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    let server = Server::start(&repository.uri(), &[EXPLICIT, "--load-model=chain"]).await;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let ask = async {
        let mut answers = std::collections::BTreeMap::new();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            let (status, answer) = server.infer("chain", &row([0.0; 4])).await;
            assert_eq!(status, 200, "{answer}");
            let first = answer["outputs"][0]["data"][0].to_string();
            *answers.entry(first).or_insert(0) += 1;
        }
        answers
    };
    let replace = async {
        for turn in 0..10 {
            repository.add("dense_1", 1, if turn % 2 == 0 { "dense_2" } else { "dense_1" });
            assert_eq!(call(&server, "dense_1/load", &json!({})).await.0, 200);
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    };
    let (one, other, ()) = tokio::join!(ask, async { is_ready(&server, "chain").await }, replace);
    assert!(other);
    let answers: Vec<_> = one.keys().map(String::as_str).collect();
    assert_eq!(answers, ["-1.0", "-2.0"], "{one:?}");
}

#[tokio::test]
async fn dependents_are_unloaded_over_grpc_too() {
    use aiops_inference_pod::protocol::grpc_v2::proto;
    let repository = Repository::of(&["dense_1", "fixed"]);
    chain(&repository);
    let server = Server::start(&repository.uri(), &[EXPLICIT, "--load-model=chain"]).await;
    let unload = |with_dependents| proto::RepositoryModelUnloadRequest {
        model_name: "chain".into(),
        parameters: [(
            "unload_dependents".to_owned(),
            proto::ModelRepositoryParameter {
                parameter_choice: Some(proto::model_repository_parameter::ParameterChoice::BoolParam(
                    with_dependents,
                )),
            },
        )]
        .into(),
        ..Default::default()
    };
    let mut grpc = server.grpc().await;
    grpc.repository_model_unload(unload(false)).await.unwrap();
    assert!(!is_ready(&server, "chain").await && is_ready(&server, "fixed").await);
    assert_eq!(call(&server, "chain/load", &json!({})).await.0, 200);
    grpc.repository_model_unload(unload(true)).await.unwrap();
    assert!(!is_ready(&server, "fixed").await && !is_ready(&server, "dense_1").await);
}
