//! Histograms, which can be added up over pods as Triton's summaries cannot.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::ModelLabels;

/// Seconds, from a tiny model on an idle pod to a queue that is far too long.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
const ROWS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

pub(super) struct DistributionFamilies {
    request_seconds: Histograms,
    queue_seconds: Histograms,
    compute_seconds: Histograms,
    batch_rows: Histograms,
}

/// Those of one model version.
pub(crate) struct Distributions {
    pub(crate) request_seconds: Histogram,
    pub(crate) queue_seconds: Histogram,
    pub(crate) compute_seconds: Histogram,
    pub(crate) batch_rows: Histogram,
}

fn seconds_histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn rows_histogram() -> Histogram {
    Histogram::new(ROWS)
}

impl DistributionFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut histograms = |name: &str, help: &str, make: fn() -> Histogram| {
            let family = Histograms::new_with_constructor(make);
            registry.register(name, help, family.clone());
            family
        };
        Self {
            request_seconds: histograms(
                "aiops_inference_request_duration_seconds",
                "From receipt to answer",
                seconds_histogram,
            ),
            queue_seconds: histograms(
                "aiops_inference_queue_duration_seconds",
                "Time in the queue",
                seconds_histogram,
            ),
            compute_seconds: histograms(
                "aiops_inference_compute_duration_seconds",
                "Execution of a batch",
                seconds_histogram,
            ),
            batch_rows: histograms(
                "aiops_inference_batch_rows",
                "Rows of an executed batch",
                rows_histogram,
            ),
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Distributions {
        Distributions {
            request_seconds: self.request_seconds.get_or_create_owned(labels),
            queue_seconds: self.queue_seconds.get_or_create_owned(labels),
            compute_seconds: self.compute_seconds.get_or_create_owned(labels),
            batch_rows: self.batch_rows.get_or_create_owned(labels),
        }
    }
}
