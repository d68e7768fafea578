//! The body of an inference request over HTTP, with its header: what is accepted is the same when it is sent as binary data.
//!
//! An input is the number of a model (one digit), the value of `Inference-Header-Content-Length` up to the end of the line
//! (nothing for no header), and the body. The value `@` stands for what lies before the first byte 0x1e, which is left out:
//! a mutation of the JSON then leaves its length true.
#![no_main]

use std::sync::LazyLock;

use aiops_inference_pod::configuration::{ModelConfig, read};
use aiops_inference_pod::protocol::http_v2::fuzzing::decode;
use aiops_inference_pod::tensor::InferenceRequest;
use aiops_inference_pod_fuzz::{check_tensors, raw_bytes};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

/// The first two take raw bodies too; the dims of the third and fourth are there to be multiplied.
static MODELS: LazyLock<Vec<ModelConfig>> = LazyLock::new(|| {
    let outputs =
        "output [ { name: 'y' data_type: TYPE_FP32 dims: 3 }, { name: 's' data_type: TYPE_STRING dims: 1 } ]";
    let inputs = [
        "name: 'dense' max_batch_size: 8 input { name: 'x' data_type: TYPE_FP32 dims: [ -1, 2 ] }",
        "name: 'words' input { name: 'x' data_type: TYPE_STRING dims: -1 }",
        "name: 'huge' input { name: 'x' data_type: TYPE_INT8 dims: [ 4294967296, 4294967296 ] }",
        "name: 'wide' input { name: 'x' data_type: TYPE_INT8 dims: [ -1, 9223372036854775807, 3 ] }",
        "name: 'two' input [ { name: 'a' data_type: TYPE_INT64 dims: [ -1, -1 ] }, { name: 'b' data_type: TYPE_BOOL dims: 1 } ]",
    ];
    inputs
        .iter()
        .map(|input| read(&format!("{input} {outputs}")).expect("the targets' models are sound"))
        .collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((model, rest)) = data.split_first() else {
        return;
    };
    let Some(line) = rest.iter().position(|byte| *byte == b'\n') else {
        return;
    };
    let model = &MODELS[usize::from(model.wrapping_sub(b'0')) % MODELS.len()];
    let (value, mut body) = (&rest[..line], rest[line + 1..].to_vec());
    let mut length = value.to_vec();
    if value == b"@" {
        let Some(end) = body.iter().position(|byte| *byte == 0x1e) else {
            return;
        };
        body.remove(end);
        length = end.to_string().into_bytes();
    }
    let length = (!length.is_empty()).then_some(length.as_slice());
    if let Ok(request) = decode(model, length, &body.into()) {
        check_tensors(&request);
        check_binary(model, &request);
    }
});

fn check_binary(model: &ModelConfig, request: &InferenceRequest) {
    let raw: Vec<_> = request
        .inputs
        .iter()
        .map(|input| raw_bytes(&input.data))
        .collect();
    let inputs: Vec<_> = request
        .inputs
        .iter()
        .zip(&raw)
        .map(|(input, raw)| {
            json!({"name": input.name, "shape": input.shape, "datatype": input.datatype.name(),
                   "parameters": {"binary_data_size": raw.len()}})
        })
        .collect();
    let json = json!({"id": request.id, "inputs": inputs}).to_string();
    let length = json.len().to_string();
    let body: Bytes = [json.into_bytes(), raw.concat()].concat().into();
    let again =
        decode(model, Some(length.as_bytes()), &body).expect("what is accepted is accepted as binary data");
    assert_eq!((&again.id, &again.inputs), (&request.id, &request.inputs));
}
