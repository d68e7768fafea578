//! How long models take to load.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::ModelLabels;

type Seconds = Gauge<f64, AtomicU64>;

pub(super) struct LoadingFamilies {
    duration: Family<ModelLabels, Seconds>,
}

/// Those of one model version.
pub(crate) struct Loading {
    pub(crate) duration: Seconds,
}

impl LoadingFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration = Family::default();
        registry.register(
            "nv_model_load_duration_secs",
            "Seconds that loading the model took",
            duration.clone(),
        );
        Self { duration }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Loading {
        Loading {
            duration: self.duration.get_or_create_owned(labels),
        }
    }
}
