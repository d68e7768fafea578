//! The classification extension: the greatest values of an output with their places and labels.

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::infer_parameter::ParameterChoice;
use proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use proto::{InferParameter, ModelInferRequest};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Repository, Server, client, publish_into};

const WITH_LABELS: &str = "max_batch_size: 8 input { name: \"x\" data_type: TYPE_FP32 dims: [ 4 ] } \
     output { name: \"y\" data_type: TYPE_FP32 dims: [ 3 ] label_filename: \"labels.txt\" }";

fn labelled() -> Repository {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", WITH_LABELS);
    std::fs::write(repository.path().join("dense_1/labels.txt"), "cat\ndog\n").unwrap();
    repository
}

fn request(parameters: &Value) -> Value {
    json!({"inputs": [{"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [1, 3, 2, 0, 0.5, 0, 0, 0]}],
           "outputs": [{"name": "y", "parameters": parameters}]})
}

#[tokio::test]
async fn classes_are_answered_as_json_and_as_binary_data() {
    let repository = labelled();
    let server = Server::start(&repository.uri(), &[]).await;
    let (status, answer) = server
        .infer("dense_1", &request(&json!({"classification": 2})))
        .await;
    assert_eq!(status, 200, "{answer}");
    let strings = ["4.000000:1:dog", "3.000000:2", "1.500000:0:cat", "1.000000:1:dog"];
    assert_eq!(
        answer["outputs"],
        json!([{"name": "y", "datatype": "BYTES", "shape": [2, 2], "data": strings}])
    );
    let answer = client()
        .post(format!("{}/v2/models/dense_1/infer", server.http))
        .json(&request(&json!({"classification": 2, "binary_data": true})))
        .send()
        .await
        .unwrap();
    let length: usize = answer.headers()["inference-header-content-length"]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    let expected: Vec<u8> = strings
        .iter()
        .flat_map(|string| [&(string.len() as u32).to_le_bytes()[..], string.as_bytes()].concat())
        .collect();
    assert_eq!(answer.bytes().await.unwrap()[length..], expected);
    let (_, answer) = server
        .infer("dense_1", &request(&json!({"classification": 99})))
        .await;
    assert_eq!(
        answer["outputs"][0]["shape"],
        json!([2, 3]),
        "no more than there are"
    );
    let (_, answer) = server
        .infer("dense_1", &request(&json!({"classification": 0})))
        .await;
    assert_eq!(answer["outputs"][0]["datatype"], "FP32", "0 is not at all");
    let (status, answer) = server
        .infer("dense_1", &request(&json!({"classification": -1})))
        .await;
    assert_eq!(status, 400, "{answer}");
    let config = server
        .get(format!("{}/v2/models/dense_1/config", server.http))
        .await;
    assert_eq!(config["output"][0]["label_filename"], "labels.txt");
}

#[tokio::test]
async fn published_models_know_the_names_of_their_classes() {
    let repository = Repository::new();
    publish_into(&repository, "iris", "iris", 1);
    publish_into(&repository, "iris_names", "iris_names", 1);
    let server = Server::start(&repository.uri(), &[]).await;
    let request = |output: &str| {
        json!({"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [5.1, 3.5, 1.4, 0.2]}],
               "outputs": [{"name": output, "parameters": {"classification": 1}}]})
    };
    let (_, answer) = server.infer("iris", &request("probabilities")).await;
    let class = answer["outputs"][0]["data"][0].as_str().unwrap();
    assert!(
        class.starts_with("0.9") && class.ends_with(":0:setosa"),
        "{class}"
    );
    let (_, answer) = server.infer("iris", &request("label")).await;
    assert_eq!(
        answer["outputs"][0]["data"],
        json!(["0:0"]),
        "a label is no column of classes"
    );
    let (status, answer) = server.infer("iris_names", &request("label")).await;
    let error = answer["error"].as_str().unwrap();
    assert!(
        status == 400
            && error.starts_with("class result not available for output due to unsupported type 'BYTES'"),
        "{answer}"
    );
}

#[tokio::test]
async fn classes_are_answered_over_grpc() {
    let repository = labelled();
    let server = Server::start(&repository.uri(), &[]).await;
    let request = |choice: ParameterChoice| {
        let count = InferParameter {
            parameter_choice: Some(choice),
        };
        let row: Vec<u8> = [1_f32, 3.0, 2.0, 0.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        ModelInferRequest {
            model_name: "dense_1".into(),
            inputs: vec![InferInputTensor {
                name: "x".into(),
                datatype: "FP32".into(),
                shape: vec![1, 4],
                ..Default::default()
            }],
            outputs: vec![InferRequestedOutputTensor {
                name: "y".into(),
                parameters: [("classification".to_owned(), count)].into(),
            }],
            raw_input_contents: vec![row.into()],
            ..Default::default()
        }
    };
    let mut client = server.grpc().await;
    let answer = client
        .model_infer(request(ParameterChoice::Int64Param(1)))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (answer.outputs[0].datatype.as_str(), &answer.outputs[0].shape[..]),
        ("BYTES", &[1, 1][..])
    );
    assert_eq!(answer.raw_output_contents[0][4..], *b"4.000000:1:dog");
    let error = client
        .model_infer(request(ParameterChoice::BoolParam(true)))
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument, "{error}");
}

#[tokio::test]
async fn a_label_file_that_is_missing_is_named() {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", WITH_LABELS);
    let server = Server::start_unready(&repository.uri(), &["--exit-on-error=false"]);
    crate::support::eventually("the model to be unavailable", || async {
        let (_, index) =
            crate::support::post(&format!("{}/v2/repository/index", server.http), &json!({})).await;
        let reason = index[0]["reason"].as_str().unwrap_or_default();
        reason.contains("label_filename \"labels.txt\" of output 'y' is neither in the version's folder")
    })
    .await;
}
