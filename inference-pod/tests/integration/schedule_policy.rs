//! The schedule-policy extension, and requests that are given up before they run: by priority, by time, by their clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use aiops_inference_pod::protocol::grpc_v2::proto;
use futures::future::join_all;
use prost::Message as _;
use proto::infer_parameter::ParameterChoice;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tonic::Code;

use crate::support::{Repository, Server, client, eventually, slow_message};

fn row(parameters: &Value) -> Value {
    json!({
        "parameters": parameters,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}],
    })
}

fn message(parameters: &[(&str, ParameterChoice)]) -> proto::ModelInferRequest {
    let parameter = |(name, choice): &(&str, ParameterChoice)| {
        let parameter_choice = Some(choice.clone());
        ((*name).to_owned(), proto::InferParameter { parameter_choice })
    };
    proto::ModelInferRequest {
        parameters: parameters.iter().map(parameter).collect(),
        ..slow_message()
    }
}

/// A server whose only worker is kept busy by urgent requests: others wait for as long as those go on.
struct Busy {
    server: Arc<Server>,
    /// Tells those who ask to stop; they answer how often they were answered.
    stop: Arc<AtomicBool>,
    askers: Vec<JoinHandle<u64>>,
    _repository: Repository,
}

const ASKERS: usize = 8;
const MODEL: &str = "{model=\"slow\",version=\"1\"";

impl Busy {
    async fn start() -> Self {
        let repository = Repository::of(&["slow"]);
        repository.config(
            "slow",
            "max_batch_size: 1 dynamic_batching { priority_levels: 2 default_priority_level: 2 }",
        );
        let server = Arc::new(Server::start(&repository.uri(), &[]).await);
        let stop = Arc::new(AtomicBool::new(false));
        let (http, url) = (client(), format!("{}/v2/models/slow/infer", server.http));
        let askers = (0..ASKERS)
            .map(|_| {
                let (http, url, stop) = (http.clone(), url.clone(), Arc::clone(&stop));
                tokio::spawn(async move {
                    let mut answered = 0;
                    while !stop.load(Ordering::SeqCst) {
                        let answer = http.post(&url).json(&row(&json!({"priority": 1}))).send().await;
                        assert_eq!(answer.unwrap().status(), 200);
                        answered += 1;
                    }
                    answered
                })
            })
            .collect();
        let busy = Self {
            server,
            stop,
            askers,
            _repository: repository,
        };
        busy.wait_for(ASKERS - 2).await;
        busy
    }

    async fn wait_for(&self, waiting: usize) {
        let pending = format!("nv_inference_pending_request_count{MODEL}}}");
        eventually("requests to wait", || async {
            self.server.metric(&pending).await >= waiting as f64
        })
        .await;
    }

    async fn failed(&self, reason: &str) -> f64 {
        self.server
            .metric(&format!(
                "nv_inference_request_failure{MODEL},reason=\"{reason}\"}}"
            ))
            .await
    }

    /// Asserts that nothing ran but what the askers were answered.
    async fn end(self) {
        self.stop.store(true, Ordering::SeqCst);
        let answered: u64 = join_all(self.askers)
            .await
            .into_iter()
            .map(|answered| answered.unwrap())
            .sum();
        let server = self.server;
        for metric in ["nv_inference_exec_count", "nv_inference_request_success"] {
            let count = server.metric(&format!("{metric}{MODEL}}}")).await;
            assert_eq!(count, answered as f64, "{metric}");
        }
        let stats = server.get(format!("{}/v2/models/slow/stats", server.http)).await;
        assert_eq!(stats["model_stats"][0]["execution_count"], json!(answered));
    }
}

