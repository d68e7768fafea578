//! Lines in the log by which a request is found again.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Repository, Server, client, eventually, post, slow_message};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn requests(server: &Server) -> Vec<Value> {
    let lines = server.log();
    let events = lines
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    events
        .filter(|event| event["target"] == "aiops_inference_pod::requests")
        .collect()
}

async fn infer(server: &Server, body: &Value) {
    let request = client()
        .post(format!("{}/v2/models/dense_1/infer", server.http))
        .header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"))
        .header("x-request-id", "of the header")
        .json(body);
    request.send().await.unwrap();
}

#[tokio::test]
async fn requests_are_logged_with_their_id_once_the_log_is_verbose() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--allow-settings-changes"]).await;
    let mut body = json!({"id": "mine", "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]});
    infer(&server, &body).await;
    let logging = format!("{}/v2/logging", server.http);
    post(&logging, &json!({"log_verbose_level": 1})).await;
    infer(&server, &body).await;
    body["id"] = json!("");
    infer(&server, &body).await;
    infer(&server, &json!({"inputs": []})).await;
    let mut message = slow_message();
    message.model_name = "absent".into();
    server.grpc().await.model_infer(message).await.unwrap_err();
    eventually("four lines", || async { requests(&server).len() >= 4 }).await;
    post(&logging, &json!({"log_verbose_level": 0})).await;
    infer(&server, &body).await;

    let lines = requests(&server);
    assert_eq!(lines.len(), 4, "neither before nor after: {lines:?}");
    let expect = |line: &Value, expected: &[(&str, Value)]| {
        for (name, value) in expected {
            assert_eq!(&line[*name], value, "{name} of {line}");
        }
        assert!(line["milliseconds"].as_f64().unwrap() > 0.0);
    };
    expect(
        &lines[0],
        &[
            ("level", json!("DEBUG")),
            ("message", json!("request")),
            ("protocol", json!("http")),
            ("operation", json!("/v2/models/{model}/infer")),
            ("model", json!("dense_1")),
            ("version", json!(1)),
            ("request_id", json!("mine")),
            ("status", json!("200")),
            ("trace_id", json!(TRACE)),
        ],
    );
    expect(&lines[1], &[("request_id", json!("of the header"))]);
    expect(&lines[2], &[("status", json!("400"))]);
    assert!(lines[2]["error"].is_string());
    expect(
        &lines[3],
        &[("protocol", json!("grpc")), ("status", json!("NotFound"))],
    );
}

#[tokio::test]
async fn failures_of_the_server_are_always_logged_but_not_all_of_them() {
    let repository = Repository::of(&["slow"]);
    repository.config(
        "slow",
        "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 1 } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let body =
        json!({"id": "mine", "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]});
    let answers = join_all((0..60).map(|_| server.infer("slow", &body))).await;
    let refused = answers.iter().filter(|(status, _)| *status == 503).count();
    assert!(refused > 25, "{refused}");
    eventually("a line", || async { !requests(&server).is_empty() }).await;
    let lines = requests(&server);
    assert!(
        lines.len() < refused,
        "{} lines of {refused} refusals",
        lines.len()
    );
    assert_eq!(
        (
            &lines[0]["level"],
            &lines[0]["request_id"],
            &lines[0]["error"],
            &lines[0]["status"]
        ),
        (
            &json!("WARN"),
            &json!("mine"),
            &json!("Exceeds maximum queue size"),
            &json!("503")
        )
    );
}

#[tokio::test]
async fn requests_over_rest_are_logged_with_the_id_that_their_answer_has() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--log-verbose=1"]).await;
    let mut ids = Vec::new();
    for (path, rows) in [
        ("v1/models/dense_1:predict", json!([[1, 2, 3, 4]])),
        ("v1/models/dense_1/versions/1:predict", json!([[1, 2, 3, 4]])),
        ("predict/dense_1", json!([["one", 2, 3, 4]])),
    ] {
        let request = client()
            .post(format!("{}/{path}", server.rest))
            .json(&json!({"instances": rows}));
        let answer = request.send().await.unwrap();
        ids.push(answer.headers()["x-request-id"].to_str().unwrap().to_owned());
    }
    eventually("three lines", || async { requests(&server).len() >= 3 }).await;
    let lines = requests(&server);
    let told = |name: &str| lines.iter().map(|line| line[name].clone()).collect::<Vec<_>>();
    assert_eq!(told("request_id"), ids);
    assert_eq!(told("status"), ["200", "200", "400"]);
    assert_eq!(
        told("operation")[1],
        "/v1/models/{model}/versions/{version}:predict"
    );
    assert!(
        lines[2]["error"].as_str().unwrap().contains("instances[0]"),
        "{}",
        lines[2]
    );
}
