//! Triton's summaries: quantiles over the last minute. They cannot be added up over pods, so they are there only when asked for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::labels::ModelLabels;
use hdrhistogram::Histogram;

/// Triton's window, and in how many parts it grows old.
const WINDOW: Duration = Duration::from_secs(60);
const AGES: u32 = 5;
/// A value is off by less than a hundredth.
const SIGNIFICANT_DIGITS: u8 = 2;

const NAMES: [(&str, &str); 5] = [
    (
        "nv_inference_request_summary_us",
        "Microseconds from receipt to answer",
    ),
    ("nv_inference_queue_summary_us", "Microseconds in the queue"),
    (
        "nv_inference_compute_input_summary_us",
        "Microseconds in which inputs were put together",
    ),
    (
        "nv_inference_compute_infer_summary_us",
        "Microseconds in the model",
    ),
    (
        "nv_inference_compute_output_summary_us",
        "Microseconds in which outputs were taken apart",
    ),
];

/// Those of one model version, in the order of `NAMES`.
pub(crate) struct Summaries([Mutex<Summary>; NAMES.len()]);

struct Summary {
    count: u64,
    sum: u64,
    ages: Vec<Histogram<u32>>,
    current: usize,
    since: Instant,
}

impl Summaries {
    fn new() -> Option<Self> {
        let ages = || -> Option<Vec<_>> {
            (0..AGES)
                .map(|_| Histogram::new(SIGNIFICANT_DIGITS).ok())
                .collect()
        };
        let summary = || {
            Some(Mutex::new(Summary {
                count: 0,
                sum: 0,
                ages: ages()?,
                current: 0,
                since: Instant::now(),
            }))
        };
        Some(Self([summary()?, summary()?, summary()?, summary()?, summary()?]))
    }

    /// Times of one request, in microseconds: all of it, in the queue, input, model, output.
    pub(crate) fn observe(&self, times: [u64; NAMES.len()]) {
        let now = Instant::now();
        for (summary, time) in self.0.iter().zip(times) {
            let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
            summary.grow_old(now);
            summary.count += 1;
            summary.sum += time;
            let current = summary.current;
            // It grows with what is recorded; only what no memory could hold is an error.
            let _ = summary.ages[current].record(time);
        }
    }
}

impl Summary {
    fn grow_old(&mut self, now: Instant) {
        let age = WINDOW / AGES;
        for _ in 0..AGES {
            if now.saturating_duration_since(self.since) < age {
                return;
            }
            self.since += age;
            self.current = (self.current + 1) % self.ages.len();
            let oldest = self.current;
            self.ages[oldest].reset();
        }
        // Longer ago than the whole window.
        self.since = now;
    }

    fn quantiles(&mut self, quantiles: &[f64]) -> Vec<Option<u64>> {
        self.grow_old(Instant::now());
        let mut all = self.ages[0].clone();
        for age in &self.ages[1..] {
            // Histograms that resize take each other's values.
            let _ = all.add(age);
        }
        let value = |quantile: &f64| (!all.is_empty()).then(|| all.value_at_quantile(*quantile));
        quantiles.iter().map(value).collect()
    }
}

/// All of them; the library that writes the other metrics knows no summaries.
#[derive(Default)]
pub(super) struct SummaryFamilies {
    quantiles: Vec<f64>,
    models: Mutex<BTreeMap<ModelLabels, Arc<Summaries>>>,
}

impl SummaryFamilies {
    pub(super) fn new(quantiles: Vec<f64>) -> Self {
        Self {
            quantiles,
            models: Mutex::default(),
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Option<Arc<Summaries>> {
        if self.quantiles.is_empty() {
            return None;
        }
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = models.get(labels) {
            return Some(Arc::clone(known));
        }
        let summaries = Arc::new(Summaries::new()?);
        models.insert(labels.clone(), Arc::clone(&summaries));
        Some(summaries)
    }

    pub(super) fn forget(&self, labels: &ModelLabels) {
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.remove(labels);
    }

    pub(super) fn encode(&self, text: &mut String) -> std::fmt::Result {
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        if models.is_empty() {
            return Ok(());
        }
        for (index, (name, help)) in NAMES.iter().enumerate() {
            writeln!(text, "# HELP {name} {help}, over the last minute.")?;
            writeln!(text, "# TYPE {name} summary")?;
            for (model, summaries) in &*models {
                let labels = model.written();
                let mut summary = summaries.0[index].lock().unwrap_or_else(PoisonError::into_inner);
                for (quantile, value) in self.quantiles.iter().zip(summary.quantiles(&self.quantiles)) {
                    let value = value.map_or_else(|| "NaN".to_owned(), |value| value.to_string());
                    writeln!(text, "{name}{{{labels},quantile=\"{quantile}\"}} {value}")?;
                }
                writeln!(text, "{name}_sum{{{labels}}} {}", summary.sum)?;
                writeln!(text, "{name}_count{{{labels}}} {}", summary.count)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_last_minute_and_sums_those_of_all_time() {
        let summaries = Summaries::new().unwrap();
        for time in 1..=100 {
            summaries.observe([time, time * 100_000, 0, 0, 0]);
        }
        let long = summaries.0[1].lock().unwrap().quantiles(&[0.5, 0.99]);
        for (found, exact) in long.into_iter().zip([5e6, 9.9e6]) {
            let error = (found.unwrap() as f64 - exact).abs() / exact;
            assert!(error < 0.01, "{found:?} for {exact}");
        }
        let mut summary = summaries.0[0].lock().unwrap();
        let found = summary.quantiles(&[0.5, 0.99]);
        assert_eq!(found, [Some(50), Some(99)]);
        summary.since -= WINDOW / 2;
        assert_eq!(summary.quantiles(&[0.5]), [Some(50)]);
        summary.since -= WINDOW;
        assert_eq!(summary.quantiles(&[0.5]), [None]);
        assert_eq!((summary.count, summary.sum), (100, 5050));
    }
}
