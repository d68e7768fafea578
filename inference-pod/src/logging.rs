//! Structured log lines on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::arguments::{CommonArguments, LogFormat};

/// Starts logging for the whole process.
pub fn start(arguments: &CommonArguments) {
    // ONNX Runtime tells every optimization at INFO; its warnings are of use.
    let default = match arguments.log_verbose {
        0 => "info,ort=warn",
        1 => "debug,ort=info,h2=info,hyper=info,aws=info,tower=info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match arguments.log_format {
        LogFormat::Default => registry.with(lines).init(),
        LogFormat::Json => registry
            .with(lines.json().flatten_event(true).with_current_span(false))
            .init(),
    }
}
