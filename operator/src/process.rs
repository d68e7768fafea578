//! The operator's process: clients, controllers, the metrics server, and the end of all of them.

use std::sync::Arc;
use std::time::Duration;

use aiops_mlflow_client::Config as MlflowConfig;
use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use kube::client::ClientBuilder;
use kube::runtime::events::{Recorder, Reporter};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::arguments::{CreateBucketsArguments, RunArguments};
use crate::configuration::Configuration;
use crate::framework::call_timeout::CallTimeout;
use crate::framework::context::Context;
use crate::framework::metrics::Metrics;
use crate::{experiment, inference_service, model_version};

/// No single call to the API server (watches aside), MLflow or a pod waits longer for its answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Runs the controllers until the process is told to stop.
///
/// # Errors
/// Where a client cannot be set up or the metrics address is taken.
pub async fn run(arguments: Box<RunArguments>) -> anyhow::Result<()> {
    install_crypto();
    let context = Arc::new(context(&arguments).await?);
    let shutdown = shutdown_token()?;
    let listener = tokio::net::TcpListener::bind(arguments.metrics_address)
        .await
        .with_context(|| {
            format!(
                "unable to listen on AIOPS_METRICS_ADDRESS {}",
                arguments.metrics_address
            )
        })?;
    tracing::info!(address = %arguments.metrics_address, mlflow = %context.mlflow.tracking_uri(), "operator started");
    let server = axum::serve(listener, routes(context.clone()))
        .with_graceful_shutdown(shutdown.clone().cancelled_owned());
    let (server, (), (), ()) = tokio::join!(
        server.into_future(),
        experiment::control(context.clone(), arguments.concurrency, shutdown.clone()),
        model_version::control(context.clone(), arguments.concurrency, shutdown.clone()),
        inference_service::control(context.clone(), arguments.concurrency, shutdown.clone()),
    );
    tracing::info!("operator stopped");
    server.context("the metrics server failed")
}

/// Creates buckets, waiting for the object store.
///
/// # Errors
/// Where the store does not answer in time or refuses.
pub async fn create_buckets(arguments: CreateBucketsArguments) -> anyhow::Result<()> {
    install_crypto();
    let timeout = Duration::from_secs(arguments.timeout_seconds);
    for bucket in &arguments.buckets {
        aiops_model_repository::create_bucket(bucket, timeout)
            .await
            .with_context(|| format!("unable to create bucket {bucket}"))?;
        tracing::info!(bucket, "bucket is there");
    }
    Ok(())
}

fn install_crypto() {
    // A second installation is refused and harmless: the first one is the same provider.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

async fn context(arguments: &RunArguments) -> anyhow::Result<Context> {
    let mut config = kube::Config::infer()
        .await
        .context("no Kubernetes API: neither a service account nor a kubeconfig was found")?;
    // The loop's own backoff is visible in status and metrics; retries inside a call would only hide an outage.
    config.default_retry = false;
    config.connect_timeout = Some(CALL_TIMEOUT);
    let client = ClientBuilder::try_from(config)
        .context("the Kubernetes client cannot be set up")?
        .with_layer(&CallTimeout(CALL_TIMEOUT))
        .build();
    let mlflow = MlflowConfig {
        timeout: CALL_TIMEOUT,
        ..MlflowConfig::new(arguments.mlflow_tracking_uri.clone())
    };
    let reporter = Reporter {
        controller: "aiops-operator".into(),
        instance: std::env::var("HOSTNAME").ok(),
    };
    Ok(Context {
        recorder: Recorder::new(client.clone(), reporter),
        client,
        mlflow: aiops_mlflow_client::Client::new(mlflow)?,
        http: inference_service::pod_client().context("no HTTP client")?,
        configuration: Arc::new(Configuration::new(arguments)),
        metrics: Arc::new(Metrics::default()),
    })
}

fn shutdown_token() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("no handler for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("no handler for SIGINT")?;
    let trigger = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping: reconciles in progress are finished first");
        trigger.cancel();
    });
    Ok(token)
}

fn routes(context: Arc<Context>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route(
            "/metrics",
            get(|State(context): State<Arc<Context>>| async move { context.metrics.encode() }),
        )
        .with_state(context)
}

/// Ready means that the API server answers: without it there is no work to do.
async fn ready(State(context): State<Arc<Context>>) -> (StatusCode, String) {
    match context.client.apiserver_version().await {
        Ok(version) => (StatusCode::OK, format!("Kubernetes {}", version.git_version)),
        Err(error) => (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("the Kubernetes API does not answer: {error}"),
        ),
    }
}
