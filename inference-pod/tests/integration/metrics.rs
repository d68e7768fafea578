//! Metrics as scrapers get them, and as `docs/observability.md` says they are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::support::{Repository, Server, client, eventually};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

async fn scrape(server: &Server, accept: &str) -> (String, String) {
    let request = client()
        .get(format!("{}/metrics", server.metrics))
        .header("accept", accept);
    let answer = request.send().await.unwrap();
    let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
    (kind, answer.text().await.unwrap())
}

async fn infer(server: &Server, model: &str) {
    let body = json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]});
    assert_eq!(server.infer(model, &body).await.0, 200);
}

/// Type and labels of each metric, but for those that a type has of itself.
fn described(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut metrics: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            let before = metrics.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
            assert!(before.is_none(), "{name} is described twice");
        }
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, labels) = line
            .split_once('{')
            .unwrap_or_else(|| (line.split(' ').next().unwrap(), ""));
        let base = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| {
                name.strip_suffix(suffix)
                    .filter(|base| metrics.contains_key(*base))
            })
            .unwrap_or(name);
        let known = metrics
            .get_mut(base)
            .unwrap_or_else(|| panic!("no type for {line}"));
        let labels = labels.split('}').next().unwrap();
        let names = labels
            .split(',')
            .filter_map(|label| Some(label.split_once('=')?.0));
        known.1.extend(
            names
                .filter(|name| !matches!(*name, "le" | "quantile"))
                .map(str::to_owned),
        );
    }
    metrics
}

/// Rows of the tables of metrics: name, type, labels.
fn documented() -> BTreeMap<String, (String, BTreeSet<String>)> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/observability.md");
    let text = std::fs::read_to_string(page).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, ..] = cells.as_slice() else {
            return None;
        };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        let kinds = ["counter", "gauge", "histogram", "summary"];
        let labels = labels
            .split(',')
            .map(|label| label.trim().trim_matches('`').to_owned());
        kinds.contains(kind).then(|| {
            let labels = labels.filter(|label| !label.is_empty()).collect();
            (name.to_owned(), ((*kind).to_owned(), labels))
        })
    });
    rows.collect()
}

#[tokio::test]
async fn the_page_lists_every_metric_with_its_type_and_labels_and_no_other() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(
        &repository.uri(),
        &[
            "--metrics-config=summary_latencies=true",
            "--metrics-config=histogram_latencies=true",
        ],
    )
    .await;
    infer(&server, "dense_1").await;
    let (kind, text) = scrape(&server, "*/*").await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(described(&text), documented());
    assert!(
        !text.contains(" # {"),
        "exemplars are no part of the classic text"
    );
    for line in [
        "nv_inference_request_summary_us_count{model=\"dense_1\",version=\"1\"} 1",
        "nv_inference_queue_summary_us{model=\"dense_1\",version=\"1\",quantile=\"0.999\"} ",
        "nv_inference_first_response_histogram_ms_bucket{le=\"5000.0\",model=\"dense_1\",version=\"1\"} 1",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    let of_model = "{model=\"dense_1\",version=\"1\"";
    let sum = server
        .metric(&format!("nv_inference_request_summary_us_sum{of_model}}}"))
        .await;
    let median = server
        .metric(&format!(
            "nv_inference_request_summary_us{of_model},quantile=\"0.5\"}}"
        ))
        .await;
    assert!(
        (median - sum).abs() <= sum * 0.01,
        "one request: {median} of {sum}"
    );
    for name in ["nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes"] {
        assert!(server.metric(&format!("{name} ")).await > 1e6);
    }

    let (kind, text) = scrape(&server, OPEN_METRICS).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"));
    assert!(
        text.contains("# TYPE nv_inference_request_success unknown\n"),
        "{text}"
    );
    assert!(text.contains("nv_inference_request_success{model=\"dense_1\",version=\"1\"} 1\n"));
}

