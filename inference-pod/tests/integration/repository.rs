//! The model repository extension: the index, and models that are loaded and unloaded by call.

use aiops_inference_pod::protocol::grpc_v2::proto;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proto::ModelRepositoryParameter;
use proto::model_repository_parameter::ParameterChoice;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Repository, Server, client, eventually, models};

const EXPLICIT: &str = "--model-control-mode=explicit";

async fn call(server: &Server, path: &str, body: &Value) -> (u16, String) {
    let answer = client()
        .post(format!("{}/v2/repository/{path}", server.http))
        .json(body)
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn index(server: &Server, body: &Value) -> Value {
    serde_json::from_str(&call(server, "index", body).await.1).unwrap()
}

/// The first value that a model answers to zeros, which tells its version.
async fn answer(server: &Server, model: &str) -> (u16, Value) {
    let request =
        json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]}]});
    let (status, answer) = server.infer(model, &request).await;
    (status, answer["outputs"][0]["data"][0].clone())
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_by_call() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    let server = Server::start(&repository.uri(), &[EXPLICIT, "--load-model=dense_1"]).await;
    assert_eq!(answer(&server, "dense_1").await, (200, json!(1.0)));
    assert_eq!(answer(&server, "dense_2").await.0, 404);
    assert_eq!(
        index(&server, &json!({})).await,
        json!([{"name": "dense_1", "version": "1", "state": "READY"}, {"name": "dense_2"}])
    );
    assert_eq!(
        index(&server, &json!({"ready": true}))
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        call(&server, "models/dense_2/load", &json!({})).await,
        (200, String::new())
    );
    assert_eq!(answer(&server, "dense_2").await, (200, json!(2.0)));
    let unload = json!({"parameters": {"unload_dependents": true}});
    assert_eq!(
        call(&server, "models/dense_1/unload", &unload).await,
        (200, String::new())
    );
    assert_eq!(answer(&server, "dense_1").await.0, 404);
    eventually("the model to be listed as unloaded", || async {
        index(&server, &json!({})).await[0]
            == json!({"name": "dense_1", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"})
    })
    .await;
    assert_eq!(
        call(&server, "models/absent/unload", &unload).await.0,
        200,
        "what is not loaded is unloaded"
    );
    let extensions = server.get(format!("{}/v2", server.http)).await["extensions"].clone();
    assert!(
        extensions
            .as_array()
            .unwrap()
            .contains(&json!("model_repository")),
        "{extensions}"
    );
    assert!(server.is_ready().await);
}

#[tokio::test]
async fn a_model_is_loaded_anew_and_keeps_answering_when_that_fails() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[EXPLICIT, "--load-model=*"]).await;
    repository.add("dense_1", 1, "dense_2");
    assert_eq!(answer(&server, "dense_1").await, (200, json!(1.0)));
    assert_eq!(call(&server, "models/dense_1/load", &json!({})).await.0, 200);
    assert_eq!(answer(&server, "dense_1").await, (200, json!(2.0)));
    std::fs::write(repository.path().join("dense_1/1/model.onnx"), "nonsense").unwrap();
    let (status, text) = call(&server, "models/dense_1/load", &json!({})).await;
    assert!(
        status == 400
            && text.contains(
                "load failed for model 'dense_1': version 1 is at UNAVAILABLE state: file model.onnx"
            ),
        "{status} {text}"
    );
    assert_eq!(answer(&server, "dense_1").await, (200, json!(2.0)));
    assert_eq!(index(&server, &json!({})).await[0]["state"], "READY");
    let (status, text) = call(&server, "models/absent/load", &json!({})).await;
    assert!(
        status == 500 && text.contains("failed to load 'absent', failed to poll from model repository"),
        "{status} {text}"
    );
}

#[tokio::test]
async fn a_call_may_bring_its_own_configuration_and_files() {
    let repository = Repository::of(&["dense_1"]);
    repository.add("dense_1", 2, "dense_2");
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    let config = json!({"max_batch_size": 2, "version_policy": {"specific": {"versions": [1]}}}).to_string();
    let (status, text) = call(
        &server,
        "models/dense_1/load",
        &json!({"parameters": {"config": config}}),
    )
    .await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(answer(&server, "dense_1").await, (200, json!(1.0)));
    let shown = server
        .get(format!("{}/v2/models/dense_1/config", server.http))
        .await;
    assert_eq!(shown["max_batch_size"], 2);
    // What the server says of a model can be given back to it.
    let again = json!({"parameters": {"config": shown.to_string()}});
    let (status, text) = call(&server, "models/dense_1/load", &again).await;
    assert_eq!(status, 200, "{text}");

    let file = STANDARD.encode(std::fs::read(models().join("dense_2.onnx")).unwrap());
    let (status, text) = call(
        &server,
        "models/brought/load",
        &json!({"parameters": {"config": "{}", "file:7/model.onnx": file}}),
    )
    .await;
    assert_eq!(status, 200, "{text}");
    assert_eq!(answer(&server, "brought/versions/7").await, (200, json!(2.0)));
    for (parameters, part) in [
        (json!({"file:1/model.onnx": file}), "need the parameter 'config'"),
        (
            json!({"config": "{}", "file:../x/1/model.onnx": file}),
            "inside the model's folder",
        ),
        (json!({"config": "{}", "file:1/model.onnx": "%"}), "is not base64"),
        (json!({"config": "[]"}), "not a JSON object"),
        (
            json!({"config": {}}),
            "invalid value type for load parameter 'config'",
        ),
        (json!({"colour": "red"}), "unrecognized load parameter 'colour'"),
        (
            json!({"config": "{\"sequence_batching\": {}}"}),
            "sequence_batching is not supported",
        ),
    ] {
        let (status, text) = call(&server, "models/dense_1/load", &json!({"parameters": parameters})).await;
        assert!(
            status == 400 && text.contains(part),
            "{parameters}: {status} {text}"
        );
    }
    assert_eq!(answer(&server, "brought").await.0, 200);
}

