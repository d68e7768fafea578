//! Traces as collectors get them, over both transports of OTLP, and as files of Triton's form.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status};

use crate::support::{Repository, Server, client, eventually, post as post_json, slow_message};
use crate::tls::{self, Authority, Secret};

const CALLER: &str = "00f067aa0ba902b7";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ExportTraceServiceRequest>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().push(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn over_grpc() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(service)
                .serve_with_incoming(tonic::transport::server::TcpIncoming::from(listener))
                .await
                .unwrap();
        });
        (collector, address)
    }

    async fn over_http() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("{}/v1/traces", listener.local_addr().unwrap());
        let export = async |State(collector): State<Self>, body: Bytes| {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            collector.0.lock().unwrap().push(request);
            ExportTraceServiceResponse::default().encode_to_vec()
        };
        let router = Router::new()
            .route("/v1/traces", post(export))
            .with_state(collector.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (collector, address)
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.0.lock().unwrap();
        requests
            .iter()
            .flat_map(|request| &request.resource_spans)
            .flat_map(|resource| &resource.scope_spans)
            .flat_map(|scope| scope.spans.clone())
            .collect()
    }

    fn of_trace(&self, trace: &str) -> Vec<Span> {
        let spans = self.spans().into_iter();
        spans.filter(|span| hex(&span.trace_id) == trace).collect()
    }

    /// The three spans of a request: of the server, the queue and the batch.
    async fn whole(&self, trace: &str) -> [Span; 3] {
        eventually(&format!("the spans of {trace}"), || async {
            self.of_trace(trace).len() >= 3
        })
        .await;
        let spans = self.of_trace(trace);
        assert_eq!(spans.len(), 3, "{spans:?}");
        let named = |wanted: &str| spans.iter().find(|span| span.name == wanted).unwrap().clone();
        let server = spans.iter().find(|span| span.kind == 2).unwrap().clone();
        [server, named("queue"), named("compute")]
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> Value {
    let found = span.attributes.iter().find(|attribute| attribute.key == name);
    match found.and_then(|attribute| attribute.value.clone()?.value) {
        Some(Any::StringValue(text)) => json!(text),
        Some(Any::IntValue(number)) => json!(number),
        None => Value::Null,
        other => panic!("{other:?}"),
    }
}

fn trace(number: u8) -> String {
    format!("{:032x}", 0x4bf9_2f35_0000_0000_u64 + u64::from(number))
}

fn row() -> Value {
    json!({"id": "mine", "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]})
}

async fn infer(server: &Server, path: &str, body: &Value, traceparent: &str) -> u16 {
    let request = client()
        .post(format!("{}/{path}", server.http))
        .header("traceparent", traceparent)
        .header("tracestate", "vendor=value")
        .json(body);
    request.send().await.unwrap().status().as_u16()
}

fn dense_message() -> aiops_inference_pod::protocol::grpc_v2::proto::ModelInferRequest {
    let mut message = slow_message();
    message.model_name = "dense_1".into();
    message.id = "over grpc".into();
    message.inputs[0].shape = vec![1, 4];
    message.raw_input_contents = vec![vec![0; 16].into()];
    message
}

#[tokio::test]
async fn requests_of_every_protocol_continue_the_trace_of_their_caller() {
    let (collector, address) = Collector::over_grpc().await;
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start_with_environment(
        &repository.uri(),
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".into()),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".into()),
            ("OTEL_SERVICE_NAME", "fraud".into()),
        ],
    );
    server.wait_until_ready().await;
    let (path, unsampled) = ("v2/models/dense_1/infer", trace(9));
    assert_eq!(
        infer(&server, path, &row(), &format!("00-{unsampled}-{CALLER}-00")).await,
        200
    );

    let over_http = trace(1);
    assert_eq!(
        infer(&server, path, &row(), &format!("00-{over_http}-{CALLER}-01")).await,
        200
    );
    let [span, queue, compute] = collector.whole(&over_http).await;
    assert_eq!(span.name, "POST /v2/models/{model}/infer");
    assert_eq!(hex(&span.parent_span_id), CALLER);
    assert_eq!(span.trace_state, "vendor=value");
    for (name, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v2/models/{model}/infer")),
        ("url.path", json!("/v2/models/dense_1/infer")),
        ("url.scheme", json!("http")),
        ("http.response.status_code", json!(200)),
        ("triton.model_name", json!("dense_1")),
        ("triton.model_version", json!(1)),
        ("triton.request_id", json!("mine")),
        ("error.type", Value::Null),
    ] {
        assert_eq!(attribute(&span, name), value, "{name}");
    }
    for child in [&queue, &compute] {
        assert_eq!(child.parent_span_id, span.span_id);
        assert!(span.start_time_unix_nano <= child.start_time_unix_nano);
        assert!(child.end_time_unix_nano <= span.end_time_unix_nano);
    }
    assert_eq!(queue.end_time_unix_nano, compute.start_time_unix_nano);
    assert_eq!(attribute(&compute, "aiops.batch.rows"), 1);
    assert_eq!(attribute(&compute, "aiops.batch.requests"), 1);
    assert_eq!(compute.events.len(), 2);

    let over_grpc = trace(2);
    let mut message = Request::new(dense_message());
    message.metadata_mut().insert(
        "traceparent",
        format!("00-{over_grpc}-{CALLER}-01").parse().unwrap(),
    );
    server.grpc().await.model_infer(message).await.unwrap();
    let [span, ..] = collector.whole(&over_grpc).await;
    assert_eq!(span.name, "inference.GRPCInferenceService/ModelInfer");
    assert_eq!(hex(&span.parent_span_id), CALLER);
    assert_eq!(attribute(&span, "rpc.method"), "ModelInfer");
    assert_eq!(attribute(&span, "rpc.grpc.status_code"), 0);
    assert_eq!(attribute(&span, "triton.request_id"), "over grpc");

    let over_stream = trace(3);
    let mut stream = Request::new(tokio_stream::iter([dense_message()]));
    stream.metadata_mut().insert(
        "traceparent",
        format!("00-{over_stream}-{CALLER}-01").parse().unwrap(),
    );
    let mut answers = server
        .grpc()
        .await
        .model_stream_infer(stream)
        .await
        .unwrap()
        .into_inner();
    answers.message().await.unwrap().unwrap();
    let [span, ..] = collector.whole(&over_stream).await;
    assert_eq!(attribute(&span, "rpc.method"), "ModelStreamInfer");

    let over_rest = trace(4);
    let sent = client()
        .post(format!("{}/v1/models/dense_1:predict", server.rest))
        .header("traceparent", format!("00-{over_rest}-{CALLER}-01"))
        .json(&json!({"instances": [[1, 2, 3, 4]]}));
    assert_eq!(sent.send().await.unwrap().status(), 200);
    let [span, ..] = collector.whole(&over_rest).await;
    assert_eq!(attribute(&span, "http.route"), "/v1/models/{model}:predict");

    let refused = trace(5);
    assert_eq!(
        infer(
            &server,
            "v2/models/absent/infer",
            &row(),
            &format!("00-{refused}-{CALLER}-01")
        )
        .await,
        404
    );
    eventually("the span of a refusal", || async {
        collector.of_trace(&refused).len() == 1
    })
    .await;
    let span = &collector.of_trace(&refused)[0];
    assert_eq!(attribute(span, "http.response.status_code"), 404);
    assert!(
        span.status.is_none() || span.status.as_ref().unwrap().code == 0,
        "the client's error is none of the server"
    );

    assert!(
        collector.of_trace(&unsampled).is_empty(),
        "its caller did not want it"
    );
    let request = &collector.0.lock().unwrap()[0];
    let resource = request.resource_spans[0].resource.clone().unwrap();
    let service = resource
        .attributes
        .iter()
        .find(|attribute| attribute.key == "service.name");
    assert_eq!(
        service.unwrap().value.clone().unwrap().value,
        Some(Any::StringValue("fraud".into()))
    );
}

#[tokio::test]
async fn requests_that_ran_together_are_linked() {
    let (collector, address) = Collector::over_http().await;
    let repository = Repository::new();
    repository.add("batched", 1, "dense_2");
    repository.config(
        "batched",
        "max_batch_size: 8 dynamic_batching { preferred_batch_size: 2 max_queue_delay_microseconds: 5000000 }",
    );
    let server = Server::start_with_environment(
        &repository.uri(),
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{address}")),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".into()),
        ],
    );
    server.wait_until_ready().await;
    let traces = [trace(1), trace(2)];
    let (path, body) = ("v2/models/batched/infer", row());
    let parents = traces.clone().map(|trace| format!("00-{trace}-{CALLER}-01"));
    let both = tokio::join!(
        infer(&server, path, &body, &parents[0]),
        infer(&server, path, &body, &parents[1])
    );
    assert_eq!(both, (200, 200));
    let [_, _, one] = collector.whole(&traces[0]).await;
    let [_, _, other] = collector.whole(&traces[1]).await;
    for (span, linked) in [(&one, &other), (&other, &one)] {
        assert_eq!(attribute(span, "aiops.batch.requests"), 2);
        let links: Vec<_> = span.links.iter().map(|link| link.span_id.clone()).collect();
        assert_eq!(links, std::slice::from_ref(&linked.span_id));
    }
    let answer = client()
        .get(format!("{}/metrics", server.metrics))
        .header("accept", "application/openmetrics-text; version=1.0.0")
        .send()
        .await
        .unwrap();
    let text = answer.text().await.unwrap();
    let exemplar = |name: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        lines.any(|line| {
            traces
                .iter()
                .any(|trace| line.contains(&format!("# {{trace_id=\"{trace}\"}}")))
        })
    };
    for name in ["request", "queue", "compute"] {
        assert!(
            exemplar(&format!("aiops_inference_{name}_duration_seconds_bucket")),
            "{name}\n{text}"
        );
    }
}

