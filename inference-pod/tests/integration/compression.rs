//! Requests and answers that travel compressed.

use std::io::{Read as _, Write as _};

use aiops_inference_pod::protocol::grpc_v2::proto;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use proto::ModelInferRequest;
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use proto::model_infer_request::InferInputTensor;
use serde_json::{Value, json};
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::support::{Repository, Server, binary_row, client};

fn compressed(encoding: &str, body: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
        _ => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(body).unwrap();
            encoder.finish().unwrap()
        }
    }
}

fn inflated(encoding: &str, body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match encoding {
        "gzip" => GzDecoder::new(body).read_to_end(&mut plain).unwrap(),
        _ => ZlibDecoder::new(body).read_to_end(&mut plain).unwrap(),
    };
    plain
}

#[tokio::test]
async fn bodies_are_compressed_both_ways() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let url = format!("{}/v2/models/dense_1/infer", server.http);
    let (header, row) = binary_row();
    let body = [header.as_bytes(), &row].concat();
    for encoding in ["gzip", "deflate"] {
        let answer = client()
            .post(&url)
            .header("Content-Encoding", encoding)
            .header("Accept-Encoding", encoding)
            // The length of the JSON is that of before.
            .header("Inference-Header-Content-Length", header.len())
            .body(compressed(encoding, &body))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-encoding"], encoding);
        let length: usize = answer.headers()["inference-header-content-length"]
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        let body = inflated(encoding, &answer.bytes().await.unwrap());
        let json: Value = serde_json::from_slice(&body[..length]).unwrap();
        assert_eq!(json["model_name"], "dense_1");
        let expected: Vec<u8> = [2_f32, 3.0, 4.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        assert_eq!(body[length..], expected);
    }
    let rows = compressed(
        "gzip",
        json!({"instances": [[1, 2, 3, 4]]}).to_string().as_bytes(),
    );
    let answer = client()
        .post(format!("{}/predict/dense_1", server.rest))
        .header("Content-Encoding", "gzip")
        .body(rows)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert!(!answer.headers().contains_key("content-encoding"));
}

#[tokio::test]
async fn limits_hold_for_what_a_body_inflates_to() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(
        &repository.uri(),
        &["--http-max-input-size=10000000", "--max-request-memory=80000000"],
    )
    .await;
    let small = Server::start(&repository.uri(), &["--max-request-memory=8000000"]).await;
    for encoding in ["gzip", "deflate"] {
        let bomb = compressed(encoding, &vec![b' '; 50_000_000]);
        assert!(bomb.len() < 100_000);
        for (server, part) in [
            (&server, "--http-max-input-size"),
            (&small, "--max-request-memory"),
        ] {
            let answer = client()
                .post(format!("{}/v2/models/dense_1/infer", server.http))
                .header("Content-Encoding", encoding)
                .body(bomb.clone())
                .send()
                .await
                .unwrap();
            assert_eq!(answer.status(), 413, "{encoding}");
            let answer: Value = answer.json().await.unwrap();
            assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
        }
    }
    assert!(server.is_ready().await && small.is_ready().await);
}

#[tokio::test]
async fn encodings_that_are_unknown_or_lie_are_refused() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    for (encoding, body, status, part) in [
        (
            "br",
            b"{}".to_vec(),
            415,
            "Content-Encoding \"br\" is not supported",
        ),
        ("gzip", b"{\"inputs\": []}".to_vec(), 400, "the body is not gzip"),
        (
            "deflate",
            compressed("deflate", b"{\"inputs\": []}")[..10].to_vec(),
            400,
            "the body is not deflate",
        ),
    ] {
        let answer = client()
            .post(format!("{}/v2/models/dense_1/infer", server.http))
            .header("Content-Encoding", encoding)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), status, "{encoding}");
        if status == 415 {
            assert_eq!(answer.headers()["accept-encoding"], "gzip, deflate");
        }
        let answer: Value = answer.json().await.unwrap();
        assert!(answer["error"].as_str().unwrap().contains(part), "{answer}");
    }
}

fn message(rows: usize) -> ModelInferRequest {
    ModelInferRequest {
        model_name: "dense_1".into(),
        inputs: vec![InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![rows as i64, 4],
            ..InferInputTensor::default()
        }],
        raw_input_contents: vec![vec![0; rows * 16].into()],
        ..ModelInferRequest::default()
    }
}

#[tokio::test]
async fn messages_of_grpc_are_inflated_within_the_memory_for_requests() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--max-request-memory=800000"]).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let client = server.grpc().await.send_compressed(encoding);
        check_that_messages_are_inflated_within_the_memory(client).await;
    }
}

async fn check_that_messages_are_inflated_within_the_memory(
    mut client: GrpcInferenceServiceClient<tonic::transport::Channel>,
) {
    let answer = client.model_infer(message(3)).await.unwrap().into_inner();
    assert_eq!(answer.outputs[0].shape, [3, 3]);
    let error = client.model_infer(message(20_000)).await.unwrap_err();
    assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("100000 are the most for one"), "{error}");
    let mut answers = client
        .model_stream_infer(futures::stream::iter(vec![message(2); 500]))
        .await
        .unwrap()
        .into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await.unwrap() {
        assert_eq!(answer.error_message, "");
        count += 1;
    }
    assert_eq!(count, 500, "a stream gives back what each message took");
}

#[tokio::test]
async fn answers_over_grpc_are_compressed_where_the_server_is_told_to() {
    let repository = Repository::of(&["dense_1"]);
    let (gzip, deflate) = (CompressionEncoding::Gzip, CompressionEncoding::Deflate);
    for (level, accepted, expected) in [
        ("none", gzip, None),
        ("low", gzip, Some("gzip")),
        ("low", deflate, Some("deflate")),
    ] {
        let argument = format!("--grpc-infer-response-compression-level={level}");
        let server = Server::start(&repository.uri(), &[&argument]).await;
        let mut client = server.grpc().await.accept_compressed(accepted);
        let answer = client.model_infer(message(64)).await.unwrap();
        let encoding = answer
            .metadata()
            .get("grpc-encoding")
            .map(|value| value.to_str().unwrap());
        assert_eq!(encoding, expected);
        assert_eq!(answer.into_inner().outputs[0].shape, [64, 3]);
    }
}
