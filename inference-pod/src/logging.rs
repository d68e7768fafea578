//! Structured log lines on standard error, and what is logged, which may change while the process runs.

use std::io::IsTerminal as _;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Level;
use tracing_subscriber::filter::dynamic_filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use crate::arguments::{CommonArguments, LogFormat};

/// What is logged. Levels are switched one by one, as Triton does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// Whether information is logged.
    pub info: bool,
    /// Whether warnings are logged.
    pub warning: bool,
    /// Whether errors are logged.
    pub error: bool,
    /// 0 for no details, 1 for this server's, more for those of its libraries.
    pub verbose_level: u32,
}

static INFO: AtomicBool = AtomicBool::new(true);
static WARNING: AtomicBool = AtomicBool::new(true);
static ERROR: AtomicBool = AtomicBool::new(true);
static VERBOSE_LEVEL: AtomicU32 = AtomicU32::new(0);
static DETAILS: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();
/// Held while the settings change, so that two changes do not mix.
static CHANGING: Mutex<()> = Mutex::new(());

/// Starts logging for the whole process.
pub fn start(arguments: &CommonArguments) {
    let verbose_level = u32::from(arguments.log_verbose);
    VERBOSE_LEVEL.store(verbose_level, Ordering::Relaxed);
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| details(verbose_level));
    let (filter, handle) = reload::Layer::new(filter);
    // A second start would fail below.
    let _ = DETAILS.set(handle);
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let levels = dynamic_filter_fn(|metadata, _| is_on(*metadata.level()));
    match arguments.log_format {
        LogFormat::Default => registry.with(lines.with_filter(levels)).init(),
        LogFormat::Json => registry
            .with(
                lines
                    .json()
                    .flatten_event(true)
                    .with_current_span(false)
                    .with_filter(levels),
            )
            .init(),
    }
}

/// What is logged now.
pub fn settings() -> LogSettings {
    LogSettings {
        info: INFO.load(Ordering::Relaxed),
        warning: WARNING.load(Ordering::Relaxed),
        error: ERROR.load(Ordering::Relaxed),
        verbose_level: VERBOSE_LEVEL.load(Ordering::Relaxed),
    }
}

/// Changes what is logged; answers what it is afterwards. A level of details replaces what `RUST_LOG` asked for.
pub fn change(change: impl FnOnce(&mut LogSettings)) -> LogSettings {
    let _changing = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = settings();
    let mut after = before;
    change(&mut after);
    INFO.store(after.info, Ordering::Relaxed);
    WARNING.store(after.warning, Ordering::Relaxed);
    ERROR.store(after.error, Ordering::Relaxed);
    VERBOSE_LEVEL.store(after.verbose_level, Ordering::Relaxed);
    if after.verbose_level != before.verbose_level
        && let Some(handle) = DETAILS.get()
        && let Err(error) = handle.reload(details(after.verbose_level))
    {
        tracing::warn!(%error, "the level of details cannot be changed");
    }
    after
}

fn is_on(level: Level) -> bool {
    match level {
        Level::ERROR => ERROR.load(Ordering::Relaxed),
        Level::WARN => WARNING.load(Ordering::Relaxed),
        Level::INFO => INFO.load(Ordering::Relaxed),
        _ => true,
    }
}

/// ONNX Runtime tells every optimization at INFO; its warnings are of use.
fn details(verbose_level: u32) -> EnvFilter {
    EnvFilter::new(match verbose_level {
        0 => "info,ort=warn",
        1 => "debug,ort=info,h2=info,hyper=info,aws=info,tower=info",
        _ => "debug",
    })
}
