//! How much more a model version could take: what an autoscaler scales on.
//!
//! A pod whose workers are always busy is full, whatever its CPUs say; one whose queue fills is too full.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Unit;

use super::labels::ModelLabels;

/// Of one model version, shared by all that serve under its name.
#[derive(Debug)]
pub(crate) struct Saturation {
    in_flight: AtomicI64,
    workers: AtomicUsize,
    queue_limit: AtomicUsize,
    pending: Gauge<i64, AtomicI64>,
    busy: Mutex<Busy>,
}

/// Seconds that workers were busy, summed up over them.
#[derive(Debug)]
struct Busy {
    running: u32,
    total: Duration,
    changed: Instant,
    /// When the share below was taken, and the total then.
    sampled: (Instant, Duration),
    share: f64,
}

impl Saturation {
    pub(super) fn new(pending: Gauge<i64, AtomicI64>) -> Self {
        let now = Instant::now();
        Self {
            in_flight: AtomicI64::new(0),
            workers: AtomicUsize::new(0),
            queue_limit: AtomicUsize::new(0),
            pending,
            busy: Mutex::new(Busy {
                running: 0,
                total: Duration::ZERO,
                changed: now,
                sampled: (now, Duration::ZERO),
                share: 0.0,
            }),
        }
    }

    /// A request came in; it is in flight until the guard is dropped.
    pub(crate) fn request(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(self)
    }

    /// A worker starts; it ends when the guard is dropped.
    pub(crate) fn worker(&self) -> Worker<'_> {
        self.workers.fetch_add(1, Ordering::Relaxed);
        Worker(self)
    }

    /// Requests that may wait.
    pub(crate) fn set_queue_limit(&self, requests: usize) {
        self.queue_limit.store(requests, Ordering::Relaxed);
    }

    fn busy(&self) -> MutexGuard<'_, Busy> {
        // Its numbers are changed one after another, and none can panic.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue_share(&self) -> f64 {
        let limit = self.queue_limit.load(Ordering::Relaxed).max(1);
        self.pending.get() as f64 / limit as f64
    }
}

impl Busy {
    fn settle(&mut self, now: Instant) {
        self.total += now.saturating_duration_since(self.changed) * self.running;
        self.changed = now;
    }

    /// Busy time since the last sample over all there was; the same until `interval` has passed.
    fn share(&mut self, now: Instant, workers: usize, interval: Duration) -> f64 {
        self.settle(now);
        let (at, total) = self.sampled;
        let passed = now.saturating_duration_since(at);
        if passed >= interval {
            let most = passed.as_secs_f64() * workers.max(1) as f64;
            self.share = ((self.total - total).as_secs_f64() / most.max(f64::EPSILON)).min(1.0);
            self.sampled = (now, self.total);
        }
        self.share
    }
}

/// A request between receipt and answer.
pub(crate) struct InFlight<'a>(&'a Saturation);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A worker that exists.
pub(crate) struct Worker<'a>(&'a Saturation);

impl<'a> Worker<'a> {
    /// It runs a batch until the guard is dropped.
    pub(crate) fn busy(&self) -> Running<'a> {
        let mut busy = self.0.busy();
        busy.settle(Instant::now());
        busy.running += 1;
        Running(self.0)
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.0.workers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A batch that runs.
pub(crate) struct Running<'a>(&'a Saturation);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut busy = self.0.busy();
        busy.settle(Instant::now());
        busy.running -= 1;
    }
}

/// All of them, read when they are scraped.
#[derive(Clone, Debug)]
pub(super) struct Saturations {
    interval: Duration,
    models: Arc<Mutex<BTreeMap<ModelLabels, Arc<Saturation>>>>,
}

impl Saturations {
    pub(super) fn new(interval: Duration) -> Self {
        Self {
            interval,
            models: Arc::default(),
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels, pending: &Gauge<i64, AtomicI64>) -> Arc<Saturation> {
        let mut models = self.models();
        let saturation = models
            .entry(labels.clone())
            .or_insert_with(|| Arc::new(Saturation::new(pending.clone())));
        Arc::clone(saturation)
    }

    pub(super) fn forget(&self, labels: &ModelLabels) {
        self.models().remove(labels);
    }

    fn models(&self) -> MutexGuard<'_, BTreeMap<ModelLabels, Arc<Saturation>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Collector for Saturations {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let models = self.models();
        let now = Instant::now();
        let whole = |count: &AtomicUsize| count.load(Ordering::Relaxed) as f64;
        let mut gauges = |name: &str, help: &str, value: &dyn Fn(&Saturation) -> f64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, saturation) in &*models {
                ConstGauge::new(value(saturation)).encode(family.encode_family(labels)?)?;
            }
            Ok(())
        };
        gauges(
            "aiops_inference_in_flight_requests",
            "Requests between receipt and answer",
            &|one| one.in_flight.load(Ordering::Relaxed) as f64,
        )?;
        gauges(
            "aiops_inference_queue_limit_requests",
            "Requests that may wait in the queue",
            &|one| whole(&one.queue_limit),
        )?;
        gauges(
            "aiops_inference_queue_saturation_ratio",
            "Requests in the queue over those that may wait",
            &Saturation::queue_share,
        )?;
        gauges(
            "aiops_inference_workers",
            "Workers, each with a session of its own",
            &|one| whole(&one.workers),
        )?;
        gauges(
            "aiops_inference_busy_workers",
            "Workers that run a batch",
            &|one| f64::from(one.busy().running),
        )?;
        gauges(
            "aiops_inference_worker_saturation_ratio",
            "Share of time in which workers were busy, since the last scrape: what to scale on",
            &|one| {
                let workers = one.workers.load(Ordering::Relaxed);
                one.busy().share(now, workers, self.interval)
            },
        )?;
        let mut family = encoder.encode_descriptor(
            "aiops_inference_worker_busy",
            "Seconds in which workers were busy, summed up over them",
            Some(&Unit::Seconds),
            MetricType::Counter,
        )?;
        for (labels, saturation) in &*models {
            let mut busy = saturation.busy();
            busy.settle(now);
            ConstCounter::new(busy.total.as_secs_f64()).encode(family.encode_family(labels)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_time_since_it_was_last_asked_for() {
        let saturation = Saturation::new(Gauge::default());
        let start = saturation.busy().changed;
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let interval = Duration::from_secs(2);
        let mut busy = saturation.busy();
        busy.running = 2;
        busy.settle(at(3));
        busy.running = 0;
        // Two of four workers were busy for three of ten seconds.
        assert!((busy.share(at(10), 4, interval) - 0.15).abs() < 1e-9);
        assert!(
            (busy.share(at(11), 4, interval) - 0.15).abs() < 1e-9,
            "too early for another"
        );
        assert!(busy.share(at(12), 4, interval).abs() < 1e-9);
        busy.running = 4;
        assert!(
            (busy.share(at(14), 4, interval) - 1.0).abs() < 1e-9,
            "a batch that runs counts"
        );
    }
}
