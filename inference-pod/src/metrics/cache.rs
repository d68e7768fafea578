//! Triton's counters of the response cache, which only models that use it have.

use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;

use super::{Counters, Metrics, ModelLabels, TritonCounter};

pub(super) struct CacheCounters {
    hits: Counters,
    misses: Counters,
    hit_duration_us: Counters,
    miss_duration_us: Counters,
}

impl CacheCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut counters = |name: &str, help: &str| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        };
        Self {
            hits: counters(
                "nv_cache_num_hits_per_model",
                "Requests answered out of the response cache",
            ),
            misses: counters(
                "nv_cache_num_misses_per_model",
                "Requests that the response cache did not have",
            ),
            hit_duration_us: counters(
                "nv_cache_hit_duration_per_model",
                "Microseconds spent on looking up answers that were there",
            ),
            miss_duration_us: counters(
                "nv_cache_miss_duration_per_model",
                "Microseconds spent on looking up and keeping answers that were not there",
            ),
        }
    }
}

/// The counters of one model version.
pub(crate) struct CacheMetrics {
    pub(crate) hits: TritonCounter,
    pub(crate) misses: TritonCounter,
    pub(crate) hit_duration_us: TritonCounter,
    pub(crate) miss_duration_us: TritonCounter,
}

impl Metrics {
    /// Shows what a cache counts for itself.
    pub fn watch(&mut self, collector: Box<dyn Collector>) {
        self.registry.register_collector(collector);
    }

    /// Handles for one model version whose answers are kept.
    pub(crate) fn of_cache(&self, model: &str, version: u64) -> CacheMetrics {
        let labels = ModelLabels {
            model: model.to_owned(),
            version: version.to_string(),
        };
        let counter = |family: &Counters| family.get_or_create(&labels).clone();
        CacheMetrics {
            hits: counter(&self.cache.hits),
            misses: counter(&self.cache.misses),
            hit_duration_us: counter(&self.cache.hit_duration_us),
            miss_duration_us: counter(&self.cache.miss_duration_us),
        }
    }
}
