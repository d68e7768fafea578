//! What only gRPC can get wrong: messages that contradict themselves, and frames that are none.

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::infer_parameter::ParameterChoice;
use proto::{InferParameter, InferTensorContents, ModelInferRequest};
use tonic::Code;

use super::{Table, grpc_error, message};
use crate::support::{Repository, Server};

fn good() -> ModelInferRequest {
    message("dense_1", &[("x", "FP32", &[1, 4], vec![0; 16])])
}

fn floats(count: usize) -> InferTensorContents {
    InferTensorContents {
        fp32_contents: vec![0.0; count],
        ..Default::default()
    }
}

/// The good request with its numbers in the message, of another datatype where that is said.
fn typed(datatype: &str, contents: Option<InferTensorContents>) -> ModelInferRequest {
    let mut request = good();
    request.raw_input_contents.clear();
    request.inputs[0].datatype = datatype.into();
    request.inputs[0].contents = contents;
    request
}

fn parameter(name: &str, value: ParameterChoice) -> ModelInferRequest {
    let mut request = good();
    let value = InferParameter {
        parameter_choice: Some(value),
    };
    request.parameters.insert(name.into(), value);
    request
}

fn classes(value: ParameterChoice) -> ModelInferRequest {
    let mut request = good();
    let value = InferParameter {
        parameter_choice: Some(value),
    };
    request
        .outputs
        .push(proto::model_infer_request::InferRequestedOutputTensor {
            name: "y".into(),
            parameters: [("classification".to_owned(), value)].into(),
        });
    request
}

#[tokio::test]
async fn messages_that_contradict_themselves_are_refused() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    let mut both = good();
    both.inputs[0].contents = Some(floats(4));
    let mut more = good();
    more.raw_input_contents.push(vec![0; 4].into());
    let mut without_inputs = good();
    without_inputs.inputs.clear();
    let ints = InferTensorContents {
        int_contents: vec![300, 0, 0, 0],
        ..Default::default()
    };
    let mut mixed = floats(4);
    mixed.fp64_contents = vec![0.0; 4];
    for (name, request, code, says) in [
        (
            "numbers in two places",
            both,
            Code::InvalidArgument,
            "contents field must not be specified when using raw_input_contents for 'x' for model 'dense_1'",
        ),
        (
            "more raw contents than inputs",
            more,
            Code::InvalidArgument,
            "expected raw_input_contents for 1 inputs, but got 2",
        ),
        (
            "raw contents without inputs",
            without_inputs,
            Code::InvalidArgument,
            "expected raw_input_contents for 0 inputs, but got 1",
        ),
        (
            "no numbers",
            typed("FP32", None),
            Code::InvalidArgument,
            "unable to find data for input tensor 'x' for model 'dense_1' in request.",
        ),
        (
            "too few numbers",
            typed("FP32", Some(floats(3))),
            Code::InvalidArgument,
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 12",
        ),
        (
            "numbers of another datatype",
            typed("FP64", Some(floats(4))),
            Code::InvalidArgument,
            "unexpected explicit tensor data for input tensor 'x' for model 'dense_1' of type 'FP32', expected datatype 'FP64'",
        ),
        (
            "numbers of two datatypes",
            typed("FP32", Some(mixed)),
            Code::InvalidArgument,
            "unexpected explicit tensor data for input tensor 'x' for model 'dense_1' of type 'FP64', expected datatype 'FP32'",
        ),
        (
            "numbers for half precision",
            typed("FP16", Some(floats(4))),
            Code::InvalidArgument,
            "unexpected explicit tensor data for input tensor 'x' for model 'dense_1' of type 'FP32', expected datatype 'FP16'",
        ),
        (
            "numbers beyond their datatype",
            typed("INT8", Some(ints)),
            Code::InvalidArgument,
            "input 'x': 300 does not fit INT8",
        ),
        (
            "a timeout in words",
            parameter("timeout", ParameterChoice::StringParam("soon".into())),
            Code::InvalidArgument,
            "parameter 'timeout' must be an integer that is not negative",
        ),
        (
            "a negative timeout",
            parameter("timeout", ParameterChoice::Int64Param(-1)),
            Code::InvalidArgument,
            "parameter 'timeout' must be an integer that is not negative",
        ),
        (
            "a priority with a fraction",
            parameter("priority", ParameterChoice::DoubleParam(1.5)),
            Code::InvalidArgument,
            "parameter 'priority' must be an integer that is not negative",
        ),
        (
            "a parameter of Triton's",
            parameter("triton_mine", ParameterChoice::BoolParam(true)),
            Code::InvalidArgument,
            "parameter keys starting with 'triton_' are reserved for Triton usage. Only the following keys starting with 'triton_' are allowed: triton_enable_empty_final_response",
        ),
        (
            "a sequence",
            parameter("sequence_id", ParameterChoice::Int64Param(1)),
            Code::Unimplemented,
            "parameter 'sequence_id' is not supported: this server keeps no state between requests",
        ),
        (
            "fewer than no classes",
            classes(ParameterChoice::Int64Param(-1)),
            Code::InvalidArgument,
            "parameter 'classification' must be an integer that is not negative",
        ),
        (
            "classes in words",
            classes(ParameterChoice::StringParam("all".into())),
            Code::InvalidArgument,
            "parameter 'classification' must be an integer that is not negative",
        ),
        (
            "no model",
            ModelInferRequest::default(),
            Code::NotFound,
            "Request for unknown model: '' is not found",
        ),
    ] {
        let got = grpc_error(&server, request).await;
        table.row(name, got, (code, says)).await;
    }
    for (name, choice) in [("as many classes as there can be", i64::MAX), ("no classes", 0)] {
        let got = grpc_error(&server, classes(ParameterChoice::Int64Param(choice))).await;
        table.row(name, got, (Code::Ok, "")).await;
    }
    table.end();
}

