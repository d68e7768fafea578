//! Requests of nothing but the bytes of the only input, and tensors of half precision.

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::ModelInferRequest;
use proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use serde_json::{Value, json};

use crate::support::{Repository, Server, client};

async fn raw(server: &Server, model: &str, body: Vec<u8>) -> (u16, Value, Vec<u8>) {
    let answer = client()
        .post(format!("{}/v2/models/{model}/infer", server.http))
        .header("Inference-Header-Content-Length", 0)
        .body(body)
        .send()
        .await
        .unwrap();
    let status = answer.status().as_u16();
    let length = answer
        .headers()
        .get("inference-header-content-length")
        .map(|length| length.to_str().unwrap().parse().unwrap());
    let body = answer.bytes().await.unwrap();
    let length = length.unwrap_or(body.len());
    (
        status,
        serde_json::from_slice(&body[..length]).unwrap(),
        body[length..].to_vec(),
    )
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[tokio::test]
async fn a_raw_request_is_one_row_and_is_answered_in_binary() {
    let repository = Repository::of(&["dense_1", "fixed", "columns_of_99", "ratio", "convolution"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let (status, json, binary) = raw(&server, "dense_1", floats(&[1.0, 2.0, 3.0, 4.0])).await;
    assert_eq!(status, 200, "{json}");
    assert_eq!(
        json["outputs"],
        json!([{"name": "y", "datatype": "FP32", "shape": [1, 3], "parameters": {"binary_data_size": 12}}])
    );
    assert_eq!(binary, floats(&[2.0, 3.0, 4.0]));
    let (status, json, binary) = raw(&server, "fixed", floats(&[1.0, 2.0, 3.0])).await;
    assert_eq!(status, 200, "{json}");
    assert_eq!(binary, floats(&[-1.0, -2.0, -3.0]));
    let (status, json, _) = raw(&server, "columns_of_99", floats(&[1.0; 99])).await;
    assert_eq!(status, 200, "an open size is that of the body: {json}");
    for (model, body, part) in [
        ("dense_1", floats(&[1.0; 5]), "Expected 16, got 20"),
        ("dense_1", vec![], "Expected 16, got 0"),
        ("dense_1", vec![1; 15], "Expected 16, got 15"),
        (
            "ratio",
            floats(&[1.0]),
            "Raw request must only have 1 input (found 1) to be deduced but got 2 inputs in 'ratio' model",
        ),
        ("convolution", floats(&[1.0]), "at most one open size"),
    ] {
        let (status, json, _) = raw(&server, model, body).await;
        assert!(
            status == 400 && json["error"].as_str().unwrap().contains(part),
            "{json}"
        );
    }
}

#[tokio::test]
async fn half_precision_travels_as_bytes_and_not_as_json() {
    let repository = Repository::of(&["halves"]);
    let server = Server::start(&repository.uri(), &[]).await;
    // 1.0, -2.0, infinity and NaN of either kind.
    let fp16: Vec<u8> = [0x3c00_u16, 0xc000, 0x7c00, 0x7e01]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    let bf16: Vec<u8> = [0x3f80_u16, 0xc000, 0x7f80, 0x7fc1]
        .iter()
        .flat_map(|bits| bits.to_le_bytes())
        .collect();
    let inputs = |size: usize| {
        json!([{"name": "fp16", "datatype": "FP16", "shape": [2, 2], "parameters": {"binary_data_size": size}},
               {"name": "bf16", "datatype": "BF16", "shape": [2, 2], "parameters": {"binary_data_size": size}}])
    };
    let send = async |header: Value, binary: Vec<u8>| {
        let header = header.to_string();
        let answer = client()
            .post(format!("{}/v2/models/halves/infer", server.http))
            .header("Inference-Header-Content-Length", header.len())
            .body([header.as_bytes(), &binary].concat())
            .send()
            .await
            .unwrap();
        (answer.status().as_u16(), answer.bytes().await.unwrap())
    };
    let both = [fp16.clone(), bf16.clone()].concat();
    let (status, body) = send(
        json!({"inputs": inputs(8), "parameters": {"binary_data_output": true}}),
        both.clone(),
    )
    .await;
    assert_eq!(status, 200);
    assert!(body.ends_with(&both), "bit for bit, NaN included");
    let (status, body) = send(json!({"inputs": inputs(8)}), both.clone()).await;
    let text = String::from_utf8_lossy(&body);
    assert!(
        status == 400 && text.contains("sending FP16 data via JSON is not supported"),
        "{text}"
    );
    let (status, body) = send(json!({"inputs": inputs(6)}), both[..12].to_vec()).await;
    let text = String::from_utf8_lossy(&body);
    assert!(status == 400 && text.contains("Expected 8, got 6"), "{text}");
    for datatype in ["FP16", "BF16"] {
        let name = datatype.to_lowercase();
        let request =
            json!({"inputs": [{"name": name, "datatype": datatype, "shape": [1, 2], "data": [1, 2]}]});
        let (status, answer) = server.infer("halves", &request).await;
        let error = answer["error"].as_str().unwrap();
        assert!(status == 400 && error.contains("receiving"), "{answer}");
    }
    let input = |name: &str, datatype: &str| InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: vec![2, 2],
        ..Default::default()
    };
    let request = ModelInferRequest {
        model_name: "halves".into(),
        inputs: vec![input("fp16", "FP16"), input("bf16", "BF16")],
        outputs: ["out_fp16", "out_bf16"]
            .map(|name| InferRequestedOutputTensor {
                name: name.into(),
                ..Default::default()
            })
            .to_vec(),
        raw_input_contents: vec![fp16.clone().into(), bf16.clone().into()],
        ..Default::default()
    };
    let answer = server
        .grpc()
        .await
        .model_infer(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.raw_output_contents, [fp16, bf16]);
    assert_eq!(answer.outputs[1].datatype, "BF16");
}

#[tokio::test]
async fn strings_are_bytes_of_any_kind() {
    let repository = Repository::of(&["every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let strings: Vec<u8> = [&b"a\0b"[..], b"\xff\xfe", b""]
        .iter()
        .flat_map(|string| [&(string.len() as u32).to_le_bytes()[..], string].concat())
        .collect();
    let mut inputs = vec![
        json!({"name": "BYTES", "datatype": "BYTES", "shape": [1, 3], "parameters": {"binary_data_size": strings.len()}}),
        json!({"name": "FP16", "datatype": "FP16", "shape": [1, 1], "parameters": {"binary_data_size": 2}}),
        json!({"name": "BF16", "datatype": "BF16", "shape": [1, 1], "parameters": {"binary_data_size": 2}}),
        json!({"name": "BOOL", "datatype": "BOOL", "shape": [1, 1], "data": [true]}),
    ];
    for datatype in [
        "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64",
    ] {
        inputs.push(json!({"name": datatype, "datatype": datatype, "shape": [1, 1], "data": [1]}));
    }
    let outputs = json!([{"name": "out_BYTES", "parameters": {"binary_data": true}}]);
    let header = json!({"inputs": inputs, "outputs": outputs}).to_string();
    let answer = client()
        .post(format!("{}/v2/models/every_datatype/infer", server.http))
        .header("Inference-Header-Content-Length", header.len())
        .body([header.as_bytes(), &strings, &[0; 4]].concat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.unwrap().ends_with(&strings));
}
