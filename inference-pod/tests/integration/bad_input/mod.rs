//! What careless and hostile clients send and what a repository may hold, in tables: a name, what is sent, the code and the whole
//! message. After each row the server still answers a good request over every protocol, and is as ready as before.

mod bodies;
mod connections;
mod documents;
mod elements;
mod grpc;
mod http;
mod loads;
mod memory;
mod refusals;
mod rest;
mod store;
mod tensors;

use std::fmt::Debug;

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::ModelInferRequest;
use proto::model_infer_request::InferInputTensor;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Server, binary_row, client, post};

/// The codes of one kind of error over HTTP and gRPC.
type Kind = (u16, Code);

const INVALID: Kind = (400, Code::InvalidArgument);
const NOT_FOUND: Kind = (404, Code::NotFound);
const INTERNAL: Kind = (500, Code::Internal);

/// Collects the rows whose answer was another, so that one run tells of all of them.
struct Table<'a> {
    server: &'a Server,
    wrong: Vec<String>,
}

impl<'a> Table<'a> {
    /// Of a server that serves `dense_1`.
    fn of(server: &'a Server) -> Self {
        Self {
            server,
            wrong: Vec::new(),
        }
    }

    /// One row: what came and what should have. `dense_1` has to answer afterwards.
    async fn row<C: PartialEq + Debug>(&mut self, name: &str, got: (C, String), expected: (C, &str)) {
        if (&got.0, got.1.as_str()) != (&expected.0, expected.1) {
            let (code, message) = got;
            self.wrong.push(format!(
                "{name}\n  got      {code:?} {message:?}\n  expected {:?} {:?}",
                expected.0, expected.1
            ));
        }
        if let Err(why) = still_serves(self.server).await {
            self.wrong.push(format!("after {name}: {why}"));
        }
    }

    fn end(self) {
        assert!(
            self.wrong.is_empty(),
            "{} rows:\n{}",
            self.wrong.len(),
            self.wrong.join("\n")
        );
    }
}

/// Whether `dense_1` answers in all the ways there are, and the server is ready.
async fn still_serves(server: &Server) -> Result<(), String> {
    let row = json!([1, 2, 3, 4]);
    let answers = [
        (
            "JSON",
            http_json(server, "dense_1", &tensor("x", "FP32", &[1, 4], &row)).await,
        ),
        ("rest", {
            let rows = json!({"instances": [row]});
            post(&format!("{}/predict/dense_1", server.rest), &rows).await
        }),
    ];
    let values = [
        answers[0].1.1["outputs"][0]["data"].clone(),
        answers[1].1.1["predictions"][0]["y"].clone(),
    ];
    for ((way, (status, answer)), values) in answers.iter().zip(values) {
        if (*status, &values) != (200, &json!([2.0, 3.0, 4.0])) {
            return Err(format!("{way} answers {status} {answer}"));
        }
    }
    let expected = bytes_of(&[2.0, 3.0, 4.0]);
    let (header, row) = binary_row();
    let answer = client()
        .post(format!("{}/v2/models/dense_1/infer", server.http))
        .header("Inference-Header-Content-Length", header.len())
        .body([header.into_bytes(), row].concat())
        .send()
        .await
        .map_err(|error| error.to_string())?;
    if !answer.bytes().await.unwrap().ends_with(&expected) {
        return Err("binary data get another answer".into());
    }
    let good = message(
        "dense_1",
        &[("x", "FP32", &[1, 4], bytes_of(&[1.0, 2.0, 3.0, 4.0]))],
    );
    let answer = server
        .grpc()
        .await
        .model_infer(good)
        .await
        .map_err(|error| error.to_string())?;
    if answer.into_inner().raw_output_contents[0] != expected {
        return Err("gRPC gets another answer".into());
    }
    if !server.is_ready().await {
        return Err("it is not ready".into());
    }
    Ok(())
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A request of one tensor.
fn tensor(name: &str, datatype: &str, shape: &[i64], data: &Value) -> Value {
    json!({"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]})
}

/// Name, datatype, shape and bytes of an input.
type RawInput<'a> = (&'a str, &'a str, &'a [i64], Vec<u8>);

fn message(model: &str, inputs: &[RawInput<'_>]) -> ModelInferRequest {
    let input = |(name, datatype, shape, _): &RawInput<'_>| InferInputTensor {
        name: (*name).into(),
        datatype: (*datatype).into(),
        shape: shape.to_vec(),
        ..Default::default()
    };
    ModelInferRequest {
        model_name: model.into(),
        inputs: inputs.iter().map(input).collect(),
        raw_input_contents: inputs.iter().map(|input| input.3.clone().into()).collect(),
        ..Default::default()
    }
}

async fn http_json(server: &Server, model: &str, body: &Value) -> (u16, Value) {
    server.infer(model, body).await
}

/// The status and the text of the error of an answer, or of all of its body where it has none.
async fn http_error(answer: reqwest::Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    let error = serde_json::from_str::<Value>(&text).ok();
    let error = error.and_then(|body| body["error"].as_str().map(str::to_owned));
    (status, error.unwrap_or(text))
}

async fn grpc_error(server: &Server, message: ModelInferRequest) -> (Code, String) {
    match server.grpc().await.model_infer(message).await {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}
