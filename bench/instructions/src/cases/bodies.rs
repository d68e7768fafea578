//! What clients send, as bytes.

use aiops_inference_pod::protocol::grpc_v2::proto::model_infer_request::InferInputTensor;
use aiops_inference_pod::protocol::grpc_v2::proto::{InferTensorContents, ModelInferRequest};
use bytes::{BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use serde_json::{Value, json};

use super::models::{FEATURES, ROWS, WIDTH, feature_names, value, values};

/// A row of `numbers` as JSON.
pub fn json_numbers() -> Bytes {
    let data: Vec<_> = (0..WIDTH).map(value).collect();
    let input = json!({"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "data": data});
    text(&json!({"id": "42", "inputs": [input], "outputs": [{"name": "y"}]}))
}

/// The rows of `texts` as JSON.
pub fn json_texts() -> Bytes {
    let texts: Vec<_> = (0..64)
        .map(|row| format!("what somebody wrote in row {row}"))
        .collect();
    let input = json!({"name": "x", "shape": [64, 1], "datatype": "BYTES", "data": texts});
    text(&json!({"inputs": [input]}))
}

/// A row of `numbers` as binary data, with the length of the JSON before it.
pub fn binary_numbers() -> (Bytes, usize) {
    let data = values(WIDTH);
    let size = json!({"binary_data_size": data.len()});
    let input = json!({"name": "x", "shape": [1, WIDTH], "datatype": "FP32", "parameters": size});
    let output = json!({"name": "y", "parameters": {"binary_data": true}});
    let json = text(&json!({"id": "42", "inputs": [input], "outputs": [output]}));
    let length = json.len();
    (Bytes::from([json, data].concat()), length)
}

/// Rows of `patients` for REST.
pub fn rest_patients() -> Bytes {
    let names = feature_names();
    let row = |row: usize| -> Value {
        let fields = names.iter().enumerate();
        fields
            .map(|(index, name)| (name.clone(), json!(value(row * FEATURES + index))))
            .collect()
    };
    text(&json!({"instances": (0..ROWS).map(row).collect::<Vec<_>>()}))
}

/// A row of `numbers` for REST.
pub fn rest_numbers() -> Bytes {
    let row: Vec<_> = (0..WIDTH).map(value).collect();
    text(&json!({"instances": [row]}))
}

fn text(value: &Value) -> Bytes {
    value.to_string().into()
}

/// A row of `numbers` as a message with raw bytes.
pub fn raw_message() -> Bytes {
    let message = ModelInferRequest {
        raw_input_contents: vec![values(WIDTH)],
        ..message(None)
    };
    message.encode_to_vec().into()
}

/// The same with its numbers in a field.
pub fn typed_message() -> Bytes {
    let contents = InferTensorContents {
        fp32_contents: (0..WIDTH).map(value).collect(),
        ..InferTensorContents::default()
    };
    message(Some(contents)).encode_to_vec().into()
}

fn message(contents: Option<InferTensorContents>) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "numbers".to_owned(),
        id: "42".to_owned(),
        inputs: vec![InferInputTensor {
            name: "x".to_owned(),
            datatype: "FP32".to_owned(),
            shape: vec![1, WIDTH as i64],
            contents,
            ..InferInputTensor::default()
        }],
        ..ModelInferRequest::default()
    }
}

/// A message as the body of a call.
pub fn framed(message: &Bytes) -> Bytes {
    let mut body = BytesMut::with_capacity(5 + message.len());
    body.put_u8(0);
    body.put_u32(message.len() as u32);
    body.extend_from_slice(message);
    body.freeze()
}
