//! Which metrics there are.

use std::time::Duration;

/// As the command line says.
#[derive(Clone, Debug)]
pub struct MetricsSettings {
    /// Whether CPU and memory of the container are told.
    pub cpu: bool,
    /// How long what is read from the system stays as it was read.
    pub interval: Duration,
    /// Whether times are summed up in counters.
    pub counter_latencies: bool,
    /// Whether Triton's histogram of the first response is there.
    pub histogram_latencies: bool,
    /// Quantiles of summaries of times; none for no summaries.
    pub summary_quantiles: Vec<f64>,
}

impl MetricsSettings {
    /// Triton's.
    pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
}

impl Default for MetricsSettings {
    fn default() -> Self {
        Self {
            cpu: true,
            interval: Self::DEFAULT_INTERVAL,
            counter_latencies: true,
            histogram_latencies: false,
            summary_quantiles: Vec::new(),
        }
    }
}
