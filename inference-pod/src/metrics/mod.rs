//! Prometheus metrics: Triton's, by their exact names, and histograms that can be added up over pods.

mod cache;
mod certificates;
mod counter;
mod distributions;
mod exposition;
mod labels;
mod loading;
mod machine;
mod requests;
mod saturation;
mod settings;
mod summaries;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;

use cache::CacheFamilies;
pub(crate) use cache::CacheMetrics;
use certificates::Certificates;
pub use counter::{FailureReason, TritonCounter};
use distributions::{DistributionFamilies, Distributions, Seconds};
pub use exposition::Format;
use labels::{ModelLabels, TraceLabel};
pub(crate) use loading::LoadTimes;
use loading::{Loading, LoadingFamilies};
use machine::Machine;
use requests::{RequestFamilies, Requests};
pub(crate) use saturation::Saturation;
use saturation::Saturations;
pub use settings::MetricsSettings;
use summaries::{Summaries, SummaryFamilies};

use crate::statistics::{Execution, Member};

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    certificates: Certificates,
    families: Arc<Families>,
}

struct Families {
    requests: RequestFamilies,
    distributions: DistributionFamilies,
    loading: LoadingFamilies,
    cache: CacheFamilies,
    saturations: Saturations,
    summaries: SummaryFamilies,
    /// How many hold the metrics of a model version: while one is loaded again there are two of it.
    holders: Mutex<HashMap<ModelLabels, usize>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(MetricsSettings::default())
    }
}

/// The metrics of one model version, looked up once. They are exposed as long as somebody holds them.
pub struct ModelMetrics {
    pub(crate) requests: Requests,
    pub(crate) distributions: Distributions,
    pub(crate) loading: Loading,
    pub(crate) saturation: Arc<Saturation>,
    summaries: Option<Arc<Summaries>>,
    labels: ModelLabels,
    families: Arc<Families>,
}

impl Metrics {
    /// Those that the settings ask for.
    pub fn new(settings: MetricsSettings) -> Self {
        let mut registry = Registry::default();
        let saturations = Saturations::new(settings.interval);
        let families = Families {
            requests: RequestFamilies::register(&mut registry, settings.counter_latencies),
            distributions: DistributionFamilies::register(&mut registry, settings.histogram_latencies),
            loading: LoadingFamilies::register(&mut registry),
            cache: CacheFamilies::register(&mut registry),
            saturations: saturations.clone(),
            summaries: SummaryFamilies::new(settings.summary_quantiles),
            holders: Mutex::default(),
        };
        let certificates = Certificates::register(&mut registry);
        registry.register_collector(Box::new(saturations));
        if settings.cpu {
            registry.register_collector(Box::new(Machine::new(settings.interval)));
        }
        Self {
            registry,
            certificates,
            families: Arc::new(families),
        }
    }

    /// Shows what a cache counts for itself.
    pub fn watch(&mut self, collector: Box<dyn Collector>) {
        self.registry.register_collector(collector);
    }

    /// Notes when the certificate of a front ends, in seconds since 1970.
    pub fn certificate_ends(&self, front: &'static str, not_after: i64) {
        self.certificates.end(front, not_after);
    }

    /// The text that a scraper takes.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, &self.registry)?;
        self.families.summaries.encode(&mut text)?;
        Ok(format.finish(&text))
    }

    /// Handles for one model version; all of them are exposed, at zero, from now on.
    pub fn of_model(&self, model: &str, version: u64) -> ModelMetrics {
        self.of_tagged_model(model, version, BTreeMap::new())
    }

    /// The same with more labels.
    pub fn of_tagged_model(&self, model: &str, version: u64, tags: BTreeMap<String, String>) -> ModelMetrics {
        let labels = ModelLabels {
            model: model.to_owned(),
            version: version.to_string(),
            tags: Arc::new(tags),
        };
        let families = &self.families;
        // Held until they are looked up: whoever drops the last of the others meanwhile would take them away.
        let mut holders = families.holders();
        *holders.entry(labels.clone()).or_default() += 1;
        let requests = families.requests.of(&labels);
        ModelMetrics {
            distributions: families.distributions.of(&labels),
            loading: families.loading.of(&labels),
            saturation: families.saturations.of(&labels, &requests.pending),
            summaries: families.summaries.of(&labels),
            requests,
            labels,
            families: Arc::clone(families),
        }
    }
}

