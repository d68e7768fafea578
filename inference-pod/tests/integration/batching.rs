//! Requests that are put together are answered as if each had come alone.

use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::support::{Repository, Server, eventually};

/// Two rows of `every_datatype`'s kind: a mix of shapes and types that must not get into each other's batches.
fn request(rows: usize, width: usize, seed: i64) -> Value {
    let count = rows * width;
    let numbers = |scale: i64| {
        (0..count as i64)
            .map(|index| json!((seed * 31 + index * scale) % 100))
            .collect::<Vec<_>>()
    };
    let texts: Vec<_> = (0..count).map(|index| json!(format!("{seed}/{index}"))).collect();
    let booleans: Vec<_> = (0..count as i64)
        .map(|index| json!((seed + index) % 2 == 0))
        .collect();
    let inputs = [
        "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64",
    ];
    let mut inputs: Vec<_> = inputs
        .iter()
        .enumerate()
        .map(|(index, name)| json!({"name": name, "datatype": name, "shape": [rows, width], "data": numbers(index as i64 + 1)}))
        .collect();
    inputs.push(json!({"name": "BYTES", "datatype": "BYTES", "shape": [rows, width], "data": texts}));
    inputs.push(json!({"name": "BOOL", "datatype": "BOOL", "shape": [rows, width], "data": booleans}));
    json!({"inputs": inputs})
}

#[tokio::test]
async fn batched_answers_equal_unbatched_ones_for_any_mix_of_requests() {
    let repository = Repository::of(&["dense_1"]);
    repository.add("batched", 1, "dense_2");
    repository.config(
        "batched",
        "max_batch_size: 8 dynamic_batching { max_queue_delay_microseconds: 3000 }",
    );
    repository.add("alone", 1, "dense_2");
    repository.config("alone", "max_batch_size: 8");
    let server = Server::start(&repository.uri(), &[]).await;
    let mix = prop::collection::vec(prop::collection::vec(-1000_i32..1000, 4..=32), 1..24);
    let mixes: Vec<Vec<Vec<i32>>> = {
        let mut runner = TestRunner::new(Config::default());
        (0..24)
            .map(|_| mix.new_tree(&mut runner).unwrap().current())
            .collect()
    };
    for requests in mixes {
        let bodies: Vec<_> = requests
            .iter()
            .map(|values| {
                let rows = values.len() / 4;
                json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [rows, 4], "data": values[..rows * 4]}]})
            })
            .collect();
        let batched = join_all(bodies.iter().map(|body| server.infer("batched", body))).await;
        for (body, (status, answer)) in bodies.iter().zip(batched) {
            let (_, alone) = server.infer("alone", body).await;
            assert_eq!((status, &answer["outputs"]), (200, &alone["outputs"]), "{body}");
        }
    }
    let labels = "{model=\"batched\",version=\"1\"}";
    let executions = server.metric(&format!("nv_inference_exec_count{labels}")).await;
    let requests = server
        .metric(&format!("nv_inference_request_success{labels}"))
        .await;
    assert!(
        executions < requests,
        "{executions} executions for {requests} requests: nothing was put together"
    );
}

#[tokio::test]
async fn shapes_and_types_do_not_mix() {
    let repository = Repository::of(&["dense_1"]);
    repository.add("mixed", 1, "every_datatype");
    // Without the half-precision inputs, which JSON cannot carry, nothing could be asked: they are fed as binary elsewhere.
    let server = Server::start(&repository.uri(), &[]).await;
    let requests: Vec<_> = (0..40)
        .map(|index| (1 + index % 3, 1 + index % 4, index as i64))
        .collect();
    let answers = join_all(requests.iter().map(|(rows, width, seed)| {
        let mut body = request(*rows, *width, *seed);
        for name in ["FP16", "BF16"] {
            let size = rows * width * 2;
            body["inputs"].as_array_mut().unwrap().push(
                json!({"name": name, "datatype": name, "shape": [rows, width], "parameters": {"binary_data_size": size}}),
            );
        }
        let names: Vec<_> = body["inputs"].as_array().unwrap()[..12].iter().map(|input| input["name"].clone()).collect();
        body["outputs"] = names.iter().map(|name| json!({"name": format!("out_{}", name.as_str().unwrap())})).collect();
        let header = body.to_string();
        let bytes = [header.as_bytes(), &vec![0; rows * width * 4]].concat();
        let url = format!("{}/v2/models/mixed/infer", server.http);
        async move {
            let request = crate::support::client().post(url).header("Inference-Header-Content-Length", header.len());
            let answer = request.body(bytes).send().await.unwrap();
            (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
        }
    }))
    .await;
    for ((rows, width, seed), (status, answer)) in requests.iter().zip(answers) {
        assert_eq!(status, 200, "{answer}");
        let sent = request(*rows, *width, *seed);
        for (input, output) in sent["inputs"]
            .as_array()
            .unwrap()
            .iter()
            .zip(answer["outputs"].as_array().unwrap())
        {
            assert_eq!(input["shape"], output["shape"]);
            let same = input["data"]
                .as_array()
                .unwrap()
                .iter()
                .zip(output["data"].as_array().unwrap())
                .all(|(sent, got)| {
                    sent == got || sent.as_f64().is_some_and(|sent| got.as_f64() == Some(sent))
                });
            assert!(same, "{input} {output}");
        }
    }
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let repository = Repository::of(&["slow"]);
    repository.config(
        "slow",
        "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 2 } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]});
    let url = format!("{}/v2/models/slow/infer", server.http);
    let client = crate::support::client();
    let answers = join_all((0..30).map(|_| client.post(&url).json(&body).send())).await;
    let mut refused = 0;
    for answer in answers {
        let answer = answer.unwrap();
        if answer.status() == 503 {
            refused += 1;
            assert_eq!(answer.headers()["retry-after"], "1");
            assert_eq!(
                answer.json::<Value>().await.unwrap(),
                json!({"error": "Exceeds maximum queue size"})
            );
        } else {
            assert_eq!(answer.status(), 200);
        }
    }
    assert!((1..30).contains(&refused), "{refused}");
    let rejected = "nv_inference_request_failure{model=\"slow\",version=\"1\",reason=\"REJECTED\"}";
    assert_eq!(server.metric(rejected).await, f64::from(refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_left_is_not_run() {
    let repository = Repository::of(&["slow"]);
    repository.config("slow", "max_batch_size: 1 dynamic_batching { }");
    let server = Server::start(&repository.uri(), &[]).await;
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]});
    let url = format!("{}/v2/models/slow/infer", server.http);
    let client = crate::support::client();
    let send = || {
        let request = client.post(&url).json(&body);
        tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
    };
    let pending = || server.metric("nv_inference_pending_request_count{model=\"slow\",version=\"1\"}");
    let patient: Vec<_> = (0..100).map(|_| send()).collect();
    eventually("a queue to form", || async { pending().await > 50.0 }).await;
    let leaving: Vec<_> = (0..20).map(|_| send()).collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    for request in leaving {
        request.abort();
    }
    for request in patient {
        assert_eq!(request.await.unwrap(), 200);
    }
    eventually("the queue to be empty", || async { pending().await == 0.0 }).await;
    let canceled = "nv_inference_request_failure{model=\"slow\",version=\"1\",reason=\"CANCELED\"}";
    assert!(server.metric(canceled).await > 0.0);
}