#[tokio::test]
async fn settings_of_the_trace_extension_say_how_many_requests_are_traced() {
    let (collector, address) = Collector::over_http().await;
    let repository = Repository::of(&["dense_1"]);
    let mut server = Server::start(
        &repository.uri(),
        &[
            "--trace-config=mode=opentelemetry",
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=rate=2",
            "--trace-config=count=3",
            "--allow-settings-changes",
            &format!("--trace-config=opentelemetry,url={address}"),
            "--trace-config=opentelemetry,resource=service.name=by-flag",
            // So that what comes at all comes at the end.
            "--trace-config=opentelemetry,bsp_schedule_delay=600000",
        ],
    )
    .await;
    let settings = format!("{}/v2/trace/setting", server.http);
    let infer = async |times: usize| {
        for _ in 0..times {
            assert_eq!(server.infer("dense_1", &row()).await.0, 200);
        }
    };
    infer(10).await;
    let answer = server.get(settings.clone()).await;
    assert_eq!(
        (
            &answer["trace_mode"],
            &answer["trace_count"],
            &answer["trace_rate"]
        ),
        (&json!("opentelemetry"), &json!("0"), &json!("2")),
        "{answer}"
    );
    let (status, answer) = post_json(
        &format!("{}/v2/models/dense_1/trace/setting", server.http),
        &json!({"trace_rate": "1", "trace_count": "1"}),
    )
    .await;
    assert_eq!((status, &answer["trace_count"]), (200, &json!("1")));
    infer(5).await;
    let (status, _) = post_json(&settings, &json!({"trace_level": ["OFF"]})).await;
    assert_eq!(status, 200);
    infer(5).await;
    let (status, answer) = post_json(&settings, &json!({"trace_level": ["TENSORS"]})).await;
    assert!(
        status == 501 && answer["error"].as_str().unwrap().contains("use TIMESTAMPS"),
        "{answer}"
    );
    let extensions = server.get(format!("{}/v2", server.http)).await["extensions"].clone();
    assert!(extensions.as_array().unwrap().contains(&json!("trace")));

    server.signal("TERM");
    assert!(server.end().await.success(), "{}", server.log());
    let spans = collector.spans();
    let servers: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    assert_eq!(
        (servers.len(), spans.len()),
        (4, 12),
        "three by the server's settings, one by the model's"
    );
    assert!(servers.iter().all(|span| span.parent_span_id.is_empty()));
}

