//! Prometheus metrics: Triton's, by their exact names, and histograms that can be added up over pods.

mod counter;
mod distributions;
mod labels;
mod loading;
mod requests;

use std::fmt;
use std::time::Duration;

use prometheus_client::registry::Registry;

pub use counter::{FailureReason, TritonCounter};
use distributions::{DistributionFamilies, Distributions};
use labels::ModelLabels;
use loading::{Loading, LoadingFamilies};
use requests::{RequestFamilies, Requests};

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    requests: RequestFamilies,
    distributions: DistributionFamilies,
    loading: LoadingFamilies,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        Self {
            requests: RequestFamilies::register(&mut registry),
            distributions: DistributionFamilies::register(&mut registry),
            loading: LoadingFamilies::register(&mut registry),
            registry,
        }
    }
}

/// The metrics of one model version, looked up once.
pub struct ModelMetrics {
    pub(crate) requests: Requests,
    pub(crate) distributions: Distributions,
    pub(crate) loading: Loading,
}

impl ModelMetrics {
    /// The counter of failures for a reason.
    pub fn failure(&self, reason: FailureReason) -> &TritonCounter {
        self.requests.failure(reason)
    }
}

impl Metrics {
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
        ModelMetrics {
            requests: self.requests.of(&labels),
            distributions: self.distributions.of(&labels),
            loading: self.loading.of(&labels),
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
        model.requests.success.add(3);
        model.failure(FailureReason::Backend).add(1);
        model.requests.pending.set(5);
        model.distributions.queue_seconds.observe(0.002);
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
