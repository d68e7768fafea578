//! Log lines on standard output, filtered by `RUST_LOG`.

use tracing_subscriber::EnvFilter;

use crate::arguments::LogFormat;

/// Installs the process's subscriber. `RUST_LOG` filters; the default is `info`.
pub fn install(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    match format {
        LogFormat::Json => subscriber
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .init(),
        LogFormat::Text => subscriber.init(),
    }
}
