//! Triton's metrics of the cache as a whole, read when they are scraped.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::ResponseCache;

/// What the cache did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
    pub(super) lookup_microseconds: u64,
    pub(super) insertion_microseconds: u64,
}

#[derive(Debug)]
struct CacheCollector(Arc<ResponseCache>);

impl ResponseCache {
    /// Its metrics, for a registry.
    pub fn collector(self: &Arc<Self>) -> Box<dyn Collector> {
        Box::new(CacheCollector(Arc::clone(self)))
    }
}

impl fmt::Debug for ResponseCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a response cache of {} bytes", self.limit)
    }
}

impl Collector for CacheCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let state = self.0.lock();
        let (totals, entries, bytes) = (state.totals, state.answers.len() as u64, state.bytes);
        drop(state);
        let mut gauge = |name: &str, help: &str, value: f64| {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)
        };
        gauge(
            "nv_cache_util",
            "Share of the response cache that is taken, 0 to 1",
            bytes as f64 / self.0.limit as f64,
        )?;
        for (name, help, value) in [
            ("nv_cache_num_entries", "Answers in the response cache", entries),
            ("nv_cache_num_hits", "Lookups that found an answer", totals.hits),
            ("nv_cache_num_misses", "Lookups that found none", totals.misses),
            (
                "nv_cache_num_lookups",
                "Lookups in the response cache",
                totals.hits + totals.misses,
            ),
            (
                "nv_cache_num_evictions",
                "Answers that made room for others",
                totals.evictions,
            ),
            (
                "nv_cache_lookup_duration",
                "Microseconds spent on lookups",
                totals.lookup_microseconds,
            ),
            (
                "nv_cache_insertion_duration",
                "Microseconds spent on keeping answers",
                totals.insertion_microseconds,
            ),
        ] {
            gauge(name, help, value as f64)?;
        }
        Ok(())
    }
}
