//! Traces of requests: which are traced, and what is told of them, to a collector (OpenTelemetry) or into a file (Triton's).
//!
//! A request that is not traced costs a look at one flag and at one header.

mod collector;
mod configuration;
mod file;
mod request;
mod sampling;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::error::Result;
use collector::Collector;
pub use configuration::{Mode, OpenTelemetrySettings, TraceConfiguration};
use file::TraceFile;
pub(crate) use request::record;
pub use request::{Outcome, RequestTrace};
use sampling::Samplers;
use settings::TraceSettings;
pub use settings::TraceValues;

/// Where traces go.
enum Outlet {
    None,
    Collector(Box<Collector>),
    File(Arc<TraceFile>),
}

/// All that is traced by this process.
pub struct Traces {
    settings: TraceSettings,
    samplers: Samplers,
    outlet: Outlet,
}

/// A request that may be traced.
pub struct Call<'a> {
    /// Name of its span.
    pub name: &'static str,
    /// Name of the model that it asks.
    pub model: &'a str,
    /// Its headers, by which a caller passes its own trace on.
    pub headers: &'a HeaderMap,
}

impl Default for Traces {
    /// Settings are kept, and nothing is written.
    fn default() -> Self {
        let settings = TraceSettings::new(&TraceConfiguration::default());
        Self {
            samplers: Samplers::new(&settings),
            settings,
            outlet: Outlet::None,
        }
    }
}

impl Traces {
    /// Starts what the configuration asks for. To be called within the runtime.
    pub fn start(configuration: &TraceConfiguration) -> anyhow::Result<Self> {
        settings::check_first(configuration)?;
        let outlet = match &configuration.mode {
            Mode::OpenTelemetry(settings) => Outlet::Collector(Box::new(Collector::start(settings)?)),
            Mode::Triton(None) => Outlet::None,
            Mode::Triton(Some(path)) => Outlet::File(Arc::new(TraceFile::new(path)?)),
        };
        let settings = TraceSettings::new(configuration);
        Ok(Self {
            samplers: Samplers::new(&settings),
            settings,
            outlet,
        })
    }

    /// Whether a change of the settings changes what is traced.
    pub fn has_outlet(&self) -> bool {
        !matches!(self.outlet, Outlet::None)
    }

    /// Settings that hold for a model, or for all.
    pub fn get(&self, model: Option<&str>) -> TraceValues {
        let mut values = self.settings.get(model);
        if let Some(remaining) = self.samplers.remaining(model) {
            values.insert("trace_count", vec![remaining.to_string()]);
        }
        values
    }

    /// Changes settings of a model, or of all; a setting without values gets back what holds without it. All that are given
    /// are changed, or none when one of them is wrong.
    pub fn change(&self, model: Option<&str>, given: Vec<(String, Vec<String>)>) -> Result<()> {
        self.settings.change(model, given)?;
        self.samplers.follow(&self.settings);
        Ok(())
    }

    /// Decides whether a request is traced; if so, it is from now on.
    pub fn begin(&self, call: &Call<'_>) -> Option<RequestTrace> {
        let caller = call
            .headers
            .contains_key("traceparent")
            .then(|| caller(call.headers))
            .flatten();
        if caller.is_none() && !self.samplers.is_any_on() {
            return None;
        }
        let of_caller = || {
            let sampled = caller.as_ref().filter(|caller| caller.is_sampled())?;
            Some(RequestTrace::of_caller(sampled.trace_id()))
        };
        match &self.outlet {
            Outlet::None => of_caller(),
            Outlet::Collector(collector) => {
                let is_wanted = match caller {
                    // Who passes a trace on decides about it, whatever the rate.
                    Some(_) => self.samplers.is_on(call.model),
                    None => self.samplers.take(call.model),
                };
                let parent = caller.clone().map_or_else(Context::new, |caller| {
                    Context::new().with_remote_span_context(caller)
                });
                let begun = is_wanted.then(|| collector.begin(call.name, &parent)).flatten();
                begun.or_else(of_caller)
            }
            Outlet::File(file) => {
                if !self.samplers.take(call.model) {
                    return of_caller();
                }
                let frequency = self.settings.log_frequency(call.model);
                Some(RequestTrace::in_file(file, frequency, of_caller().as_ref()))
            }
        }
    }

    /// Sends or writes what is left, for so long at most.
    pub fn end(&self, timeout: Duration) {
        match &self.outlet {
            Outlet::None => {}
            Outlet::Collector(collector) => collector.end(timeout),
            Outlet::File(file) => file.end(),
        }
    }
}

/// The span that the caller says it is in.
fn caller(headers: &HeaderMap) -> Option<SpanContext> {
    let context =
        TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
    let span = context.span().span_context().clone();
    span.is_valid().then_some(span)
}

/// An attribute.
pub(crate) fn attribute(name: &'static str, value: impl Into<opentelemetry::Value>) -> KeyValue {
    KeyValue::new(name, value)
}
