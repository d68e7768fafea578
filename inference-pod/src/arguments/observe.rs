//! What the server tells of itself: metrics and traces.

use std::str::FromStr;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::metrics::MetricsSettings;

/// Triton's quantiles of summaries.
const DEFAULT_QUANTILES: [f64; 5] = [0.5, 0.9, 0.95, 0.99, 0.999];

/// Metrics and traces.
#[derive(Debug, Args)]
pub struct ObserveArguments {
    /// Whether there are metrics.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_metrics: bool,
    /// Whether there are metrics of the container's CPU and memory.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_cpu_metrics: bool,
    /// Taken as tritonserver takes it; without a GPU there are no metrics of one.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_gpu_metrics: bool,
    /// Milliseconds for which metrics of the container stay as they were read.
    #[arg(long, default_value_t = 2000, value_name = "MILLISECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub metrics_interval_ms: u64,
    /// counter_latencies, summary_latencies or histogram_latencies=true|false, or summary_quantiles=QUANTILE:ERROR,…; may be
    /// given several times.
    #[arg(long, value_name = "SETTING=VALUE")]
    pub metrics_config: Vec<MetricsConfig>,
    /// level, rate, count or mode=VALUE, triton,file or log-frequency=VALUE, or opentelemetry,url, resource,
    /// bsp_max_queue_size, bsp_max_export_batch_size or bsp_schedule_delay=VALUE; may be given several times. Without it,
    /// OTEL_EXPORTER_OTLP_ENDPOINT turns OpenTelemetry on.
    #[arg(long, value_name = "[MODE,]SETTING=VALUE")]
    pub trace_config: Vec<TraceConfig>,
}

impl ObserveArguments {
    /// Which metrics there are.
    pub fn metrics(&self) -> MetricsSettings {
        let mut settings = MetricsSettings {
            cpu: self.allow_cpu_metrics,
            interval: Duration::from_millis(self.metrics_interval_ms),
            ..MetricsSettings::default()
        };
        let mut summaries = false;
        let mut quantiles = DEFAULT_QUANTILES.to_vec();
        for config in &self.metrics_config {
            match config {
                MetricsConfig::CounterLatencies(on) => settings.counter_latencies = *on,
                MetricsConfig::HistogramLatencies(on) => settings.histogram_latencies = *on,
                MetricsConfig::SummaryLatencies(on) => summaries = *on,
                MetricsConfig::SummaryQuantiles(given) => quantiles.clone_from(given),
            }
        }
        if summaries {
            settings.summary_quantiles = quantiles;
        }
        settings
    }
}

/// One `--metrics-config`.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsConfig {
    /// Whether times are summed up in counters.
    CounterLatencies(bool),
    /// Whether there are summaries.
    SummaryLatencies(bool),
    /// Whether there is Triton's histogram.
    HistogramLatencies(bool),
    /// Which quantiles summaries have.
    SummaryQuantiles(Vec<f64>),
}

impl FromStr for MetricsConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .ok_or("it must be SETTING=VALUE".to_owned())?;
        let switch = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(format!("{name} must be true or false")),
        };
        match name {
            "counter_latencies" => switch().map(Self::CounterLatencies),
            "summary_latencies" => switch().map(Self::SummaryLatencies),
            "histogram_latencies" => switch().map(Self::HistogramLatencies),
            "summary_quantiles" => quantiles(value).map(Self::SummaryQuantiles),
            _ => Err(format!(
                "there is no {name}; there are counter_latencies, summary_latencies, histogram_latencies and summary_quantiles"
            )),
        }
    }
}

/// `QUANTILE:ERROR,…`. Every quantile is known to a hundredth of its value, so the errors are checked and not needed.
fn quantiles(text: &str) -> Result<Vec<f64>, String> {
    let share = |text: &str| {
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share))
    };
    let pair = |pair: &str| {
        let (quantile, error) = pair.split_once(':')?;
        share(error)?;
        share(quantile)
    };
    text.split(',')
        .map(|given| {
            pair(given).ok_or_else(|| format!("{given} must be QUANTILE:ERROR, both between 0 and 1"))
        })
        .collect()
}

/// One `--trace-config`.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// The mode that it is for; nothing for all.
    pub scope: Option<String>,
    /// Name of the setting.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl FromStr for TraceConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once('=')
            .filter(|(_, value)| !value.is_empty())
            .ok_or("it must be SETTING=VALUE or MODE,SETTING=VALUE".to_owned())?;
        let (scope, name) = match name.split_once(',') {
            Some((scope, name)) => (Some(scope.to_owned()), name),
            None => (None, name),
        };
        Ok(Self {
            scope,
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_metrics_are_those_of_tritonserver() {
        let parse = |text: &str| text.parse::<MetricsConfig>();
        assert_eq!(
            parse("summary_latencies=true"),
            Ok(MetricsConfig::SummaryLatencies(true))
        );
        assert_eq!(
            parse("summary_quantiles=0.5:0.05,0.99:0.001"),
            Ok(MetricsConfig::SummaryQuantiles(vec![0.5, 0.99]))
        );
        for (text, part) in [
            ("summary_latencies", "SETTING=VALUE"),
            ("summary_latencies=loud", "true or false"),
            ("summary_quantiles=0.5", "QUANTILE:ERROR"),
            ("summary_quantiles=2:0.1", "between 0 and 1"),
            ("colours=true", "counter_latencies, summary_latencies"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
