//! The bytes of a `ModelInferRequest`: what is accepted is the same when its tensors are sent as raw contents.
#![no_main]

use aiops_inference_pod::protocol::grpc_v2::fuzzing::decode;
use aiops_inference_pod::protocol::grpc_v2::proto::{
    ModelInferRequest, model_infer_request::InferInputTensor,
};
use aiops_inference_pod::tensor::InferenceRequest;
use aiops_inference_pod_fuzz::{check_tensors, raw_bytes};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

fuzz_target!(|data: &[u8]| {
    if let Ok(request) = decode(Bytes::copy_from_slice(data)) {
        check_tensors(&request);
        check_raw(&request);
    }
});

fn check_raw(request: &InferenceRequest) {
    let inputs = request.inputs.iter().map(|input| InferInputTensor {
        name: input.name.clone(),
        datatype: input.datatype.name().to_owned(),
        shape: input.shape.clone(),
        ..InferInputTensor::default()
    });
    let message = ModelInferRequest {
        id: request.id.clone(),
        inputs: inputs.collect(),
        raw_input_contents: request
            .inputs
            .iter()
            .map(|input| raw_bytes(&input.data).into())
            .collect(),
        ..ModelInferRequest::default()
    };
    let again = decode(message.encode_to_vec().into()).expect("what is accepted is accepted as raw contents");
    assert_eq!((&again.id, &again.inputs), (&request.id, &request.inputs));
}
