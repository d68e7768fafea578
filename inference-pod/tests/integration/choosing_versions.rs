//! Which version answers: one that a header pins, one that the caller keeps, or the one whose turn it is.

use std::collections::{BTreeMap, BTreeSet};

use aiops_inference_pod::protocol::grpc_v2::proto;
use futures::StreamExt as _;
use http::Method;
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use serde_json::{Value, json};
use tonic::transport::Channel;
use tonic::{Code, Request};

use crate::ensembles::{chain, row};
use crate::rest_front::{header, send};
use crate::support::{Repository, Server, client, eventually};

const PIN: &str = "aiops-model-version";
const CALLER: &str = "x-user-id";

/// Two versions of `dense` and a plan for them.
struct World {
    repository: Repository,
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let repository = Repository::new();
        repository.add("dense", 1, "dense_1");
        repository.add("dense", 2, "dense_2");
        Self {
            repository,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn plan(&self, models: &[Value]) {
        let next = self.folder.path().join("next");
        std::fs::write(&next, json!({"formatVersion": 1, "models": models}).to_string()).unwrap();
        std::fs::rename(next, self.folder.path().join("plan.json")).unwrap();
    }

    async fn start(&self, arguments: &[&str]) -> Server {
        let plan = format!(
            "--serving-plan={}",
            self.folder.path().join("plan.json").display()
        );
        let arguments = [&[plan.as_str()], arguments].concat();
        Server::start(&self.repository.uri(), &arguments).await
    }
}

fn shared(name: &str, weights: [u64; 2]) -> Value {
    let [first, second] = weights;
    json!({"name": name, "defaultVersion": 1, "versions": [{"version": 1, "weight": first}, {"version": 2, "weight": second}]})
}

fn sticky(name: &str, weights: [u64; 2]) -> Value {
    let mut model = shared(name, weights);
    model["stickyHeader"] = json!("X-User-Id");
    model
}

fn tensors() -> Value {
    json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]})
}

