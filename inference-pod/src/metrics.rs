//! Prometheus metrics: Triton's, by their exact names, and histograms that can be added up over pods.

mod cache;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use cache::CacheCounters;
pub(crate) use cache::CacheMetrics;

/// Seconds, from a tiny model on an idle pod to a queue that is far too long.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const ROWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelLabels {
    model: String,
    version: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FrontLabels {
    front: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    model: String,
    version: String,
    reason: &'static str,
}

/// Triton's reasons for a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureReason {
    /// The queue was full, or the request's time ran out in it.
    Rejected,
    /// The client went away before the request ran.
    Canceled,
    /// The model failed.
    Backend,
    /// The request did not fit the model.
    Other,
}

/// A counter whose name is exposed as it is: dashboards made for Triton expect no `_total`.
#[derive(Clone, Debug, Default)]
pub struct TritonCounter(Arc<AtomicU64>);

impl TritonCounter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

impl TritonCounter {
    /// What was counted so far.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl EncodeMetric for TritonCounter {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_gauge(&self.0.load(Ordering::Relaxed))
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

impl TypedMetric for TritonCounter {
    const TYPE: MetricType = MetricType::Counter;
}

type Counters = Family<ModelLabels, TritonCounter>;
type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    cache: CacheCounters,
    success: Counters,
    failure: Family<FailureLabels, TritonCounter>,
    inferences: Counters,
    executions: Counters,
    request_duration_us: Counters,
    queue_duration_us: Counters,
    compute_input_duration_us: Counters,
    compute_infer_duration_us: Counters,
    compute_output_duration_us: Counters,
    pending: Family<ModelLabels, Gauge<i64, AtomicI64>>,
    certificate_ends: Family<FrontLabels, Gauge<i64, AtomicI64>>,
    load_duration: Family<ModelLabels, Gauge<f64, AtomicU64>>,
    request_seconds: Histograms,
    queue_seconds: Histograms,
    compute_seconds: Histograms,
    batch_rows: Histograms,
}

fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn rows_histogram() -> Histogram {
    Histogram::new(ROWS)
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let cache = CacheCounters::register(&mut registry);
        let mut counters = |name: &str, help: &str| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        };
        let success = counters("nv_inference_request_success", "Requests that were answered");
        let inferences = counters("nv_inference_count", "Inferences made; a batch of n counts n");
        let executions = counters(
            "nv_inference_exec_count",
            "Executions of the model; a batch counts once",
        );
        let request_duration_us = counters(
            "nv_inference_request_duration_us",
            "Microseconds from receipt to answer",
        );
        let queue_duration_us = counters(
            "nv_inference_queue_duration_us",
            "Microseconds that requests waited",
        );
        let compute_input_duration_us = counters(
            "nv_inference_compute_input_duration_us",
            "Microseconds spent on putting inputs together",
        );
        let compute_infer_duration_us = counters(
            "nv_inference_compute_infer_duration_us",
            "Microseconds spent in the model",
        );
        let compute_output_duration_us = counters(
            "nv_inference_compute_output_duration_us",
            "Microseconds spent on taking outputs apart",
        );
        let failure = Family::default();
        registry.register(
            "nv_inference_request_failure",
            "Requests that failed, by reason",
            failure.clone(),
        );
        let pending = Family::default();
        registry.register(
            "nv_inference_pending_request_count",
            "Requests that wait in the queue",
            pending.clone(),
        );
        let certificate_ends = Family::default();
        registry.register(
            "aiops_tls_certificate_not_after_seconds",
            "When the certificate in use ends, in seconds since 1970",
            certificate_ends.clone(),
        );
        let load_duration = Family::default();
        registry.register(
            "nv_model_load_duration_secs",
            "Seconds that loading the model took",
            load_duration.clone(),
        );
        let mut histograms = |name: &str, help: &str, make: fn() -> Histogram| {
            let family = Histograms::new_with_constructor(make);
            registry.register(name, help, family.clone());
            family
        };
        let request_seconds = histograms(
            "aiops_inference_request_duration_seconds",
            "From receipt to answer",
            seconds_histogram,
        );
        let queue_seconds = histograms(
            "aiops_inference_queue_duration_seconds",
            "Time in the queue",
            seconds_histogram,
        );
        let compute_seconds = histograms(
            "aiops_inference_compute_duration_seconds",
            "Execution of a batch",
            seconds_histogram,
        );
        let batch_rows = histograms(
            "aiops_inference_batch_rows",
            "Rows of an executed batch",
            rows_histogram,
        );
        Self {
            registry,
            cache,
            success,
            failure,
            inferences,
            executions,
            request_duration_us,
            queue_duration_us,
            compute_input_duration_us,
            compute_infer_duration_us,
            compute_output_duration_us,
            pending,
            certificate_ends,
            load_duration,
            request_seconds,
            queue_seconds,
            compute_seconds,
            batch_rows,
        }
    }
}

