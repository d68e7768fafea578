//! Tensors as bytes, sent over HTTP and over gRPC: one sentence for one error.

use serde_json::{Value, json};

use super::{INVALID, Kind, NOT_FOUND, RawInput, Table, grpc_error, http_error, message};
use crate::support::{Repository, Server, client};

/// A row of the table; the message is the same over both protocols.
struct Row<'a> {
    name: &'a str,
    model: &'a str,
    version: &'a str,
    inputs: Vec<RawInput<'a>>,
    outputs: &'a [&'a str],
    kind: Kind,
    says: &'a str,
}

/// A row for `dense_1` that is wrong for what its inputs are.
fn row<'a>(name: &'a str, inputs: Vec<RawInput<'a>>, says: &'a str) -> Row<'a> {
    Row {
        name,
        model: "dense_1",
        version: "",
        inputs,
        outputs: &[],
        kind: INVALID,
        says,
    }
}

fn x<'a>(shape: &'a [i64], bytes: usize) -> Vec<RawInput<'a>> {
    vec![("x", "FP32", shape, vec![0; bytes])]
}

/// Strings for `every_datatype`, whose other inputs are missing: what is wrong with their bytes is found before.
fn strings<'a>(name: &'a str, shape: &'a [i64], bytes: Vec<u8>, says: &'a str) -> Row<'a> {
    Row {
        model: "every_datatype",
        ..row(name, vec![("BYTES", "BYTES", shape, bytes)], says)
    }
}

fn string(length: u32, content: &[u8]) -> Vec<u8> {
    [&length.to_le_bytes()[..], content].concat()
}

fn shapes() -> Vec<Row<'static>> {
    vec![
        row(
            "too few bytes",
            x(&[1, 4], 15),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 15",
        ),
        row(
            "too many bytes",
            x(&[1, 4], 17),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 17",
        ),
        row(
            "no bytes",
            x(&[1, 4], 0),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 0",
        ),
        row(
            "half an element",
            x(&[1, 4], 14),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 14",
        ),
        row(
            "bytes of more rows than the shape",
            x(&[1, 4], 32),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 16, got 32",
        ),
        row(
            "a negative size",
            x(&[-1, 4], 16),
            "shape [-1, 4] of tensor 'x' has a negative size",
        ),
        row(
            "two negative sizes, whose product is not",
            x(&[-1, -4], 16),
            "shape [-1, -4] of tensor 'x' has a negative size",
        ),
        row(
            "the least size there is",
            x(&[i64::MIN, 4], 16),
            "shape [-9223372036854775808, 4] of tensor 'x' has a negative size",
        ),
        row(
            "a product beyond 64 bits",
            x(&[1 << 62, 4], 16),
            "shape [4611686018427387904, 4] of tensor 'x' is too large",
        ),
        row(
            "a product that wraps to the right number",
            x(&[(1 << 62) + 1, 4], 16),
            "shape [4611686018427387905, 4] of tensor 'x' is too large",
        ),
        row(
            "elements that fit and bytes that do not",
            x(&[1 << 60, 4], 16),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 18446744073709551616, got 16",
        ),
        row(
            "a product beyond 64 bits beside a size of none",
            x(&[0, i64::MAX, i64::MAX], 0),
            "shape [0, 9223372036854775807, 9223372036854775807] of tensor 'x' is too large",
        ),
        row(
            "no rows",
            x(&[0, 4], 0),
            "inference request batch-size must be >= 1 for 'dense_1', got 0",
        ),
        row(
            "no columns",
            x(&[1, 0], 0),
            "unexpected shape for input 'x' for model 'dense_1'. Expected [-1,4], got [1,0]. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size.",
        ),
        row(
            "no rows, but bytes",
            x(&[0, 4], 16),
            "input byte size mismatch for input 'x' for model 'dense_1'. Expected 0, got 16",
        ),
        row(
            "too many rows",
            x(&[65, 4], 65 * 16),
            "inference request batch-size must be <= 64 for 'dense_1', got 65",
        ),
        row(
            "too few sizes",
            x(&[4], 16),
            "unexpected shape for input 'x' for model 'dense_1'. Expected [-1,4], got [4]. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size.",
        ),
        row(
            "too many sizes",
            x(&[1, 1, 4], 16),
            "unexpected shape for input 'x' for model 'dense_1'. Expected [-1,4], got [1,1,4]. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size.",
        ),
        row(
            "no sizes",
            x(&[], 4),
            "unexpected shape for input 'x' for model 'dense_1'. Expected [-1,4], got []. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size.",
        ),
        row(
            "another number of columns",
            x(&[1, 5], 20),
            "unexpected shape for input 'x' for model 'dense_1'. Expected [-1,4], got [1,5]. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be prepended to each input shape. If you want to specify the full shape including the batch dim in your input dims config, try setting max_batch_size to zero. See the model configuration docs for more info on max_batch_size.",
        ),
    ]
}