#[tokio::test]
async fn flags_of_tritonserver_and_tags_of_the_model_choose_metrics() {
    let repository = Repository::of(&["dense_1"]);
    repository.config("dense_1", "metric_tags { key: \"team\" value: \"fraud\" }");
    let few = Server::start(
        &repository.uri(),
        &[
            "--allow-cpu-metrics=false",
            "--metrics-config",
            "counter_latencies=false",
        ],
    )
    .await;
    infer(&few, "dense_1").await;
    let (_, text) = scrape(&few, "*/*").await;
    for absent in ["nv_cpu_", "_duration_us", "_summary_us", "first_response"] {
        assert!(!text.contains(absent), "{absent}\n{text}");
    }
    for line in [
        "nv_inference_count{model=\"dense_1\",version=\"1\",team=\"fraud\"} 1",
        "nv_inference_request_failure{model=\"dense_1\",version=\"1\",team=\"fraud\",reason=\"OTHER\"} 0",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
    let config = few.get(format!("{}/v2/models/dense_1/config", few.http)).await;
    assert_eq!(config["metric_tags"], json!({"team": "fraud"}));
    let none = Server::start(&repository.uri(), &["--allow-metrics=false"]).await;
    let answer = client()
        .get(format!("{}/metrics", none.metrics))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 404);
    assert!(answer.text().await.unwrap().contains("--allow-metrics=false"));
    none.plan().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_under_load_is_saturated_and_an_idle_one_is_not() {
    let repository = Repository::of(&["slow", "dense_1"]);
    repository.config(
        "slow",
        "max_batch_size: 1 dynamic_batching { default_queue_policy { max_queue_size: 200 } }",
    );
    let server = Server::start(&repository.uri(), &["--metrics-interval-ms=200"]).await;
    let of = |name: &str, model: &str| format!("aiops_inference_{name}{{model=\"{model}\",version=\"1\"}}");
    assert_eq!(server.metric(&of("workers", "slow")).await, 1.0);
    assert_eq!(server.metric(&of("queue_limit_requests", "slow")).await, 200.0);
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]});
    let is_watched = AtomicBool::new(true);
    let (client, url) = (client(), format!("{}/v2/models/slow/infer", server.http));
    let load = join_all((0..20).map(|_| async {
        while is_watched.load(Ordering::Relaxed) {
            let answer = client.post(&url).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), 200);
        }
    }));
    let watch = async {
        eventually("the worker to be busy all the time", || async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            server.metric(&of("worker_saturation_ratio", "slow")).await > 0.9
        })
        .await;
        let queue = server.metric(&of("queue_saturation_ratio", "slow")).await;
        assert!(queue > 0.0 && queue <= 0.5, "{queue}");
        assert!(server.metric(&of("in_flight_requests", "slow")).await > 1.0);
        assert_eq!(server.metric(&of("busy_workers", "slow")).await, 1.0);
        assert!(server.metric(&of("worker_saturation_ratio", "dense_1")).await < 0.1);
        is_watched.store(false, Ordering::Relaxed);
    };
    tokio::join!(load, watch);
    assert_eq!(server.metric(&of("in_flight_requests", "slow")).await, 0.0);
    assert!(server.metric(&of("worker_busy_seconds_total", "slow")).await > 0.5);
}

#[tokio::test]
async fn loads_are_told_by_phase_and_metrics_of_what_is_unloaded_go() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(
        &repository.uri(),
        &["--model-control-mode=explicit", "--load-model=dense_1"],
    )
    .await;
    infer(&server, "dense_1").await;
    let phase = async |phase: &str| {
        let line =
            format!("aiops_model_load_phase_seconds{{model=\"dense_1\",version=\"1\",phase=\"{phase}\"}}");
        server.metric(&line).await
    };
    let phases = phase("fetch").await + phase("open").await + phase("warm_up").await;
    let whole = server
        .metric("nv_model_load_duration_secs{model=\"dense_1\",version=\"1\"}")
        .await;
    assert!(
        phase("open").await > 0.0 && phases <= whole,
        "{phases} of {whole}"
    );
    let call = async |verb: &str| {
        let url = format!("{}/v2/repository/models/dense_1/{verb}", server.http);
        assert_eq!(client().post(url).send().await.unwrap().status(), 200);
    };
    call("load").await;
    let served = "nv_inference_request_success{model=\"dense_1\",version=\"1\"}";
    assert_eq!(
        server.metric(served).await,
        1.0,
        "a model that is loaded again goes on counting"
    );
    call("unload").await;
    eventually("the metrics to go", || async {
        !scrape(&server, "*/*").await.1.contains("dense_1")
    })
    .await;
}