#[tokio::test]
async fn under_tls_the_scheme_of_urls_is_https() {
    let (collector, address) = Collector::over_http().await;
    let authority = Authority::new();
    let secret = Secret::new(&authority.issue(2040), &authority);
    let repository = Repository::of(&["dense_1"]);
    let mut flags = secret.flags("http", false);
    flags.extend([
        "--trace-config=mode=opentelemetry".to_owned(),
        "--trace-config=level=TIMESTAMPS".to_owned(),
        "--trace-config=rate=0".to_owned(),
        format!("--trace-config=opentelemetry,url={address}"),
        "--trace-config=opentelemetry,bsp_schedule_delay=50".to_owned(),
    ]);
    let server = tls::start(&repository, &flags).await;
    let trace = trace(1);
    let request = tls::trusting(&authority, None, false)
        .post(format!("{}/v2/models/dense_1/infer", tls::secured(&server.http)))
        .header("traceparent", format!("00-{trace}-{CALLER}-01"))
        .json(&row());
    assert_eq!(request.send().await.unwrap().status(), 200);
    let [span, ..] = collector.whole(&trace).await;
    assert_eq!(attribute(&span, "url.scheme"), "https");
}

#[tokio::test]
async fn the_trace_of_an_ensemble_tells_of_each_of_its_steps() {
    let (collector, address) = Collector::over_http().await;
    let repository = Repository::of(&["dense_1", "fixed"]);
    crate::ensembles::chain(&repository);
    let server = Server::start_with_environment(
        &repository.uri(),
        &[],
        &[
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("http://{address}")),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".into()),
        ],
    );
    server.wait_until_ready().await;
    let (trace, body) = (trace(1), crate::ensembles::row([1.0, 2.0, 3.0, 4.0]));
    let parent = format!("00-{trace}-{CALLER}-01");
    assert_eq!(infer(&server, "v2/models/chain/infer", &body, &parent).await, 200);
    eventually("five spans", || async { collector.of_trace(&trace).len() >= 5 }).await;
    let mut told: Vec<_> = collector
        .of_trace(&trace)
        .iter()
        .map(|span| (span.name.clone(), attribute(span, "triton.model_name")))
        .collect();
    told.sort_by_key(|(name, model)| (name.clone(), model.to_string()));
    let expected = [
        ("POST /v2/models/{model}/infer", "chain"),
        ("compute", "dense_1"),
        ("compute", "fixed"),
        ("queue", "dense_1"),
        ("queue", "fixed"),
    ];
    assert_eq!(
        told,
        expected.map(|(name, model)| (name.to_owned(), json!(model)))
    );
}