fn names() -> Vec<Row<'static>> {
    let good = || x(&[1, 4], 16);
    vec![
        row(
            "another datatype",
            vec![("x", "FP64", &[1, 4], vec![0; 32])],
            "inference input 'x' data-type is 'FP64', but model 'dense_1' expects 'FP32'",
        ),
        row(
            "no datatype of the protocol",
            vec![("x", "FP31", &[1, 4], vec![0; 16])],
            "invalid datatype for input x: 'FP31'",
        ),
        row(
            "a datatype in small letters",
            vec![("x", "fp32", &[1, 4], vec![0; 16])],
            "invalid datatype for input x: 'fp32'",
        ),
        row(
            "an empty datatype",
            vec![("x", "", &[1, 4], vec![0; 16])],
            "invalid datatype for input x: ''",
        ),
        row(
            "an input that the model has not",
            vec![("z", "FP32", &[1, 4], vec![0; 16])],
            "unexpected inference input 'z' for model 'dense_1', which takes 'x'",
        ),
        row(
            "an input without a name",
            vec![("", "FP32", &[1, 4], vec![0; 16])],
            "unexpected inference input '' for model 'dense_1', which takes 'x'",
        ),
        row(
            "an input twice",
            [good(), good()].concat(),
            "input 'x' already exists in request",
        ),
        row(
            "no input",
            vec![],
            "expected 1 inputs but got 0 inputs for model 'dense_1'. Got input(s) [], but missing required input(s) ['x']. Please provide all required input(s).",
        ),
        row(
            "one input too many",
            [good(), vec![("z", "FP32", &[1, 4], vec![0; 16])]].concat(),
            "unexpected inference input 'z' for model 'dense_1', which takes 'x'",
        ),
        Row {
            model: "ratio",
            ..row(
                "one input too few",
                vec![("x", "FP32", &[1, 1], vec![0; 4])],
                "expected 2 inputs but got 1 inputs for model 'ratio'. Got input(s) ['x'], but missing required input(s) ['divisor']. Please provide all required input(s).",
            )
        },
        Row {
            model: "ratio",
            ..row(
                "inputs of different numbers of rows",
                vec![
                    ("x", "FP32", &[1, 1], vec![0; 4]),
                    ("divisor", "FP32", &[2, 1], vec![0; 8]),
                ],
                "input 'divisor' batch size does not match other inputs for 'ratio'",
            )
        },
        Row {
            outputs: &["q"],
            ..row(
                "an output that the model has not",
                good(),
                "unexpected inference output 'q' for model 'dense_1', which answers 'y'",
            )
        },
        Row {
            outputs: &["y", ""],
            ..row(
                "an output without a name",
                good(),
                "unexpected inference output '' for model 'dense_1', which answers 'y'",
            )
        },
        Row {
            model: "absent",
            kind: NOT_FOUND,
            ..row(
                "a model that is not there",
                good(),
                "Request for unknown model: 'absent' is not found",
            )
        },
        Row {
            version: "9",
            kind: NOT_FOUND,
            ..row(
                "a version that is not there",
                good(),
                "Request for unknown model: 'dense_1' version 9 is not found",
            )
        },
        Row {
            version: "0",
            kind: NOT_FOUND,
            ..row(
                "version 0",
                good(),
                "Request for unknown model: 'dense_1' version 0 is not found",
            )
        },
        Row {
            version: "-1",
            ..row(
                "a negative version",
                good(),
                "invalid model version specified '-1' , version should be an integral value > 0",
            )
        },
        Row {
            version: "one",
            ..row(
                "a version in words",
                good(),
                "failed to get model version from specified version string 'one' (details: stol), version should be an integral value > 0",
            )
        },
        Row {
            version: "1.0",
            ..row(
                "a version with a point",
                good(),
                "failed to get model version from specified version string '1.0' (details: stol), version should be an integral value > 0",
            )
        },
        Row {
            version: "9223372036854775808",
            ..row(
                "a version beyond 64 bits",
                good(),
                "failed to get model version from specified version string '9223372036854775808' (details: stol), version should be an integral value > 0",
            )
        },
    ]
}