/// A call whose body is these bytes: the number and the message of its end.
async fn call(server: &Server, encoding: Option<&str>, body: Vec<u8>) -> (String, String) {
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let mut request = client
        .post(format!(
            "{}/inference.GRPCInferenceService/ModelInfer",
            server.grpc
        ))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(body);
    if let Some(encoding) = encoding {
        request = request.header("grpc-encoding", encoding);
    }
    let answer = request.send().await.unwrap();
    let header = |name: &str| {
        let value = answer.headers().get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or("absent").to_owned()
    };
    (header("grpc-status"), header("grpc-message").replace("%20", " "))
}

fn frame(flag: u8, length: u32, content: &[u8]) -> Vec<u8> {
    [&[flag][..], &length.to_be_bytes(), content].concat()
}

#[tokio::test]
async fn frames_that_are_none_end_the_call_and_nothing_else() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--grpc-max-input-size=1000000"]).await;
    let mut table = Table::of(&server);
    for (name, encoding, body, code, says) in [
        ("no frame", None, vec![], "13", "Missing request message."),
        (
            "an empty frame",
            None,
            frame(0, 0, b""),
            "5",
            "Request for unknown model: '' is not found",
        ),
        (
            "half a prefix",
            None,
            vec![0, 0],
            "13",
            "Unexpected EOF decoding stream.",
        ),
        (
            "a frame that breaks off",
            None,
            frame(0, 100, b"abc"),
            "13",
            "Unexpected EOF decoding stream.",
        ),
        (
            "a frame shorter than its message",
            None,
            frame(0, 1, b"abc"),
            "13",
            "failed to decode Protobuf message: buffer underflow",
        ),
        (
            "a frame of the greatest length",
            None,
            frame(0, u32::MAX, b"abc"),
            "8",
            "the message is larger than the 1000000 bytes of --grpc-max-input-size",
        ),
        (
            "a frame above the limit",
            None,
            frame(0, 1_000_001, b"abc"),
            "8",
            "the message is larger than the 1000000 bytes of --grpc-max-input-size",
        ),
        (
            "no message of the protocol",
            None,
            frame(0, 3, b"\xff\xff\xff"),
            "13",
            "failed to decode Protobuf message: invalid varint",
        ),
        (
            "a field longer than its message",
            None,
            frame(0, 2, b"\x0a\x7f"),
            "13",
            "failed to decode Protobuf message: ModelInferRequest.model_name: buffer underflow",
        ),
        (
            "a name that is not UTF-8",
            None,
            frame(0, 3, b"\x0a\x01\xff"),
            "13",
            "failed to decode Protobuf message: ModelInferRequest.model_name: invalid string value: data is not UTF-8 encoded",
        ),
        (
            "a flag that is none",
            None,
            frame(7, 0, b""),
            "13",
            "protocol error: received message with invalid compression flag: 7 (valid flags are 0 and 1), while sending request",
        ),
        (
            "compressed, and no word of it",
            None,
            frame(1, 3, b"abc"),
            "13",
            "protocol error: received message with compressed-flag but no grpc-encoding was specified",
        ),
        (
            "gzip that is none",
            Some("gzip"),
            frame(1, 3, b"abc"),
            "3",
            "the body is not gzip, as its encoding says: unexpected end of file",
        ),
        (
            "an encoding that is not there",
            Some("br"),
            frame(1, 3, b"abc"),
            "12",
            "Content is compressed with %60br%60 which isn't supported",
        ),
    ] {
        let got = call(&server, encoding, body).await;
        table.row(name, got, (code.to_owned(), says)).await;
    }
    table.end();
}
