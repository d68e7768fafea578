//! A long run of everything at once: what a server holds afterwards is what it held after the first rounds.
//!
//! Counted in requests and in bytes, never in time: a slow machine takes longer and finds the same.

use std::path::{Path, PathBuf};

use aiops_inference_pod::protocol::grpc_v2::proto;
use base64::Engine as _;
use futures::future::join_all;
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::support::{Repository, Server, client, eventually, models};

/// Clients at the same time, and how often each sends the mix in a round.
const CLIENTS: usize = 8;
const MIXES: usize = 8;
/// Rounds until what is kept for reuse is filled: buffers, arenas of the heap, threads that start when they are needed.
const WARM_UP: usize = 10;
const ROUNDS: usize = 24;
/// Rounds at each end of the long part that are looked at; between rounds, memory goes up and down.
const LOOKED_AT: usize = 4;
/// Requests of a mix, for the message.
const REQUESTS_A_MIX: usize = 8;
/// What may grow besides the 5 %: 0.4 MiB were seen after three times as many requests, and 100 bytes lost of each are more.
const FLOOR: u64 = 1 << 20;
/// Files and threads that may be more by chance: pools of threads breathe. One lost in each round would be more.
const BY_CHANCE: u64 = 6;

/// What the server has at the end of a round.
#[derive(Clone, Debug)]
struct Held {
    anonymous: u64,
    resident: u64,
    files: usize,
    threads: usize,
    left: Vec<PathBuf>,
}

/// A name, and the number that it is of what is held.
type Measured = (&'static str, fn(&Held) -> u64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_grows_in_a_soak() {
    let repository = Repository::of(&["dense_1", "dense_2", "columns_of_99", "ratio", "ir_999"]);
    let temporary = tempfile::tempdir().unwrap();
    let cache = temporary.path().join("cache");
    let server = Server::start_with_environment(
        &repository.uri(),
        &[
            "--model-control-mode=explicit",
            "--load-model=dense_1",
            "--load-model=columns_of_99",
            &format!("--model-cache={}", cache.display()),
        ],
        &[("TMPDIR", temporary.path().display().to_string())],
    );
    server.wait_until_ready().await;
    let mut held = Vec::new();
    for round in 0..WARM_UP + ROUNDS {
        join_all((0..CLIENTS).map(|client| requests(&server, round * CLIENTS + client))).await;
        models_come_and_go(&server).await;
        held.push(hold(&server, temporary.path()).await);
    }
    check(&held[WARM_UP - LOOKED_AT..]);
}

fn check(held: &[Held]) {
    let (first, last) = (&held[..LOOKED_AT], &held[held.len() - LOOKED_AT..]);
    let between = ROUNDS * CLIENTS * MIXES * REQUESTS_A_MIX;
    // The most of the first rounds and the least of the last: what comes and goes is in both, and a leak in all that follow.
    let most = |of: fn(&Held) -> u64| first.iter().map(of).max().unwrap();
    let least = |of: fn(&Held) -> u64| last.iter().map(of).min().unwrap();
    let of_all: [Measured; 2] = [
        ("anonymous memory", |held| held.anonymous),
        ("resident memory", |held| held.resident),
    ];
    for (what, of) in of_all {
        let (before, after) = (most(of), least(of));
        let series: Vec<_> = held.iter().map(|held| of(held) >> 10).collect();
        assert!(
            after <= before + before / 20 + FLOOR,
            "{what} grew from {before} to {after} bytes in {between} requests; KiB by round: {series:?}"
        );
    }
    let counts: [Measured; 2] = [
        ("open files", |held| held.files as u64),
        ("threads", |held| held.threads as u64),
    ];
    for (what, of) in counts {
        let (before, after) = (most(of), least(of));
        assert!(
            after <= before + BY_CHANCE,
            "{what}: {before}, and {after} after {between} requests"
        );
    }
    assert_eq!(
        last[LOOKED_AT - 1].left,
        first[0].left,
        "files that nobody needs any more"
    );
}

/// What is held once nothing is under way.
async fn hold(server: &Server, temporary: &Path) -> Held {
    // The connections of the round are closed at this end; the server hears of it a little later.
    settled(|| server.open_files()).await;
    Held {
        anonymous: server.memory("RssAnon"),
        resident: server.memory("VmRSS"),
        files: server.open_files(),
        threads: server.threads(),
        left: files_below(temporary),
    }
}

/// Waits until a number is the same four times in a row.
async fn settled(number: impl Fn() -> usize) {
    let (mut last, mut same) = (number(), 0);
    eventually("open connections to be closed", || {
        let now = number();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        let is_settled = same >= 3;
        async move { is_settled }
    })
    .await;
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files_below(&path)),
            false => found.push(path),
        }
    }
    found.sort();
    found
}

