//! Limits of connections: headers, time, age, number; and requests that are too deep or too large.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Repository, Server, client, slow_message};

pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// What comes until the server closes the connection.
pub fn rest_of(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset is closed as well.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A connection of HTTP/2 by prior knowledge, with nothing asked.
pub fn connect_http2(address: &str) -> TcpStream {
    let mut stream = connect(address);
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    // SETTINGS without any.
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
    stream
}

/// Reads frames until GOAWAY; whether it came.
pub fn is_told_to_go(stream: &mut TcpStream) -> bool {
    let mut head = [0; 9];
    while stream.read_exact(&mut head).is_ok() {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        if head[3] == 7 {
            return true;
        }
        if stream.read_exact(&mut payload).is_err() {
            return false;
        }
    }
    false
}

#[tokio::test]
async fn headers_that_are_too_many_or_too_large_are_refused_on_every_port() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--http-max-header-size=10000"]).await;
    let many: String = (0..150).map(|index| format!("h{index}: x\r\n")).collect();
    let large = format!("h: {}\r\n", "x".repeat(20_000));
    for (address, path) in [
        (&server.http, "/v2"),
        (&server.rest, "/health"),
        (&server.metrics, "/metrics"),
    ] {
        for headers in [&many, &large] {
            let mut stream = connect(address);
            let head = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            let answer = rest_of(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 431 "), "{path}: {answer}");
        }
    }
    let http2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let request = http2
        .get(format!("{}/v2", server.http))
        .header("h", "x".repeat(12_000));
    let answer = request.send().await.map(|answer| answer.status().as_u16());
    assert!(!matches!(answer, Ok(200)), "{answer:?}");
    assert_eq!(
        http2
            .get(format!("{}/v2", server.http))
            .send()
            .await
            .unwrap()
            .version(),
        http::Version::HTTP_2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_headers_slowly_is_closed_and_who_is_idle_is_not() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--http-header-timeout-secs=1"]).await;
    let mut idle = connect(&server.http);
    let mut ask = move || {
        idle.write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut answer = [0; 1000];
        let count = idle.read(&mut answer).unwrap();
        String::from_utf8_lossy(&answer[..count]).into_owned()
    };
    assert!(ask().starts_with("HTTP/1.1 200"));
    let start = Instant::now();
    let partial: [(&str, &[u8]); 5] = [
        (&server.http, b""),
        (&server.http, b"P"),
        (&server.http, b"POST /v2/models/dense_1/infer HTTP/1.1\r\nhost"),
        (&server.rest, b"GET /health HTT"),
        (&server.grpc, b"PRI * HTTP/2.0\r\n"),
    ];
    let mut slow: Vec<_> = partial
        .iter()
        .map(|(address, bytes)| {
            let mut stream = connect(address);
            stream.write_all(bytes).unwrap();
            stream
        })
        .collect();
    for stream in &mut slow {
        assert_eq!(rest_of(stream), "");
        assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    }
    tokio::time::sleep(Duration::from_secs(4).saturating_sub(start.elapsed())).await;
    assert!(ask().starts_with("HTTP/1.1 200"), "an idle connection is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_connections_than_the_most_are_served() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--http-max-connections=2"]).await;
    let ask = |stream: &mut TcpStream| {
        stream
            .write_all(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
            .unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).is_ok()
    };
    crate::support::eventually("the connections of the probes to end", || async {
        let (mut first, mut second) = (connect(&server.http), connect(&server.http));
        if !(ask(&mut first) && ask(&mut second)) {
            return false;
        }
        let mut third = connect(&server.http);
        assert!(rest_of(&mut third).is_empty());
        drop(first);
        true
    })
    .await;
    crate::support::eventually("the line in the log", || async {
        server.log().contains("--http-max-connections are taken")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_grpc_is_told_to_connect_anew_after_the_age() {
    let repository = Repository::of(&["slow"]);
    let flags = [
        "--grpc-max-connection-age=1000",
        "--grpc-max-connection-age-grace=30000",
    ];
    let server = Server::start(&repository.uri(), &flags).await;
    let mut raw = connect_http2(&server.grpc);
    let mut grpc = server.grpc().await;
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        match grpc.model_infer(slow_message()).await {
            Ok(_) => {}
            // tonic's client saw the end of the connection before it sent the request, and connects anew for the next.
            Err(unsent) => assert_eq!(unsent.code(), tonic::Code::Cancelled, "{unsent}"),
        }
    }
    assert!(is_told_to_go(&mut raw));
    let mut other = connect_http2(&server.http);
    other.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    assert!(!is_told_to_go(&mut other), "only gRPC has the age");
}

#[tokio::test]
async fn messages_larger_than_the_largest_are_refused_with_the_flag() {
    let repository = Repository::of(&["slow"]);
    let server = Server::start(&repository.uri(), &["--grpc-max-input-size=1000"]).await;
    let mut message = slow_message();
    let mut grpc = server.grpc().await;
    grpc.model_infer(message.clone()).await.unwrap();
    message.id = "7".repeat(1000);
    let error = grpc.model_infer(message).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted, "{error}");
    assert!(
        error.message().contains("1000 bytes of --grpc-max-input-size"),
        "{error}"
    );
}

/// JSON so deep that whoever goes down into it runs out of stack.
fn deep(before: &str, after: &str) -> Vec<String> {
    [("[", "]"), ("{\"a\":", "}")]
        .map(|(open, close)| {
            let (open, close) = (open.repeat(10_000), close.repeat(10_000));
            format!("{before}{open}1{close}{after}")
        })
        .to_vec()
}

#[tokio::test]
async fn json_that_is_ten_thousand_deep_is_refused_wherever_json_is_taken() {
    let repository = Repository::of(&["dense_1"]);
    let flags = [
        "--model-control-mode=explicit",
        "--load-model=*",
        "--allow-settings-changes",
    ];
    let server = Server::start(&repository.uri(), &flags).await;
    let escaped =
        |json: &String| serde_json::to_string(&serde_json::json!({"parameters": {"config": json}})).unwrap();
    let input = "{\"inputs\":[{\"name\":\"x\",\"datatype\":\"FP32\",\"shape\":[1,4],\"data\":";
    let places: Vec<(String, Vec<String>)> = vec![
        (
            format!("{}/v2/models/dense_1/infer", server.http),
            deep(input, "}]}"),
        ),
        (
            format!("{}/v2/models/dense_1/infer", server.http),
            deep("{\"parameters\":", "}"),
        ),
        (format!("{}/v2/models/dense_1/infer", server.http), deep("", "")),
        (format!("{}/v2/logging", server.http), deep("{\"log_info\":", "}")),
        (
            format!("{}/v2/trace/setting", server.http),
            deep("{\"trace_level\":", "}"),
        ),
        (
            format!("{}/v2/repository/index", server.http),
            deep("{\"ready\":", "}"),
        ),
        (
            format!("{}/v2/repository/models/dense_1/load", server.http),
            deep("{\"parameters\":", "}"),
        ),
        (
            format!("{}/v2/repository/models/dense_1/load", server.http),
            deep("{\"input\":", "}").iter().map(escaped).collect(),
        ),
        (
            format!("{}/v1/models/dense_1:predict", server.rest),
            deep("{\"instances\":[", "]}"),
        ),
        (format!("{}/predict/dense_1", server.rest), deep("", "")),
    ];
    for (url, bodies) in places {
        for body in bodies {
            let start = Instant::now();
            let beginning: String = body.chars().take(40).collect();
            let answer = client().post(&url).body(body).send().await.unwrap();
            assert_eq!(answer.status(), 400, "{url} {beginning}");
            let answer: Value = answer.json().await.unwrap();
            assert!(
                answer["error"].as_str().is_some_and(|error| error.len() < 1000),
                "{url}: {answer}"
            );
            assert!(start.elapsed() < Duration::from_secs(1), "{url} {beginning}");
        }
    }
    assert!(server.is_ready().await);
}