#[tokio::test]
async fn a_collector_that_is_not_there_is_said_once_and_holds_up_nobody() {
    let repository = Repository::of(&["dense_1"]);
    let mut server = Server::start_with_environment(
        &repository.uri(),
        &["--exit-timeout-secs=5"],
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1".into()),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc".into()),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "200".into()),
            ("OTEL_BSP_SCHEDULE_DELAY", "50".into()),
        ],
    );
    server.wait_until_ready().await;
    for _ in 0..20 {
        assert_eq!(server.infer("dense_1", &row()).await.0, 200);
        tokio::time::sleep(Duration::from_millis(40)).await;
    }
    let said = || server.log().matches("traces cannot be sent").count();
    eventually("the warning", || async { said() == 1 }).await;
    server.signal("TERM");
    assert!(server.end().await.success(), "{}", server.log());
    assert_eq!(
        server.log().matches("traces cannot be sent").count(),
        1,
        "{}",
        server.log()
    );
}

#[tokio::test]
async fn files_of_tritons_form_hold_what_its_summary_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let repository = Repository::of(&["dense_1"]);
    let mut server = Server::start(
        &repository.uri(),
        &[
            &format!("--trace-config=triton,file={}", path.display()),
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=rate=1",
            "--allow-settings-changes",
        ],
    )
    .await;
    assert_eq!(server.infer("dense_1", &row()).await.0, 200);
    assert_eq!(
        server.infer("dense_1", &json!({})).await.0,
        400,
        "no trace of a request that did not run"
    );
    server.grpc().await.model_infer(dense_message()).await.unwrap();
    let settings = server.get(format!("{}/v2/trace/setting", server.http)).await;
    assert_eq!(settings["trace_file"], path.display().to_string());
    server.signal("TERM");
    assert!(server.end().await.success());

    let entries: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let heads: Vec<_> = entries
        .iter()
        .filter(|entry| entry["model_name"].is_string())
        .collect();
    assert_eq!(heads.len(), 2);
    assert_eq!(heads[0]["request_id"], "mine");
    for (head, front) in heads
        .iter()
        .zip([["HTTP_RECV", "HTTP_SEND"], ["GRPC_WAITREAD", "GRPC_SEND"]])
    {
        let of_trace = entries.iter().filter(|entry| entry["id"] == head["id"]);
        let stamps: std::collections::BTreeMap<String, u64> = of_trace
            .filter_map(|entry| entry["timestamps"].get(0))
            .map(|stamp| {
                (
                    stamp["name"].as_str().unwrap().to_owned(),
                    stamp["ns"].as_u64().unwrap(),
                )
            })
            .collect();
        let moments = [
            &format!("{}_START", front[0]),
            &format!("{}_END", front[0]),
            "REQUEST_START",
            "QUEUE_START",
            "COMPUTE_START",
            "COMPUTE_INPUT_END",
            "COMPUTE_OUTPUT_START",
            "COMPUTE_END",
            "REQUEST_END",
            &format!("{}_START", front[1]),
            &format!("{}_END", front[1]),
        ]
        .map(|name| {
            *stamps
                .get(name)
                .unwrap_or_else(|| panic!("{name} is missing: {stamps:?}"))
        });
        assert!(moments.is_sorted(), "{stamps:?}");
    }
}