/// The mix, by one client with connections of its own.
async fn requests(server: &Server, seed: usize) {
    let http = client();
    let mut grpc = server.grpc().await;
    for turn in 0..MIXES {
        let rows = 1 + (seed + turn) % 7;
        json_rows(&http, server, rows).await;
        binary_rows(&http, server, rows).await;
        wide_row(&http, server, 1 + (seed * 31 + turn * 7) % 64).await;
        grpc_rows(&mut grpc, rows).await;
        streamed(&mut grpc, rows).await;
        refused(&http, server).await;
    }
}

async fn infer(http: &reqwest::Client, server: &Server, model: &str, body: &Value) -> (u16, Value) {
    let url = format!("{}/v2/models/{model}/infer", server.http);
    let answer = http.post(url).json(body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn json_rows(http: &reqwest::Client, server: &Server, rows: usize) {
    let input = json!({"name": "x", "shape": [rows, 4], "datatype": "FP32", "data": vec![1.5; rows * 4]});
    let (status, answer) = infer(http, server, "dense_1", &json!({"inputs": [input]})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["outputs"][0]["data"], json!(vec![2.5; rows * 3]));
}

async fn binary_rows(http: &reqwest::Client, server: &Server, rows: usize) {
    let size = json!({"binary_data_size": rows * 16});
    let header = json!({
        "inputs": [{"name": "x", "shape": [rows, 4], "datatype": "FP32", "parameters": size}],
        "outputs": [{"name": "y", "parameters": {"binary_data": true}}],
    })
    .to_string();
    let answer = http
        .post(format!("{}/v2/models/dense_1/infer", server.http))
        .header("Inference-Header-Content-Length", header.len())
        .body([header.as_bytes(), &vec![0; rows * 16]].concat())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.bytes().await.unwrap();
    assert!(body.ends_with(&1_f32.to_le_bytes().repeat(rows * 3)));
}

/// Of one of many sizes.
async fn wide_row(http: &reqwest::Client, server: &Server, rows: usize) {
    let input = json!({"name": "x", "shape": [rows, 99], "datatype": "FP32", "data": vec![0.5; rows * 99]});
    let (status, answer) = infer(http, server, "columns_of_99", &json!({"inputs": [input]})).await;
    assert_eq!(status, 200, "{answer}");
}

fn message(rows: usize) -> proto::ModelInferRequest {
    let input = proto::model_infer_request::InferInputTensor {
        name: "x".into(),
        datatype: "FP32".into(),
        shape: vec![rows as i64, 4],
        ..Default::default()
    };
    proto::ModelInferRequest {
        model_name: "dense_1".into(),
        inputs: vec![input],
        raw_input_contents: vec![vec![0; rows * 16].into()],
        ..Default::default()
    }
}

async fn grpc_rows(grpc: &mut GrpcInferenceServiceClient<Channel>, rows: usize) {
    let answer = grpc.model_infer(message(rows)).await.unwrap().into_inner();
    assert_eq!(answer.outputs[0].shape, [rows as i64, 3]);
}

async fn streamed(grpc: &mut GrpcInferenceServiceClient<Channel>, rows: usize) {
    let messages = futures::stream::iter([message(rows), message(rows + 1)]);
    let mut answers = grpc.model_stream_infer(messages).await.unwrap().into_inner();
    for _ in 0..2 {
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.error_message, "");
    }
}

/// Names that come once, which nothing may remember.
async fn refused(http: &reqwest::Client, server: &Server) {
    let wrong = json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1]}]});
    let (status, _) = infer(http, server, "dense_1", &wrong).await;
    assert_eq!(status, 400);
    let model = format!("absent_{}", rand::random::<u64>());
    let (status, _) = infer(http, server, &model, &wrong).await;
    assert_eq!(status, 404);
}

/// One of the repository, one that comes with the call, one that cannot be loaded.
async fn models_come_and_go(server: &Server) {
    let file = std::fs::read(models().join("dense_2.onnx")).unwrap();
    let file = base64::engine::general_purpose::STANDARD.encode(file);
    let given = json!({"parameters": {"config": "{\"name\": \"given\", \"backend\": \"onnxruntime\"}",
                                      "file:1/model.onnx": file}});
    let empty = json!({});
    for (model, call, body, expected) in [
        ("dense_2", "load", &empty, true),
        ("given", "load", &given, true),
        ("ir_999", "load", &empty, false),
        ("dense_2", "unload", &empty, true),
        ("given", "unload", &empty, true),
    ] {
        let url = format!("{}/v2/repository/models/{model}/{call}", server.http);
        let answer = client().post(url).json(body).send().await.unwrap();
        let is_done = answer.status() == 200;
        assert_eq!(
            is_done,
            expected,
            "{call} {model}: {}",
            answer.text().await.unwrap()
        );
    }
    eventually("the models to be unloaded", || async {
        let index = format!("{}/v2/repository/index", server.http);
        let index: Value = client()
            .post(index)
            .json(&json!({"ready": true}))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        index.as_array().unwrap().len() == 2
    })
    .await;
}