/// A call without a client that minds its own deadline; the status of its answer.
async fn raw_call(server: &str, timeout: &str) -> String {
    let message = message(&[]).encode_to_vec();
    let prefix = [&[0][..], &(message.len() as u32).to_be_bytes()].concat();
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let answer = client
        .post(format!("{server}/inference.GRPCInferenceService/ModelInfer"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-timeout", timeout)
        .body([prefix, message].concat())
        .send()
        .await
        .unwrap();
    answer.headers()["grpc-status"].to_str().unwrap().to_owned()
}

/// More than the askers, so that some of them wait for sure when so many do.
const LEAVING: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_take_their_waiting_requests_along_in_both_protocols() {
    let busy = Busy::start().await;
    let (http, grpc) = (client(), busy.server.grpc().await);
    let url = format!("{}/v2/models/slow/infer", busy.server.http);
    for way in ["http", "grpc", "stream"] {
        let before = busy.failed("CANCELED").await;
        let leaving: Vec<_> = (0..LEAVING)
            .map(|_| {
                let (mut grpc, request) = (grpc.clone(), http.post(&url).json(&row(&json!({}))));
                tokio::spawn(async move {
                    match way {
                        "http" => drop(request.send().await),
                        "grpc" => drop(grpc.model_infer(message(&[])).await),
                        _ => {
                            let stream = futures::stream::iter([message(&[])]);
                            let mut answers = grpc.model_stream_infer(stream).await.unwrap().into_inner();
                            drop(answers.message().await);
                        }
                    }
                })
            })
            .collect();
        busy.wait_for(LEAVING + 2).await;
        for caller in &leaving {
            caller.abort();
        }
        eventually("the requests to be given up", || async {
            busy.failed("CANCELED").await - before >= (LEAVING + 2 - ASKERS) as f64
        })
        .await;
    }
    busy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_past_its_deadline_is_answered_and_never_run_in_both_protocols() {
    let busy = Busy::start().await;
    let timeout = 100_000;
    let (status, answer) = busy
        .server
        .infer("slow", &row(&json!({"timeout": timeout})))
        .await;
    assert_eq!(
        (status, answer),
        (503, json!({"error": "Request timeout expired"}))
    );
    let mut grpc = busy.server.grpc().await;
    for timeout in [
        ParameterChoice::Int64Param(timeout),
        ParameterChoice::Uint64Param(timeout.unsigned_abs()),
    ] {
        let error = grpc
            .model_infer(message(&[("timeout", timeout)]))
            .await
            .unwrap_err();
        assert_eq!(
            (error.code(), error.message()),
            (Code::Unavailable, "Request timeout expired")
        );
    }
    assert_eq!(busy.failed("REJECTED").await, 3.0);
    assert_eq!(busy.failed("CANCELED").await, 0.0);

    // The deadline of gRPC itself, of a client that would wait for ever.
    // DEADLINE_EXCEEDED.
    assert_eq!(raw_call(&busy.server.grpc, "100m").await, "4");
    eventually("the request to be given up", || async {
        busy.failed("CANCELED").await == 1.0
    })
    .await;
    busy.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn urgent_requests_overtake_those_that_wait_in_both_protocols() {
    let repository = Repository::of(&["slow"]);
    repository.config(
        "slow",
        "max_batch_size: 1 dynamic_batching { priority_levels: 3 default_priority_level: 2 }",
    );
    let server = Arc::new(Server::start(&repository.uri(), &[]).await);
    let mut grpc = server.grpc().await;
    let done = Arc::new(AtomicUsize::new(0));
    // Level 9 there is not: it is the default one, as none is.
    let patient: Vec<_> = (0..40)
        .map(|index| {
            let (server, done) = (Arc::clone(&server), Arc::clone(&done));
            tokio::spawn(async move {
                let parameters = if index % 2 == 0 {
                    json!({})
                } else {
                    json!({"priority": 9})
                };
                assert_eq!(server.infer("slow", &row(&parameters)).await.0, 200);
                done.fetch_add(1, Ordering::SeqCst);
            })
        })
        .collect();
    let pending = format!("nv_inference_pending_request_count{MODEL}}}");
    eventually("requests to wait", || async {
        server.metric(&pending).await > 30.0
    })
    .await;
    let last = {
        let (server, done) = (Arc::clone(&server), Arc::clone(&done));
        tokio::spawn(async move {
            assert_eq!(server.infer("slow", &row(&json!({"priority": 3}))).await.0, 200);
            done.load(Ordering::SeqCst)
        })
    };
    let urgent = json!({"priority": 1});
    let urgent = row(&urgent);
    let (over_http, over_grpc) = futures::join!(
        server.infer("slow", &urgent),
        grpc.model_infer(message(&[("priority", ParameterChoice::Uint64Param(1))]))
    );
    let overtaken = 40 - done.load(Ordering::SeqCst);
    assert_eq!(over_http.0, 200);
    over_grpc.unwrap();
    assert!(overtaken > 10, "only {overtaken} were overtaken");
    assert!(last.await.unwrap() >= 38, "the least urgent one did not go last");
    for request in patient {
        request.await.unwrap();
    }
}

#[tokio::test]
async fn a_priority_that_is_no_number_is_refused_in_both_protocols() {
    let repository = Repository::of(&["slow"]);
    let server = Server::start(&repository.uri(), &[]).await;
    let mut grpc = server.grpc().await;
    for (priority, status) in [
        (json!(-1), 400),
        (json!("high"), 400),
        (json!(1.5), 400),
        (json!(0), 200),
        (json!(u64::MAX), 200),
    ] {
        let (answered, answer) = server.infer("slow", &row(&json!({"priority": priority}))).await;
        assert_eq!(answered, status, "{priority}: {answer}");
        if status == 400 {
            let error = answer["error"].as_str().unwrap();
            assert!(error.contains("'priority'"), "{error}");
        }
    }
    for (priority, is_good) in [
        (ParameterChoice::Int64Param(-1), false),
        (ParameterChoice::StringParam("1".into()), false),
        (ParameterChoice::Int64Param(7), true),
    ] {
        let answer = grpc.model_infer(message(&[("priority", priority)])).await;
        match answer {
            Ok(_) => assert!(is_good),
            Err(error) => assert_eq!((error.code(), is_good), (Code::InvalidArgument, false), "{error}"),
        }
    }
}

#[tokio::test]
async fn a_full_level_refuses_while_another_takes_requests_and_grpc_says_when_to_come_back() {
    let repository = Repository::of(&["slow"]);
    repository.config(
        "slow",
        "max_batch_size: 1 dynamic_batching { priority_levels: 2 default_priority_level: 2 \
         priority_queue_policy { key: 2 value { max_queue_size: 2 } } }",
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let grpc = server.grpc().await;
    let ask = |priority| {
        let mut grpc = grpc.clone();
        async move {
            grpc.model_infer(message(&[("priority", ParameterChoice::Int64Param(priority))]))
                .await
        }
    };
    let (bounded, urgent) = futures::join!(
        join_all((0..20).map(|_| ask(0))),
        join_all((0..20).map(|_| ask(1)))
    );
    assert!(urgent.iter().all(Result::is_ok));
    let refused: Vec<_> = bounded.into_iter().filter_map(Result::err).collect();
    assert!((1..20).contains(&refused.len()), "{}", refused.len());
    for error in refused {
        assert_eq!(
            (error.code(), error.message()),
            (Code::Unavailable, "Exceeds maximum queue size")
        );
        assert_eq!(error.metadata().get("grpc-retry-pushback-ms").unwrap(), "1000");
    }
}
