//! Requests that would take more memory than there is for them.

use aiops_inference_pod::protocol::grpc_v2::proto;
use serde_json::{Value, json};

use crate::support::{Repository, Server, client, eventually, slow_message};

fn rows(count: usize) -> Value {
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [count, 4], "data": vec![0; count * 4]}]})
}

#[tokio::test]
async fn an_output_that_is_asked_for_again_and_again_is_answered_once() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut request = rows(1);
    request["outputs"] = json!(vec![json!({"name": "y"}); 50_000]);
    let (status, answer) = server.infer("dense_1", &request).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"].as_array().unwrap().len(), 1);
    request["outputs"][49_999] = json!({"name": "q"});
    let (status, answer) = server.infer("dense_1", &request).await;
    assert_eq!(status, 400);
    assert!(
        answer["error"]
            .as_str()
            .unwrap()
            .contains("unexpected inference output 'q'"),
        "{answer}"
    );
    request["outputs"] = json!("y");
    assert_eq!(server.infer("dense_1", &request).await.0, 400);
}

#[tokio::test]
async fn requests_that_the_memory_does_not_hold_are_refused_with_the_numbers() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--max-request-memory=800000"]).await;
    assert_eq!(server.infer("dense_1", &rows(64)).await.0, 200);
    let url = format!("{}/v2/models/dense_1/infer", server.http);
    for body in [
        reqwest::Body::from(vec![b' '; 100_001]),
        // Without a Content-Length.
        reqwest::Body::wrap_stream(futures::stream::iter(
            (0..101).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1000])),
        )),
    ] {
        let answer = client().post(&url).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 413);
        let answer: Value = answer.json().await.unwrap();
        let error = answer["error"].as_str().unwrap();
        assert!(
            error.contains("100000 are the most for one") && error.contains("--max-request-memory"),
            "{error}"
        );
    }
    let (status, answer) = crate::support::post(
        &format!("{}/predict/dense_1", server.rest),
        &json!({"instances": vec![[0; 4]; 10_000]}),
    )
    .await;
    assert_eq!(status, 413, "{answer}");
    assert!(server.is_ready().await);
}

#[tokio::test]
async fn a_message_of_nothing_but_empty_inputs_is_refused_and_so_is_one_of_empty_strings() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--max-request-memory=12000000"]).await;
    let mut grpc = server.grpc().await;
    let with = |inputs| proto::ModelInferRequest {
        model_name: "dense_1".into(),
        inputs,
        ..Default::default()
    };
    // No more bytes than fit, and refused all the same.
    let inputs = vec![proto::model_infer_request::InferInputTensor::default(); 20_000];
    let error = grpc.model_infer(with(inputs)).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument, "{error}");
    assert!(error.message().contains("more than 16384 inputs"), "{error}");
    let strings = proto::model_infer_request::InferInputTensor {
        contents: Some(proto::InferTensorContents {
            bytes_contents: vec![Default::default(); 200_000],
            ..Default::default()
        }),
        ..Default::default()
    };
    let error = grpc.model_infer(with(vec![strings])).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted, "{error}");
    assert!(error.message().contains("small parts"), "{error}");
    assert!(server.is_ready().await);
}

/// A message of as many bytes as its name has, and some more.
fn message(name_bytes: usize) -> proto::ModelInferRequest {
    proto::ModelInferRequest {
        id: "7".repeat(name_bytes),
        ..slow_message()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_go_away_in_every_protocol_leave_all_the_memory_to_the_next() {
    let repository = Repository::of(&["slow"]);
    repository.config("slow", "max_batch_size: 1 dynamic_batching { }");
    let server = Server::start(&repository.uri(), &["--max-request-memory=800000"]).await;
    let url = format!("{}/v2/models/slow/infer", server.http);
    let rest = format!("{}/predict/slow", server.rest);
    let tensors = json!({
        "id": "7".repeat(1000),
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}],
    });
    let rows = json!({"instances": vec![[1]; 100]});
    let (http, grpc) = (client(), server.grpc().await);
    let pending = "nv_inference_pending_request_count{model=\"slow\",version=\"1\"}";
    for _ in 0..3 {
        let callers: Vec<_> = (0..60)
            .map(|index| {
                let mut grpc = grpc.clone();
                let request = match index % 3 {
                    0 => http.post(&url).json(&tensors),
                    _ => http.post(&rest).json(&rows),
                };
                tokio::spawn(async move {
                    match index % 3 {
                        1 => drop(grpc.model_infer(message(1000)).await),
                        _ => drop(request.send().await),
                    }
                })
            })
            .collect();
        eventually("many requests to wait", || async {
            server.metric(pending).await > 20.0
        })
        .await;
        for caller in callers {
            caller.abort();
        }
    }
    eventually("a message that needs all the memory to be answered", || async {
        grpc.clone().model_infer(message(99_000)).await.is_ok()
    })
    .await;
    assert!(server.metric(pending).await < 1.0);
}
