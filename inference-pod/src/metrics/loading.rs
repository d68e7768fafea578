//! How long models take to load, and how fast their files come.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{DetailLabels, ModelLabels};

type Real = Gauge<f64, AtomicU64>;

const PHASES: [&str; 3] = ["fetch", "open", "warm_up"];

pub(super) struct LoadingFamilies {
    duration: Family<ModelLabels, Real>,
    phases: Family<DetailLabels, Real>,
    fetched_bytes: Family<ModelLabels, Real>,
    bytes_per_second: Family<ModelLabels, Real>,
}

/// Those of one model version.
pub(crate) struct Loading {
    duration: Real,
    phases: [Real; PHASES.len()],
    fetched_bytes: Real,
    bytes_per_second: Real,
}

/// How long a load took.
pub(crate) struct LoadTimes {
    pub(crate) fetch: Duration,
    pub(crate) open: Duration,
    pub(crate) warm_up: Duration,
    pub(crate) total: Duration,
    /// 0 for a version that is read in place or was there already.
    pub(crate) fetched_bytes: u64,
}

impl Loading {
    /// A load is done.
    pub(crate) fn record(&self, times: &LoadTimes) {
        self.duration.set(times.total.as_secs_f64());
        for (gauge, time) in self.phases.iter().zip([times.fetch, times.open, times.warm_up]) {
            gauge.set(time.as_secs_f64());
        }
        let bytes = times.fetched_bytes as f64;
        self.fetched_bytes.set(bytes);
        let rate = if times.fetched_bytes == 0 {
            0.0
        } else {
            bytes / times.fetch.as_secs_f64().max(f64::EPSILON)
        };
        self.bytes_per_second.set(rate);
    }
}

impl LoadingFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let duration = Family::default();
        registry.register(
            "nv_model_load_duration_secs",
            "Seconds that the last load of the model took",
            duration.clone(),
        );
        let phases = Family::default();
        registry.register_with_unit(
            "aiops_model_load_phase",
            "Seconds of the last load by phase: fetch, open, warm_up",
            Unit::Seconds,
            phases.clone(),
        );
        let fetched_bytes = Family::default();
        registry.register_with_unit(
            "aiops_model_fetched",
            "Bytes that the last load fetched; 0 where the files were there",
            Unit::Bytes,
            fetched_bytes.clone(),
        );
        let bytes_per_second = Family::default();
        registry.register(
            "aiops_model_fetch_bytes_per_second",
            "Bytes that the last load fetched in a second",
            bytes_per_second.clone(),
        );
        Self {
            duration,
            phases,
            fetched_bytes,
            bytes_per_second,
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Loading {
        Loading {
            duration: self.duration.get_or_create_owned(labels),
            phases: PHASES.map(|phase| self.phases.get_or_create_owned(&labels.with("phase", phase))),
            fetched_bytes: self.fetched_bytes.get_or_create_owned(labels),
            bytes_per_second: self.bytes_per_second.get_or_create_owned(labels),
        }
    }

    pub(super) fn forget(&self, labels: &ModelLabels) {
        for family in [&self.duration, &self.fetched_bytes, &self.bytes_per_second] {
            family.remove(labels);
        }
        for phase in PHASES {
            self.phases.remove(&labels.with("phase", phase));
        }
    }
}