impl Families {
    fn holders(&self) -> MutexGuard<'_, HashMap<ModelLabels, usize>> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ModelMetrics {
    fn drop(&mut self) {
        let Self { labels, families, .. } = self;
        let mut holders = families.holders();
        let Some(count) = holders.get_mut(labels) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            holders.remove(labels);
            families.requests.forget(labels);
            families.distributions.forget(labels);
            families.loading.forget(labels);
            families.cache.forget(labels);
            families.saturations.forget(labels);
            families.summaries.forget(labels);
        }
    }
}

impl ModelMetrics {
    /// The counter of failures for a reason.
    pub fn failure(&self, reason: FailureReason) -> &TritonCounter {
        self.requests.failure(reason)
    }

    /// Its name.
    pub(crate) fn model(&self) -> &str {
        &self.labels.model
    }

    /// Counters of its kept answers, exposed from now on.
    pub(crate) fn of_cache(&self) -> CacheMetrics {
        self.families.cache.of(&self.labels)
    }

    /// Counts a request that was answered without a batch.
    pub(crate) fn answered_by_cache(&self, member: &Member) {
        self.requests.success.add(1);
        self.requests.request_duration_us.add(microseconds(member.total));
        self.requests.queue_duration_us.add(microseconds(member.queued));
        let seconds = &self.distributions.request_seconds;
        observe(seconds, member.total, member.trace_id());
    }

    /// Counts a batch that ran.
    pub(crate) fn executed(&self, execution: &Execution) {
        let Execution {
            rows,
            phases,
            members,
            ..
        } = execution;
        let requests = members.len() as u64;
        let [input, infer, output] = [phases.input, phases.infer, phases.output].map(microseconds);
        self.requests.success.add(requests);
        self.requests.inferences.add(*rows);
        self.requests.executions.add(1);
        self.requests.compute_input_duration_us.add(input * requests);
        self.requests.compute_infer_duration_us.add(infer * requests);
        self.requests.compute_output_duration_us.add(output * requests);
        self.distributions.batch_rows.observe(*rows as f64);
        let compute = phases.input + phases.infer + phases.output;
        let traced = members.iter().find_map(Member::trace_id);
        observe(&self.distributions.compute_seconds, compute, traced);
        for member in members {
            let (total, queued) = (microseconds(member.total), microseconds(member.queued));
            self.requests.request_duration_us.add(total);
            self.requests.queue_duration_us.add(queued);
            let trace = member.trace_id();
            observe(&self.distributions.request_seconds, member.total, trace.clone());
            observe(&self.distributions.queue_seconds, member.queued, trace);
            if let Some(first_response) = &self.distributions.first_response_milliseconds {
                first_response.observe(member.total.as_secs_f64() * 1000.0);
            }
            if let Some(summaries) = &self.summaries {
                summaries.observe([total, queued, input, infer, output]);
            }
        }
    }
}

fn observe(histogram: &Seconds, time: Duration, trace_id: Option<String>) {
    let label = trace_id.map(|trace_id| TraceLabel { trace_id });
    let at = label.is_some().then(SystemTime::now);
    histogram.observe(time.as_secs_f64(), label, at);
}

/// Whole microseconds of a duration.
pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_triton_without_a_suffix() {
        let metrics = Metrics::default();
        let model = metrics.of_model("tumour", 2);
        model.requests.success.add(3);
        model.failure(FailureReason::Backend).add(1);
        model.requests.pending.set(5);
        observe(&model.distributions.queue_seconds, Duration::from_millis(2), None);
        let text = metrics.encode(Format::Classic).unwrap();
        for line in [
            "# TYPE nv_inference_request_success counter",
            "nv_inference_request_success{model=\"tumour\",version=\"2\"} 3",
            "nv_inference_request_failure{model=\"tumour\",version=\"2\",reason=\"BACKEND\"} 1",
            "nv_inference_request_failure{model=\"tumour\",version=\"2\",reason=\"CANCELED\"} 0",
            "nv_inference_pending_request_count{model=\"tumour\",version=\"2\"} 5",
            "aiops_inference_queue_duration_seconds_bucket{le=\"0.0025\",model=\"tumour\",version=\"2\"} 1",
        ] {
            assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
        }
    }

    #[test]
    fn what_nobody_holds_is_not_exposed_any_more() {
        let metrics = Metrics::new(MetricsSettings {
            summary_quantiles: vec![0.5],
            histogram_latencies: true,
            ..MetricsSettings::default()
        });
        let text = || metrics.encode(Format::OpenMetrics).unwrap();
        let (first, again) = (metrics.of_model("tumour", 2), metrics.of_model("tumour", 2));
        first.requests.success.add(3);
        drop(first);
        assert!(text().contains("nv_inference_request_success{model=\"tumour\",version=\"2\"} 3\n"));
        drop(again);
        assert!(!text().contains("tumour"), "{}", text());
    }
}