fn texts() -> Vec<Row<'static>> {
    vec![
        strings(
            "a length that breaks off",
            &[1, 1],
            vec![1, 0, 0],
            "incomplete string length indicator for inference input 'BYTES' for model 'every_datatype', expecting 4 bytes but only 3 bytes available. Please make sure the string length indicator is in one buffer.",
        ),
        strings(
            "a string that breaks off",
            &[1, 1],
            string(5, b"four"),
            "incomplete string data for inference input 'BYTES' for model 'every_datatype', expecting string of length 5 but only 4 bytes available. Please make sure the string is in one buffer.",
        ),
        strings(
            "a string of the greatest length",
            &[1, 1],
            string(u32::MAX, b"x"),
            "incomplete string data for inference input 'BYTES' for model 'every_datatype', expecting string of length 4294967295 but only 1 bytes available. Please make sure the string is in one buffer.",
        ),
        strings(
            "too few strings",
            &[1, 2],
            string(1, b"a"),
            "expected 2 string elements for inference input 'BYTES' for model 'every_datatype', got 1",
        ),
        strings(
            "too many strings",
            &[1, 1],
            [string(1, b"a"), string(1, b"b")].concat(),
            "unexpected number of string elements 2 for inference input 'BYTES' for model 'every_datatype', expecting 1",
        ),
        strings(
            "a length and a half behind a string",
            &[1, 1],
            [string(1, b"a"), vec![9, 9]].concat(),
            "incomplete string length indicator for inference input 'BYTES' for model 'every_datatype', expecting 4 bytes but only 2 bytes available. Please make sure the string length indicator is in one buffer.",
        ),
        strings(
            "strings for more elements than there can be",
            &[1 << 60, 1],
            string(1, b"a"),
            "expected 1152921504606846976 string elements for inference input 'BYTES' for model 'every_datatype', got 1",
        ),
    ]
}

async fn over_http(server: &Server, row: &Row<'_>) -> (u16, String) {
    let describe = |(name, datatype, shape, bytes): &RawInput<'_>| json!({"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": bytes.len()}});
    let mut request = json!({"inputs": row.inputs.iter().map(describe).collect::<Vec<_>>()});
    if !row.outputs.is_empty() {
        let outputs = row.outputs.iter().map(|name| json!({"name": name}));
        request["outputs"] = outputs.collect::<Value>();
    }
    let request = request.to_string();
    let version = match row.version {
        "" => String::new(),
        version => format!("/versions/{version}"),
    };
    let answer = client()
        .post(format!("{}/v2/models/{}{version}/infer", server.http, row.model))
        .header("Inference-Header-Content-Length", request.len())
        .body(
            [
                vec![request.into_bytes()],
                row.inputs.iter().map(|input| input.3.clone()).collect(),
            ]
            .concat()
            .concat(),
        )
        .send();
    http_error(answer.await.unwrap()).await
}

#[tokio::test]
async fn tensors_that_are_wrong_are_refused_alike_over_http_and_grpc() {
    let repository = Repository::of(&["dense_1", "ratio", "every_datatype"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    for row in shapes().into_iter().chain(names()).chain(texts()) {
        let got = over_http(&server, &row).await;
        table
            .row(&format!("HTTP: {}", row.name), got, (row.kind.0, row.says))
            .await;
        let outputs =
            row.outputs.iter().map(
                |name| super::proto::model_infer_request::InferRequestedOutputTensor {
                    name: (*name).into(),
                    ..Default::default()
                },
            );
        let asked = super::ModelInferRequest {
            model_version: row.version.into(),
            outputs: outputs.collect(),
            ..message(row.model, &row.inputs)
        };
        let got = grpc_error(&server, asked).await;
        table
            .row(&format!("gRPC: {}", row.name), got, (row.kind.1, row.says))
            .await;
    }
    table.end();
}