/// The metrics of one model version, looked up once.
pub struct ModelMetrics {
    pub(crate) success: TritonCounter,
    failures: [TritonCounter; 4],
    pub(crate) inferences: TritonCounter,
    pub(crate) executions: TritonCounter,
    pub(crate) request_duration_us: TritonCounter,
    pub(crate) queue_duration_us: TritonCounter,
    pub(crate) compute_input_duration_us: TritonCounter,
    pub(crate) compute_infer_duration_us: TritonCounter,
    pub(crate) compute_output_duration_us: TritonCounter,
    pub(crate) pending: Gauge<i64, AtomicI64>,
    pub(crate) load_duration: Gauge<f64, AtomicU64>,
    pub(crate) request_seconds: Histogram,
    pub(crate) queue_seconds: Histogram,
    pub(crate) compute_seconds: Histogram,
    pub(crate) batch_rows: Histogram,
}

impl ModelMetrics {
    /// The counter of failures for a reason.
    pub fn failure(&self, reason: FailureReason) -> &TritonCounter {
        &self.failures[reason as usize]
    }
}

impl Metrics {
    /// Notes when the certificate of a front ends, in seconds since 1970.
    pub fn certificate_ends(&self, front: &'static str, not_after: i64) {
        let labels = FrontLabels { front };
        self.certificate_ends.get_or_create(&labels).set(not_after);
    }

    /// The text that Prometheus scrapes.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Handles for one model version; all of them are exposed, at zero, from now on.
    pub fn of_model(&self, model: &str, version: u64) -> ModelMetrics {
        let labels = ModelLabels {
            model: model.to_owned(),
            version: version.to_string(),
        };
        let failure = |reason| {
            let labels = FailureLabels {
                model: model.to_owned(),
                version: version.to_string(),
                reason,
            };
            self.failure.get_or_create(&labels).clone()
        };
        ModelMetrics {
            success: self.success.get_or_create(&labels).clone(),
            failures: ["REJECTED", "CANCELED", "BACKEND", "OTHER"].map(failure),
            inferences: self.inferences.get_or_create(&labels).clone(),
            executions: self.executions.get_or_create(&labels).clone(),
            request_duration_us: self.request_duration_us.get_or_create(&labels).clone(),
            queue_duration_us: self.queue_duration_us.get_or_create(&labels).clone(),
            compute_input_duration_us: self.compute_input_duration_us.get_or_create(&labels).clone(),
            compute_infer_duration_us: self.compute_infer_duration_us.get_or_create(&labels).clone(),
            compute_output_duration_us: self.compute_output_duration_us.get_or_create(&labels).clone(),
            pending: self.pending.get_or_create(&labels).clone(),
            load_duration: self.load_duration.get_or_create(&labels).clone(),
            request_seconds: self.request_seconds.get_or_create(&labels).clone(),
            queue_seconds: self.queue_seconds.get_or_create(&labels).clone(),
            compute_seconds: self.compute_seconds.get_or_create(&labels).clone(),
            batch_rows: self.batch_rows.get_or_create(&labels).clone(),
        }
    }
}

/// Whole microseconds of a duration.
pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_triton_without_a_suffix() {
        let metrics = Metrics::default();
        let model = metrics.of_model("tumour", 2);
        model.success.add(3);
        model.failure(FailureReason::Backend).add(1);
        model.pending.set(5);
        model.queue_seconds.observe(0.002);
        let text = metrics.encode().unwrap();
        for line in [
            "# TYPE nv_inference_request_success counter",
            "nv_inference_request_success{model=\"tumour\",version=\"2\"} 3",
            "nv_inference_request_failure{model=\"tumour\",version=\"2\",reason=\"BACKEND\"} 1",
            "nv_inference_request_failure{model=\"tumour\",version=\"2\",reason=\"CANCELED\"} 0",
            "nv_inference_pending_request_count{model=\"tumour\",version=\"2\"} 5",
            "aiops_inference_queue_duration_seconds_bucket{le=\"0.0025\",model=\"tumour\",version=\"2\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }
}
