//! Triton's counters of the response cache, which only models that use it have.

use prometheus_client::registry::Registry;

use super::counter::TritonCounter;
use super::labels::ModelLabels;
use super::requests::Counters;

pub(super) struct CacheFamilies {
    hits: Counters,
    misses: Counters,
    hit_duration_us: Counters,
    miss_duration_us: Counters,
}

impl CacheFamilies {
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

    pub(super) fn of(&self, labels: &ModelLabels) -> CacheMetrics {
        CacheMetrics {
            hits: self.hits.get_or_create_owned(labels),
            misses: self.misses.get_or_create_owned(labels),
            hit_duration_us: self.hit_duration_us.get_or_create_owned(labels),
            miss_duration_us: self.miss_duration_us.get_or_create_owned(labels),
        }
    }

    pub(super) fn forget(&self, labels: &ModelLabels) {
        for family in [
            &self.hits,
            &self.misses,
            &self.hit_duration_us,
            &self.miss_duration_us,
        ] {
            family.remove(labels);
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
