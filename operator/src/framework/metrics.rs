//! The operator's own metrics. No label names an object: the number of series does not grow with the cluster.

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Labels of a reconcile that ended.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ReconcileLabels {
    /// The object's kind.
    pub kind: &'static str,
    /// `success` or `error`.
    pub result: &'static str,
}

/// Labels of an error.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct ErrorLabels {
    /// The object's kind.
    pub kind: &'static str,
    /// One of a closed set, see [`super::error::Error::category`].
    pub category: &'static str,
}

/// The label of what is counted by kind alone.
#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub struct KindLabels {
    /// The object's kind.
    pub kind: &'static str,
}

/// The operator's own metrics.
pub struct Metrics {
    registry: Registry,
    /// Reconciles that ended.
    pub reconciles: Family<ReconcileLabels, Counter>,
    /// Errors by category.
    pub errors: Family<ErrorLabels, Counter>,
    /// How long reconciles took.
    pub seconds: Family<KindLabels, Histogram>,
    /// Objects that wait after an error.
    pub in_backoff: Family<KindLabels, Gauge>,
    /// Status writes.
    pub status_writes: Family<KindLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds: Family<KindLabels, Histogram> =
            Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.005, 2.0, 14)));
        let mut metrics = Self {
            registry: Registry::with_prefix("aiops_operator"),
            reconciles: Family::default(),
            errors: Family::default(),
            seconds,
            in_backoff: Family::default(),
            status_writes: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("reconciles", "Reconciles that ended", self.reconciles.clone());
        registry.register(
            "reconcile_errors",
            "Reconciles that ended with an error, by category",
            self.errors.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "How long reconciles took",
            Unit::Seconds,
            self.seconds.clone(),
        );
        registry.register(
            "objects_in_backoff",
            "Objects that wait after an error",
            self.in_backoff.clone(),
        );
        registry.register(
            "status_writes",
            "Writes of the status subresource",
            self.status_writes.clone(),
        );
    }

    /// The metrics in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}
