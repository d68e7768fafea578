//! Counters and failures by Triton's names.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// A counter whose name is exposed as it is: dashboards made for Triton expect no `_total`.
#[derive(Clone, Debug, Default)]
pub struct TritonCounter(Arc<AtomicU64>);

impl TritonCounter {
    /// Adds.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

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

impl FailureReason {
    /// As the label `reason` writes them, in the order of the variants.
    pub(super) const NAMES: [&str; 4] = ["REJECTED", "CANCELED", "BACKEND", "OTHER"];
}