#[tokio::test]
async fn the_file_tells_of_an_answer_out_of_the_cache_as_tritons_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", "max_batch_size: 8\nresponse_cache { enable: true }");
    let mut server = Server::start(
        &repository.uri(),
        &[
            &format!("--trace-config=triton,file={}", path.display()),
            "--trace-config=level=TIMESTAMPS",
            "--trace-config=rate=1",
            "--cache-config=local,size=1000000",
        ],
    )
    .await;
    for _ in 0..2 {
        assert_eq!(server.infer("dense_1", &row()).await.0, 200);
    }
    server.signal("TERM");
    assert!(server.end().await.success());
    let entries: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let of_hit = entries.iter().filter(|entry| entry["id"] == 2);
    let mut stamps: Vec<(u64, &str)> = of_hit
        .filter_map(|entry| entry["timestamps"].get(0))
        .map(|stamp| (stamp["ns"].as_u64().unwrap(), stamp["name"].as_str().unwrap()))
        .collect();
    stamps.sort_by_key(|(time, _)| *time);
    let names: Vec<_> = stamps.iter().map(|(_, name)| *name).collect();
    assert_eq!(
        names,
        [
            "HTTP_RECV_START",
            "HTTP_RECV_END",
            "REQUEST_START",
            "QUEUE_START",
            "INFER_RESPONSE_COMPLETE",
            "REQUEST_END",
            "HTTP_SEND_START",
            "HTTP_SEND_END"
        ]
    );
}

#[tokio::test]
async fn settings_that_cannot_be_honoured_end_the_start_with_the_remedy() {
    let repository = Repository::of(&["dense_1"]);
    for (flags, environment, part) in [
        (
            &["--trace-config=mode=zipkin"][..],
            vec![],
            "there are triton and opentelemetry",
        ),
        (
            &[
                "--trace-config=mode=opentelemetry",
                "--trace-config=level=TENSORS",
            ],
            vec![],
            "use TIMESTAMPS",
        ),
        (
            &["--trace-config=triton,file=/absent/trace.json"],
            vec![],
            "there is no folder /absent",
        ),
        (&["--trace-config=rate=often"], vec![], "0 or greater"),
        (
            &["--trace-config=mode=opentelemetry"],
            vec![("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")],
            "there are grpc and http/protobuf",
        ),
        (
            &["--metrics-config=colour=red"],
            vec![],
            "there are counter_latencies",
        ),
    ] {
        let output = crate::support::program()
            .args(["--model-repository", &repository.uri()])
            .args([
                "--http-port=0",
                "--grpc-port=0",
                "--rest-port=0",
                "--metrics-port=0",
            ])
            .args(flags)
            .envs(environment)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            !output.status.success() && text.contains(part),
            "{flags:?}: {text}"
        );
    }
}
