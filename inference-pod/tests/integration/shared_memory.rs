//! System shared memory: where it is allowed, inputs come out of it and outputs go into it, over both protocols.

use std::path::PathBuf;

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::infer_parameter::ParameterChoice;
use proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use serde_json::{Value, json};

use crate::support::{Repository, Server, post};

/// An object of shared memory, gone when dropped.
struct Object(PathBuf);

impl Object {
    fn new(content: &[u8]) -> Self {
        let path = PathBuf::from(format!("/dev/shm/aiops-integration-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn key(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().display())
    }

    fn floats(&self) -> Vec<f32> {
        let content = std::fs::read(&self.0).unwrap();
        let (numbers, _) = content.as_chunks();
        numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn parameters(offset: i64, byte_size: i64) -> std::collections::HashMap<String, proto::InferParameter> {
    let parameter = |choice| proto::InferParameter {
        parameter_choice: Some(choice),
    };
    [
        ("shared_memory_region", ParameterChoice::StringParam("r".into())),
        ("shared_memory_offset", ParameterChoice::Int64Param(offset)),
        ("shared_memory_byte_size", ParameterChoice::Int64Param(byte_size)),
    ]
    .into_iter()
    .map(|(name, choice)| (name.to_owned(), parameter(choice)))
    .collect()
}

#[tokio::test]
async fn tensors_travel_in_shared_memory_over_both_protocols() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--allow-client-shm=true"]).await;
    let extensions = server.get(format!("{}/v2", server.http)).await["extensions"].clone();
    assert!(
        extensions
            .as_array()
            .unwrap()
            .contains(&json!("system_shared_memory"))
    );
    let object = Object::new(&bytes(&[1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0]));
    let url = |path: &str| format!("{}/v2/systemsharedmemory/{path}", server.http);
    let region = json!({"key": object.key(), "offset": 0, "byte_size": 32});
    let registered = crate::support::client()
        .post(url("region/r/register"))
        .json(&region)
        .send()
        .await
        .unwrap();
    assert_eq!(registered.status(), 200);
    let listed = json!([{"name": "r", "key": object.key(), "offset": 0, "byte_size": 32}]);
    assert_eq!(server.get(url("status")).await, listed);
    let (status, again) = post(&url("region/r/register"), &region).await;
    assert_eq!(
        (status, &again["error"]),
        (400, &json!("shared memory region 'r' already in manager"))
    );

    let request = json!({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4],
                    "parameters": {"shared_memory_region": "r", "shared_memory_byte_size": 16}}],
        "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r", "shared_memory_offset": 16,
                                                 "shared_memory_byte_size": 12}}],
    });
    let (status, answer) = server.infer("dense_1", &request).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0].get("data"), None::<&Value>);
    assert_eq!(object.floats(), [1.0, 2.0, 3.0, 4.0, 2.0, 3.0, 4.0, 0.0]);

    std::fs::write(&object.0, bytes(&[5.0, 6.0, 7.0, 8.0, 0.0, 0.0, 0.0, 0.0])).unwrap();
    let request = proto::ModelInferRequest {
        model_name: "dense_1".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 4],
            parameters: parameters(0, 16),
            ..Default::default()
        }],
        outputs: vec![InferRequestedOutputTensor {
            name: "y".into(),
            parameters: parameters(16, 16),
        }],
        ..Default::default()
    };
    let mut grpc = server.grpc().await;
    let answer = grpc.model_infer(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.raw_output_contents, [""]);
    assert_eq!(object.floats(), [5.0, 6.0, 7.0, 8.0, 6.0, 7.0, 8.0, 0.0]);

    grpc.system_shared_memory_unregister(proto::SystemSharedMemoryUnregisterRequest { name: "r".into() })
        .await
        .unwrap();
    let error = grpc.model_infer(request).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (tonic::Code::NotFound, "Unable to find shared memory region: 'r'")
    );
}
