//! Spans to an OpenTelemetry collector, by OTLP over gRPC or HTTP. Whatever is wrong with the collector, requests do not notice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use opentelemetry::trace::{Span as _, SpanBuilder, SpanKind, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::hyper::HyperClient;
use opentelemetry_otlp::{
    OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_PROTOCOL, OTEL_EXPORTER_OTLP_TIMEOUT,
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_PROTOCOL,
    OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider, SpanData,
};
use tokio::runtime::Handle;
use tonic::transport::ClientTlsConfig;

use super::configuration::OpenTelemetrySettings;
use super::request::RequestTrace;
use crate::protocol::SERVER_NAME;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Collector {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Collector {
    /// Where spans go, how many wait and how they are sampled say the settings, and where they do not, `OTEL_…`.
    pub(super) fn start(settings: &OpenTelemetrySettings) -> anyhow::Result<Self> {
        let exporter = exporter(settings.url.as_deref()).context("the exporter of traces cannot be made")?;
        let reporting = Reporting {
            exporter: Arc::new(exporter),
            runtime: Handle::current(),
            failing: AtomicBool::new(false),
        };
        let mut batches = BatchConfigBuilder::default();
        if let Some(size) = settings.max_queue_size {
            batches = batches.with_max_queue_size(size);
        }
        if let Some(size) = settings.max_export_batch_size {
            batches = batches.with_max_export_batch_size(size);
        }
        if let Some(delay) = settings.schedule_delay {
            batches = batches.with_scheduled_delay(Duration::from_millis(delay));
        }
        let processor = BatchSpanProcessor::builder(reporting)
            .with_batch_config(batches.build())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_resource(resource(settings))
            .build();
        let tracer = provider.tracer(SERVER_NAME);
        tracing::info!("traces are sent to an OpenTelemetry collector");
        Ok(Self { provider, tracer })
    }

    /// Begins the span of a request, unless the sampler does not want it.
    pub(super) fn begin(&self, name: &'static str, parent: &Context) -> Option<RequestTrace> {
        let builder = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let span = self.tracer.build_with_context(builder, parent);
        span.span_context()
            .is_sampled()
            .then(|| RequestTrace::in_spans(self.tracer.clone(), span))
    }

    /// Sends what waits. Blocks.
    pub(super) fn end(&self, timeout: Duration) {
        if let Err(error) = self.provider.shutdown_with_timeout(timeout) {
            tracing::warn!(%error, "some traces could not be sent before the end");
        }
    }
}

fn resource(settings: &OpenTelemetrySettings) -> Resource {
    let is_named = std::env::var("OTEL_SERVICE_NAME").is_ok_and(|name| !name.is_empty())
        || std::env::var("OTEL_RESOURCE_ATTRIBUTES").is_ok_and(|all| all.contains("service.name="));
    let mut builder = Resource::builder();
    if !is_named {
        builder = builder.with_service_name(SERVER_NAME);
    }
    let given = settings
        .resource
        .iter()
        .map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    builder
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(given)
        .build()
}

fn variable(names: [&str; 2]) -> Option<String> {
    names
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

fn exporter(url: Option<&str>) -> anyhow::Result<SpanExporter> {
    let endpoint = url
        .map(str::to_owned)
        .or_else(|| variable([OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_EXPORTER_OTLP_ENDPOINT]));
    let is_encrypted = endpoint.is_some_and(|endpoint| endpoint.starts_with("https://"));
    let protocol = variable([OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, OTEL_EXPORTER_OTLP_PROTOCOL]);
    match protocol.as_deref() {
        Some("grpc") => {
            let mut builder = SpanExporter::builder().with_tonic();
            if let Some(url) = url {
                builder = builder.with_endpoint(url);
            }
            if is_encrypted {
                builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
            }
            Ok(builder.build()?)
        }
        None | Some("http/protobuf") => {
            let builder = SpanExporter::builder().with_http();
            let timeout = timeout();
            let builder = if is_encrypted {
                let connector = hyper_rustls::HttpsConnectorBuilder::new()
                    .with_native_roots()?
                    .https_only()
                    .enable_http1()
                    .build();
                builder.with_http_client(HyperClient::new(connector, timeout, None))
            } else {
                builder.with_http_client(HyperClient::with_default_connector(timeout, None))
            };
            Ok(match url {
                Some(url) => builder.with_endpoint(url).build()?,
                None => builder.build()?,
            })
        }
        Some(other) => {
            bail!("{OTEL_EXPORTER_OTLP_PROTOCOL}={other} is not supported: there are grpc and http/protobuf")
        }
    }
}

fn timeout() -> Duration {
    variable([OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT])
        .and_then(|milliseconds| milliseconds.parse().ok())
        .map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

/// Says once that a collector cannot be reached, and once that it can be again.
#[derive(Debug)]
struct Reporting {
    exporter: Arc<SpanExporter>,
    /// The processor's own thread has none, and the transports need one.
    runtime: Handle,
    failing: AtomicBool,
}

impl opentelemetry_sdk::trace::SpanExporter for Reporting {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        let exporter = Arc::clone(&self.exporter);
        let count = spans.len();
        let sending = self
            .runtime
            .spawn(async move { opentelemetry_sdk::trace::SpanExporter::export(&*exporter, spans).await });
        let sent = sending
            .await
            .unwrap_or_else(|panic| Err(OTelSdkError::InternalFailure(panic.to_string())));
        let failed_before = self.failing.swap(sent.is_err(), Ordering::Relaxed);
        match &sent {
            Err(error) if !failed_before => tracing::warn!(
                %error, spans = count,
                "traces cannot be sent and are dropped until the collector takes them; this is said once"
            ),
            Ok(()) if failed_before => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        sent
    }

    fn set_resource(&mut self, resource: &Resource) {
        if let Some(exporter) = Arc::get_mut(&mut self.exporter) {
            opentelemetry_sdk::trace::SpanExporter::set_resource(exporter, resource);
        }
    }
}
