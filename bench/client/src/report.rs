//! What came of a run.

use hdrhistogram::Histogram;
use serde::Serialize;

/// What is printed. Latencies are microseconds.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Requests that were answered with success in the measured time.
    pub requests: u64,
    /// Requests that were not.
    pub errors: u64,
    /// The first of the errors.
    pub first_error: Option<String>,
    /// Requests that were answered with success, those before the measured time included.
    pub total_requests: u64,
    /// Time from the first request to the last answer.
    pub total_seconds: f64,
    /// Measured time.
    pub seconds: f64,
    /// Successes a second.
    pub rate: f64,
    /// Processor time of the client over the measured time: near 1, the client was the limit.
    pub client_load: f64,
    /// Latency in microseconds.
    pub latency: Latency,
}

/// Percentiles of the latency, in microseconds.
#[derive(Debug, Serialize)]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
}

impl Latency {
    /// From nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean: histogram.mean() / 1e3,
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max() as f64 / 1e3,
        }
    }
}
