//! Histograms, which can be added up over pods as Triton's summaries cannot. Those of time lead to a trace where there is one.

use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{ModelLabels, TraceLabel};

/// Seconds, from a tiny model on an idle pod to a queue that is far too long.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const ROWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];
/// Triton's.
const FIRST_RESPONSE_MILLISECONDS: [f64; 4] = [100.0, 500.0, 2000.0, 5000.0];

pub(crate) type Seconds = HistogramWithExemplars<TraceLabel>;
type SecondsFamily = Family<ModelLabels, Seconds, fn() -> Seconds>;
type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

pub(super) struct DistributionFamilies {
    request_seconds: SecondsFamily,
    queue_seconds: SecondsFamily,
    compute_seconds: SecondsFamily,
    batch_rows: Histograms,
    first_response_milliseconds: Option<Histograms>,
}

/// Those of one model version.
pub(crate) struct Distributions {
    pub(crate) request_seconds: Seconds,
    pub(crate) queue_seconds: Seconds,
    pub(crate) compute_seconds: Seconds,
    pub(crate) batch_rows: Histogram,
    pub(crate) first_response_milliseconds: Option<Histogram>,
}

fn seconds() -> Seconds {
    Seconds::new(SECONDS.into_iter())
}

fn rows() -> Histogram {
    Histogram::new(ROWS)
}

fn first_response() -> Histogram {
    Histogram::new(FIRST_RESPONSE_MILLISECONDS)
}

impl DistributionFamilies {
    /// With `first_response`, Triton's histogram of that name too.
    pub(super) fn register(registry: &mut Registry, has_first_response: bool) -> Self {
        let mut of_seconds = |name: &str, help: &str| {
            let family = SecondsFamily::new_with_constructor(seconds);
            registry.register_with_unit(name, help, Unit::Seconds, family.clone());
            family
        };
        let request_seconds = of_seconds(
            "aiops_inference_request_duration",
            "Seconds from receipt to answer, of requests that were answered",
        );
        let queue_seconds = of_seconds(
            "aiops_inference_queue_duration",
            "Seconds in the queue, of requests that were answered",
        );
        let compute_seconds = of_seconds(
            "aiops_inference_compute_duration",
            "Seconds that a batch took, inputs and outputs included",
        );
        let batch_rows = Histograms::new_with_constructor(rows);
        registry.register(
            "aiops_inference_batch_rows",
            "Rows of a batch that ran",
            batch_rows.clone(),
        );
        let first_response_milliseconds = has_first_response.then(|| {
            let family = Histograms::new_with_constructor(first_response);
            registry.register(
                "nv_inference_first_response_histogram_ms",
                "Milliseconds from receipt to the first answer, which is the only one",
                family.clone(),
            );
            family
        });
        Self {
            request_seconds,
            queue_seconds,
            compute_seconds,
            batch_rows,
            first_response_milliseconds,
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Distributions {
        Distributions {
            request_seconds: self.request_seconds.get_or_create_owned(labels),
            queue_seconds: self.queue_seconds.get_or_create_owned(labels),
            compute_seconds: self.compute_seconds.get_or_create_owned(labels),
            batch_rows: self.batch_rows.get_or_create_owned(labels),
            first_response_milliseconds: self
                .first_response_milliseconds
                .as_ref()
                .map(|family| family.get_or_create_owned(labels)),
        }
    }

    pub(super) fn forget(&self, labels: &ModelLabels) {
        for family in [&self.request_seconds, &self.queue_seconds, &self.compute_seconds] {
            family.remove(labels);
        }
        self.batch_rows.remove(labels);
        if let Some(family) = &self.first_response_milliseconds {
            family.remove(labels);
        }
    }
}