/// Status and body of a call over HTTP, whose body, if there is one, is sent.
async fn http(server: &Server, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (u16, Value) {
    let url = format!("{}/v2/models/{path}", server.http);
    let mut request = match body {
        Some(body) => client().post(url).json(&body),
        None => client().get(url),
    };
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn rest(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let answer = send(
        server,
        Method::POST,
        path,
        headers,
        r#"{"instances": [[1, 2, 3, 4]]}"#,
    )
    .await;
    (answer.status().as_u16(), answer.json().await.unwrap())
}

fn message(model: &str, version: &str) -> proto::ModelInferRequest {
    proto::ModelInferRequest {
        model_name: model.into(),
        model_version: version.into(),
        inputs: vec![proto::model_infer_request::InferInputTensor {
            name: "x".into(),
            datatype: "FP32".into(),
            shape: vec![1, 4],
            ..Default::default()
        }],
        raw_input_contents: vec![vec![0; 16].into()],
        ..Default::default()
    }
}

fn with<T>(message: T, metadata: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in metadata {
        request.metadata_mut().append(*name, value.parse().unwrap());
    }
    request
}

type Grpc = GrpcInferenceServiceClient<Channel>;

/// Versions that answer the messages of one stream.
async fn stream(grpc: &mut Grpc, count: usize, metadata: &[(&'static str, &str)]) -> Vec<String> {
    let messages = futures::stream::iter((0..count).map(|_| message("dense", "")));
    let answers = grpc.model_stream_infer(with(messages, metadata)).await.unwrap();
    let answers = answers.into_inner().map(|answer| answer.unwrap());
    answers
        .map(|answer| answer.infer_response.unwrap().model_version)
        .collect()
        .await
}

async fn version_over_http(server: &Server, headers: &[(&str, &str)]) -> String {
    let (status, answer) = http(server, "dense/infer", headers, Some(tensors())).await;
    assert_eq!(status, 200, "{answer}");
    answer["model_version"].as_str().unwrap().to_owned()
}

async fn version_over_grpc(grpc: &mut Grpc, metadata: &[(&'static str, &str)]) -> String {
    let answer = grpc
        .model_infer(with(message("dense", ""), metadata))
        .await
        .unwrap();
    answer.into_inner().model_version
}

#[tokio::test]
async fn a_header_pins_a_version_over_every_protocol() {
    let world = World::new();
    world.plan(&[shared("dense", [50, 50])]);
    let server = world.start(&[]).await;
    let mut grpc = server.grpc().await;
    for pinned in ["1", "2"] {
        let pin = [(PIN, pinned)];
        for _ in 0..4 {
            assert_eq!(version_over_http(&server, &pin).await, pinned);
            assert_eq!(version_over_grpc(&mut grpc, &pin).await, pinned);
            let (status, answer) = rest(&server, "/predict/dense", &pin).await;
            assert_eq!((status, answer["version"].to_string().as_str()), (200, pinned));
        }
        assert_eq!(stream(&mut grpc, 3, &pin).await, [pinned; 3]);
        let path = format!("dense/versions/{pinned}/infer");
        assert_eq!(
            http(&server, &path, &pin, Some(tensors())).await.0,
            200,
            "both say the same"
        );
        assert_eq!(
            http(&server, "dense", &pin, None).await.1["versions"],
            json!([pinned])
        );
        let (_, statistics) = http(&server, "dense/stats", &pin, None).await;
        assert_eq!(statistics["model_stats"].as_array().unwrap().len(), 1);
        assert_eq!(statistics["model_stats"][0]["version"], pinned);
        assert_eq!(http(&server, "dense/ready", &pin, None).await.0, 200);
        let metadata = proto::ModelMetadataRequest {
            name: "dense".into(),
            ..Default::default()
        };
        let metadata = grpc.model_metadata(with(metadata, &pin)).await.unwrap();
        assert_eq!(metadata.into_inner().versions, [pinned]);
        let described = send(&server, Method::GET, "/v1/models/dense", &pin, "").await;
        let described: Value = described.json().await.unwrap();
        assert_eq!(described["version"].to_string(), pinned);
    }
}

#[tokio::test]
async fn a_pin_that_cannot_be_followed_is_refused_in_words() {
    let world = World::new();
    world.plan(&[shared("dense", [50, 50])]);
    let server = world.start(&[]).await;
    let mut grpc = server.grpc().await;
    let absent = "Request for unknown model: 'dense' version 7 is not found";
    let contradiction =
        "the request names version 1, and its header 'aiops-model-version' version 2; leave one of them out";
    let nonsense =
        "header 'aiops-model-version' must be the number of a version, such as 3, and is \"canary\"";
    for (version, pin, status, code, text) in [
        ("", "7", 404, Code::NotFound, absent),
        ("1", "2", 400, Code::InvalidArgument, contradiction),
        ("", "canary", 400, Code::InvalidArgument, nonsense),
    ] {
        let pin = [(PIN, pin)];
        let (path, predict) = match version {
            "" => ("dense/infer".to_owned(), "/v1/models/dense:predict".to_owned()),
            version => (
                format!("dense/versions/{version}/infer"),
                format!("/v1/models/dense/versions/{version}:predict"),
            ),
        };
        let (got, answer) = http(&server, &path, &pin, Some(tensors())).await;
        assert_eq!((got, &answer["error"]), (status, &json!(text)));
        let (got, answer) = rest(&server, &predict, &pin).await;
        assert_eq!((got, &answer["error"]), (status, &json!(text)));
        let error = grpc
            .model_infer(with(message("dense", version), &pin))
            .await
            .unwrap_err();
        assert_eq!((error.code(), error.message()), (code, text));
        let messages = futures::stream::iter([message("dense", version)]);
        let mut answers = grpc
            .model_stream_infer(with(messages, &pin))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answers.next().await.unwrap().unwrap().error_message, text);
    }
    let (status, answer) = http(&server, "dense/stats", &[(PIN, "7")], None).await;
    let text = "requested model version is not available for model 'dense'";
    assert_eq!((status, &answer["error"]), (400, &json!(text)));
}

#[tokio::test]
async fn web_pages_may_send_the_header_that_pins() {
    let world = World::new();
    world.plan(&[shared("dense", [50, 50])]);
    let server = world.start(&["--rest-cors-origin=https://a.example"]).await;
    let preflight = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", PIN),
    ];
    let _ = client();
    let answer = send(&server, Method::OPTIONS, "/predict/dense", &preflight, "").await;
    assert_eq!(header(&answer, "access-control-allow-headers"), PIN);
    let document = server.get(format!("{}/openapi.json", server.rest)).await;
    let parameter = |path: &str, method: &str| {
        let parameters = document["paths"][path][method]["parameters"].as_array().unwrap();
        let found = parameters.iter().find(|parameter| parameter["name"] == PIN);
        found.unwrap_or_else(|| panic!("{path}"))["schema"]["enum"].clone()
    };
    assert_eq!(parameter("/v1/models/dense:predict", "post"), json!(["1", "2"]));
    assert_eq!(parameter("/predict/dense", "post"), json!(["1", "2"]));
    assert_eq!(parameter("/v1/models/dense", "get"), json!(["1", "2"]));
    assert_eq!(
        parameter("/v1/models/dense/versions/2:predict", "post"),
        json!(["2"])
    );
}

#[tokio::test]
async fn a_request_takes_one_turn_and_a_look_takes_none() {
    let world = World::new();
    world.plan(&[shared("dense", [50, 50])]);
    let mut sequences = BTreeSet::new();
    for protocol in ["http", "rest", "grpc"] {
        let server = world.start(&[]).await;
        let mut grpc = server.grpc().await;
        let mut versions = Vec::new();
        for _ in 0..24 {
            versions.push(match protocol {
                "http" => version_over_http(&server, &[]).await,
                "rest" => rest(&server, "/predict/dense", &[]).await.1["version"].to_string(),
                _ => version_over_grpc(&mut grpc, &[]).await,
            });
            for look in ["dense", "dense/config", "dense/ready", "dense/stats"] {
                assert_eq!(http(&server, look, &[], None).await.0, 200);
            }
            version_over_http(&server, &[(PIN, "1")]).await;
        }
        sequences.insert(versions);
    }
    assert_eq!(sequences.len(), 1, "{sequences:?}");
    let versions: Vec<_> = sequences.into_iter().flatten().collect();
    let second = versions.iter().filter(|version| *version == "2").count();
    assert!((11..=13).contains(&second), "{versions:?}");
}

/// The version that each of so many callers gets.
async fn of_callers(server: &Server, count: usize) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for caller in 0..count {
        let caller = format!("user-{caller}");
        let version = version_over_http(server, &[(CALLER, &caller)]).await;
        versions.insert(caller, version);
    }
    versions
}

#[tokio::test]
async fn a_caller_keeps_its_version_over_protocols_pods_and_steps_of_a_canary() {
    const CALLERS: usize = 60;
    let world = World::new();
    world.plan(&[sticky("dense", [70, 30])]);
    let (server, other) = tokio::join!(world.start(&[]), world.start(&[]));
    let mut grpc = other.grpc().await;
    let before = of_callers(&server, CALLERS).await;
    let canary = |versions: &BTreeMap<String, String>| -> BTreeSet<String> {
        let canary = versions.iter().filter(|(_, version)| *version == "2");
        canary.map(|(caller, _)| caller.clone()).collect()
    };
    assert!((8..=30).contains(&canary(&before).len()), "{before:?}");
    for (caller, version) in before.iter().take(20) {
        let name = [(CALLER, caller.as_str())];
        for _ in 0..2 {
            assert_eq!(version_over_grpc(&mut grpc, &name).await, *version);
            let (_, answer) = rest(&other, "/predict/dense", &name).await;
            assert_eq!(answer["version"].to_string(), *version);
        }
        assert_eq!(stream(&mut grpc, 2, &name).await, [version.as_str(); 2]);
        // What is pinned is pinned.
        assert_eq!(version_over_http(&other, &[name[0], (PIN, "1")]).await, "1");
    }
    let mut nameless = BTreeSet::new();
    for _ in 0..10 {
        nameless.insert(version_over_http(&server, &[]).await);
        nameless.insert(version_over_http(&server, &[(CALLER, "")]).await);
    }
    assert_eq!(nameless.len(), 2, "who has no name takes its turn");

    world.plan(&[sticky("dense", [40, 60])]);
    let sha256 = server.plan().await["planSha256"].clone();
    eventually("the second step to be applied", || async {
        let plan = server.plan().await;
        plan["planSha256"] != sha256 && plan["state"] == "Applied"
    })
    .await;
    let after = of_callers(&server, CALLERS).await;
    assert!(
        canary(&after).is_superset(&canary(&before)),
        "{before:?} {after:?}"
    );
    assert!(canary(&after).len() > canary(&before).len());
    let restarted = world.start(&[]).await;
    assert_eq!(of_callers(&restarted, CALLERS).await, after);
}

#[tokio::test]
async fn models_of_an_ensemble_know_the_caller() {
    let world = World::new();
    world.repository.add("dense_1", 1, "dense_1");
    world.repository.add("dense_1", 2, "dense_2");
    world.repository.add("fixed", 1, "fixed");
    chain(&world.repository);
    let single = |name: &str| json!({"name": name, "defaultVersion": 1, "versions": [{"version": 1}]});
    world.plan(&[sticky("dense_1", [50, 50]), single("fixed"), single("chain")]);
    let server = world.start(&[]).await;
    let mut answers = BTreeSet::new();
    for caller in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let name = [(CALLER, caller)];
        let (_, direct) = http(&server, "dense_1/infer", &name, Some(tensors())).await;
        let version = direct["model_version"].as_str().unwrap().to_owned();
        for _ in 0..3 {
            let (status, answer) = http(&server, "chain/infer", &name, Some(row([0.0; 4]))).await;
            assert_eq!(status, 200, "{answer}");
            answers.insert((version.clone(), answer["outputs"][0]["data"][0].to_string()));
        }
    }
    assert_eq!(answers.len(), 2, "each version has its own answer: {answers:?}");
}