#[tokio::test]
async fn models_are_loaded_and_unloaded_over_grpc() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[EXPLICIT]).await;
    let mut client = server.grpc().await;
    let states = async |client: &mut proto::grpc_inference_service_client::GrpcInferenceServiceClient<_>| {
        let index = client
            .repository_index(proto::RepositoryIndexRequest::default())
            .await
            .unwrap()
            .into_inner();
        index
            .models
            .into_iter()
            .map(|model| (model.name, model.state))
            .collect::<Vec<_>>()
    };
    assert_eq!(states(&mut client).await, [("dense_1".into(), String::new())]);
    let parameter = |choice| ModelRepositoryParameter {
        parameter_choice: Some(choice),
    };
    let load = |name: &str, parameters: &[(&str, ParameterChoice)]| proto::RepositoryModelLoadRequest {
        model_name: name.into(),
        parameters: parameters
            .iter()
            .map(|(name, choice)| ((*name).to_owned(), parameter(choice.clone())))
            .collect(),
        ..Default::default()
    };
    client.repository_model_load(load("dense_1", &[])).await.unwrap();
    assert_eq!(answer(&server, "dense_1").await, (200, json!(1.0)));
    let file = std::fs::read(models().join("dense_2.onnx")).unwrap();
    let brought = [
        ("config", ParameterChoice::StringParam("{}".into())),
        ("file:1/model.onnx", ParameterChoice::BytesParam(file)),
    ];
    client
        .repository_model_load(load("dense_1", &brought))
        .await
        .unwrap();
    assert_eq!(answer(&server, "dense_1").await, (200, json!(2.0)));
    client
        .repository_model_unload(proto::RepositoryModelUnloadRequest {
            model_name: "dense_1".into(),
            parameters: [(
                "unload_dependents".into(),
                parameter(ParameterChoice::BoolParam(true)),
            )]
            .into(),
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(answer(&server, "dense_1").await.0, 404);
    let error = client
        .repository_model_load(load("absent", &[]))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Internal, "{error}");
    let named = proto::RepositoryModelLoadRequest {
        repository_name: "other".into(),
        ..Default::default()
    };
    assert_eq!(
        client.repository_model_load(named).await.unwrap_err().code(),
        Code::Unimplemented
    );
    assert_eq!(
        call(&server, "other/models/dense_1/load", &json!({})).await.0,
        501
    );
}

#[tokio::test]
async fn calls_do_not_decide_where_the_repository_or_a_plan_does() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    for verb in ["load", "unload"] {
        let (status, text) = call(&server, &format!("models/dense_1/{verb}"), &json!({})).await;
        assert!(
            status == 503
                && text.contains("explicit model load / unload is not allowed if polling is enabled"),
            "{status} {text}"
        );
    }
    let extensions = server.get(format!("{}/v2", server.http)).await["extensions"].clone();
    assert!(
        !extensions
            .as_array()
            .unwrap()
            .contains(&json!("model_repository")),
        "{extensions}"
    );
    let plan = repository.path().join("plan.json");
    let text = json!({"formatVersion": 1, "models": [{"name": "dense_1", "defaultVersion": 1, "versions": [{"version": 1}]}]});
    std::fs::write(&plan, text.to_string()).unwrap();
    let argument = format!("--serving-plan={}", plan.display());
    let server = Server::start(&repository.uri(), &[&argument]).await;
    let (status, text) = call(&server, "models/dense_1/load", &json!({})).await;
    assert!(
        status == 501 && text.contains("follows its serving plan"),
        "{status} {text}"
    );
    for arguments in [&[EXPLICIT, &argument][..], &["--load-model=dense_1"]] {
        let output = crate::support::program()
            .args(["--model-repository", &repository.uri()])
            .args(arguments)
            .output()
            .unwrap();
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && log.contains("--model-control-mode=explicit"),
            "{log}"
        );
    }
}
