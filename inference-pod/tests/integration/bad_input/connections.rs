//! Connections whose HTTP is wrong, paths to what is not there, and bodies as large as they may be.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::http::{LENGTH, SIXTY_FOUR_MEBIBYTES};
use super::{Table, bytes_of, http_error};
use crate::support::{Repository, Server, client};

#[tokio::test]
async fn models_and_versions_that_are_not_there_are_told_for_every_call() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    let long = "m".repeat(10_000);
    for (name, path, status, says) in [
        (
            "metadata",
            "absent",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "its version",
            "dense_1/versions/9",
            404,
            "Request for unknown model: 'dense_1' version 9 is not found",
        ),
        (
            "configuration",
            "absent/config",
            404,
            "Request for unknown model: 'absent' is not found",
        ),
        (
            "statistics",
            "absent/stats",
            400,
            "requested model 'absent' is not available",
        ),
        (
            "statistics of a version",
            "dense_1/versions/9/stats",
            400,
            "requested model version is not available for model 'dense_1'",
        ),
        (
            "readiness",
            "absent/ready",
            400,
            "Model version not ready: Request for unknown model: 'absent' is not found",
        ),
        (
            "a version in words",
            "dense_1/versions/x",
            400,
            "failed to get model version from specified version string 'x' (details: stol), version should be an integral value > 0",
        ),
        (
            "another folder",
            "..%2Fdense_1",
            404,
            "Request for unknown model: '../dense_1' is not found",
        ),
        (
            "a name with a zero byte",
            "a%00b",
            404,
            "Request for unknown model: 'a\0b' is not found",
        ),
        (
            "a name that is not UTF-8",
            "%ff",
            400,
            "Invalid URL: Invalid UTF-8 in `model`",
        ),
        (
            "a long name",
            &long,
            404,
            "Request for unknown model: '…' is not found",
        ),
    ] {
        let answer = client().get(format!("{}/v2/models/{path}", server.http)).send();
        let (code, message) = http_error(answer.await.unwrap()).await;
        table
            .row(name, (code, message.replace(&long, "…")), (status, says))
            .await;
    }
    table.end();
}

/// Sends bytes, ends its side of the connection, and reads what comes: the first line and the body.
async fn exchange(server: &Server, bytes: &[u8]) -> (String, String) {
    let address = server.http.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer));
    let _ = reading
        .await
        .expect("the server ends a connection whose client has ended its side");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (
        head.lines().next().unwrap_or_default().to_owned(),
        body.to_owned(),
    )
}

#[tokio::test]
async fn connections_that_lie_about_their_length_are_ended_and_hold_up_nobody() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut table = Table::of(&server);
    for (name, rest, line, body) in [
        (
            "more than comes",
            "Content-Length: 1000\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "a negative length",
            "Content-Length: -1\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a length in words",
            "Content-Length: two\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a length beyond 64 bits",
            "Content-Length: 99999999999999999999\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "two lengths",
            "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a length and pieces",
            "Content-Length: 2\r\nTransfer-Encoding: nonsense\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request",
            "",
        ),
        (
            "a piece without a size",
            "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "a piece that is not all there",
            "Transfer-Encoding: chunked\r\n\r\nff\r\n{}\r\n",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "a size beyond 64 bits",
            "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n",
            "HTTP/1.1 400 Bad Request",
            r#"{"error":"the body of the request could not be read: error reading a body from connection"}"#,
        ),
        (
            "over the limit, and nothing of it",
            "Content-Length: 9999999999\r\n\r\n",
            "HTTP/1.1 413 Payload Too Large",
            r#"{"error":"the request is larger than the 67108864 bytes of --http-max-input-size"}"#,
        ),
    ] {
        let request = format!("POST /v2/models/dense_1/infer HTTP/1.1\r\nHost: x\r\n{rest}");
        let got = exchange(&server, request.as_bytes()).await;
        table.row(name, got, (line.to_owned(), body)).await;
    }
    table.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_of_64_mebibytes_are_answered_over_both_protocols() {
    let repository = Repository::of(&["every_datatype", "dense_1"]);
    repository.add("large", 1, "centred");
    repository.config("large", "max_batch_size: 10000000");
    let server = Server::start(&repository.uri(), &["--http-max-input-size=100000000"]).await;
    let (rows, size) = ((SIXTY_FOUR_MEBIBYTES / 8) as i64, SIXTY_FOUR_MEBIBYTES);
    let content = bytes_of(&[1.0, 2.0]).repeat(size / 8);
    let header = json!({
        "inputs": [{"name": "x", "shape": [rows, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let answer = client()
        .post(format!("{}/v2/models/large/infer", server.http))
        .header(LENGTH, header.len())
        .body([header.into_bytes(), content.clone()].concat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    // Every column is the same number, and its mean is taken from it.
    let body = answer.bytes().await.unwrap();
    assert!(body[body.len() - size..].iter().all(|byte| *byte == 0));
    let message = super::message("large", &[("x", "FP32", &[rows, 2], content)]);
    let mut grpc = server.grpc().await.max_decoding_message_size(usize::MAX);
    let answer = grpc.model_infer(message).await.unwrap().into_inner();
    assert!(
        answer.raw_output_contents[0].len() == size
            && answer.raw_output_contents[0].iter().all(|byte| *byte == 0)
    );
    super::still_serves(&server).await.unwrap();
}
