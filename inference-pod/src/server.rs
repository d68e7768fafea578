//! Starting the server: runtime, models, four fronts; and ending it in order.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_model_repository::Repository;
use anyhow::Context as _;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::serve::ListenerExt as _;
use http::{HeaderValue, Version, header};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arguments::{CompressionLevel, ModelControlMode, ServeArguments};
use crate::lifecycle::Lifecycle;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::models::{Keeper, Loader, Registry};
use crate::protocol::operations::{self, Operations};
use crate::protocol::{Accepted, Intake, ModelControl, Service, TraceSettings, grpc_v2, http_v2, rest};
use crate::runtime::{self, Runtime};
use crate::shutdown::{self, Signals};

/// HTTP/2 flow-control window of gRPC: with the protocol's 64 KiB, a large tensor would wait for a round trip every few packets.
const GRPC_WINDOW_BYTES: u32 = 8 << 20;
/// A client of gRPC that sends nothing for so long is asked whether it is there, and the connection is given up when nothing
/// comes back.
const GRPC_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const GRPC_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same by the kernel, for a connection on which HTTP/2 has not begun.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// The operations port is asked for little, and ends last.
const OPERATIONS_END: Duration = Duration::from_secs(1);

/// Runs until a signal ends it. An error means that it could not start, or that accepted requests were lost.
pub async fn run(arguments: ServeArguments) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut signals = Signals::listen()?;
    let Parts {
        service,
        keeper,
        operations,
    } = prepare(&arguments)?;
    let stop_accepting = service.intake.stop.clone();
    let mut fronts = start_fronts(&arguments, &service, &stop_accepting).await?;

    let stop_operations = CancellationToken::new();
    let listener = bind("metrics", arguments.metrics_address, arguments.metrics_port).await?;
    let mut operations_front = JoinSet::new();
    operations_front.spawn(serve_http(
        listener,
        operations::router(operations),
        stop_operations.clone(),
    ));

    let mut loading = JoinSet::new();
    let explicit = arguments.model_control_mode == ModelControlMode::Explicit;
    loading.spawn(load(
        Arc::clone(&keeper),
        arguments.serving_plan.clone(),
        explicit.then(|| arguments.load_model.clone()),
        arguments.exit_on_error,
    ));
    let reason = loop {
        tokio::select! {
            reason = signals.next() => break reason,
            Some(ended) = fronts.join_next() => {
                ended??;
                anyhow::bail!("a server ended by itself");
            }
            Some(loaded) = loading.join_next() => {
                loaded??;
                tracing::info!(seconds = start.elapsed().as_secs_f64(), "the models of the repository serve");
            }
        }
    };

    let delay = Duration::from_secs(arguments.drain_delay_secs);
    shutdown::drain(reason, &mut signals, delay, &service.lifecycle, &stop_accepting).await;
    let timeout = Duration::from_secs(arguments.exit_timeout_secs);
    let finished = finish(&mut fronts, timeout, &service.intake.accepted).await;
    stop_operations.cancel();
    // A scraper that keeps its connection open should not hold up the end.
    let _ = tokio::time::timeout(OPERATIONS_END, operations_front.join_next()).await;
    finished
}

struct Parts {
    service: Arc<Service>,
    keeper: Arc<Keeper>,
    operations: Arc<Operations>,
}

fn prepare(arguments: &ServeArguments) -> anyhow::Result<Parts> {
    let library = runtime::find_library(arguments.common.onnxruntime_library.as_deref())?;
    let threads = arguments
        .inference_threads
        .map_or_else(runtime::available_threads, usize::from);
    let runtime = Runtime::start(&library, threads)?;
    let location = arguments
        .model_repository
        .clone()
        .context("--model-repository is missing")?;
    let repository = Repository::open(location).context("--model-repository")?;
    let registry = Arc::new(Registry::default());
    let lifecycle = Arc::new(Lifecycle::default());
    let metrics = Arc::new(Metrics::default());
    let loader = Loader {
        repository,
        cache: arguments.model_cache.clone(),
        runtime,
        metrics: Arc::clone(&metrics),
    };
    loader.clean_cache();
    let keeper = Arc::new(Keeper::new(loader, Arc::clone(&registry), Arc::clone(&lifecycle)));
    let budget = Budget::new(arguments.max_request_memory);
    tracing::info!(bytes = budget.limit(), "memory for requests");
    let service = Arc::new(Service {
        trace: TraceSettings::default(),
        control: control(arguments, &keeper, &registry)?,
        registry: Arc::clone(&registry),
        lifecycle,
        intake: Intake {
            max_body_bytes: arguments.http_max_input_size,
            budget,
            stop: CancellationToken::new(),
            accepted: Accepted::default(),
        },
    });
    let operations = Arc::new(Operations {
        metrics,
        registry,
        keeper: Arc::clone(&keeper),
    });
    Ok(Parts {
        service,
        keeper,
        operations,
    })
}

fn control(
    arguments: &ServeArguments,
    keeper: &Arc<Keeper>,
    registry: &Registry,
) -> anyhow::Result<ModelControl> {
    let explicit = arguments.model_control_mode == ModelControlMode::Explicit;
    anyhow::ensure!(
        explicit || arguments.load_model.is_empty(),
        "--load-model needs --model-control-mode=explicit"
    );
    match &arguments.serving_plan {
        Some(_) if explicit => anyhow::bail!(
            "--model-control-mode=explicit and --serving-plan exclude each other: either calls decide what is served or the plan does"
        ),
        Some(_) => Ok(ModelControl::ServingPlan),
        None if explicit => {
            registry.remember_unloaded();
            Ok(ModelControl::Explicit(Arc::clone(keeper)))
        }
        None => Ok(ModelControl::Repository),
    }
}

async fn start_fronts(
    arguments: &ServeArguments,
    service: &Arc<Service>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let http = bind("http", arguments.http_address, arguments.http_port).await?;
    let grpc = bind("grpc", arguments.grpc_address, arguments.grpc_port).await?;
    let rest = bind("rest", arguments.rest_address, arguments.rest_port).await?;
    let mut fronts = JoinSet::new();
    for (listener, router) in [
        (http, http_v2::router(Arc::clone(service))),
        (rest, rest::router(Arc::clone(service))),
    ] {
        let closing =
            axum::middleware::from_fn_with_state(Arc::clone(&service.lifecycle), close_when_stopping);
        fronts.spawn(serve_http(listener, router.layer(closing), stop.clone()));
    }
    let compress = arguments.grpc_infer_response_compression_level != CompressionLevel::None;
    fronts.spawn(serve_grpc(grpc, Arc::clone(service), compress, stop.clone()));
    Ok(fronts)
}

async fn bind(front: &'static str, address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--{front}-port: cannot listen on {address}; is another server running?"))?;
    tracing::info!(front, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

async fn serve_http(listener: TcpListener, router: Router, stop: CancellationToken) -> anyhow::Result<()> {
    let listener = listener.tap_io(|connection| {
        // Answers are written whole; waiting for more only adds latency.
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was refused");
        }
    });
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await?;
    Ok(())
}

async fn serve_grpc(
    listener: TcpListener,
    service: Arc<Service>,
    compress: bool,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let mut reporting = JoinSet::new();
    reporting.spawn(grpc_v2::report_health(
        Arc::clone(&service.lifecycle),
        reporter,
        stop.clone(),
    ));
    let routes =
        tonic::service::Routes::new(health).add_service(grpc_v2::inference(Arc::clone(&service), compress));
    let incoming = tonic::transport::server::TcpIncoming::from(listener)
        .with_nodelay(Some(true))
        .with_keepalive(Some(TCP_KEEPALIVE));
    tonic::transport::Server::builder()
        .initial_stream_window_size(GRPC_WINDOW_BYTES)
        .initial_connection_window_size(GRPC_WINDOW_BYTES)
        .http2_keepalive_interval(Some(GRPC_KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(GRPC_KEEPALIVE_TIMEOUT))
        .add_routes(grpc_v2::metered(service, routes))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    Ok(())
}

/// Lets clients that keep connections open move to another pod before this one stops accepting.
async fn close_when_stopping(
    State(lifecycle): State<Arc<Lifecycle>>,
    request: Request,
    next: Next,
) -> Response {
    let version = request.version();
    let mut response = next.run(request).await;
    if lifecycle.is_stopping() && version <= Version::HTTP_11 {
        response
            .headers_mut()
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn load(
    keeper: Arc<Keeper>,
    plan: Option<std::path::PathBuf>,
    chosen: Option<Vec<String>>,
    exit_on_error: bool,
) -> anyhow::Result<()> {
    if let Some(plan) = plan {
        keeper.follow_plan(plan).await;
        return Ok(());
    }
    match keeper.serve_repository(chosen.as_deref()).await {
        Ok(()) => Ok(()),
        Err(failure) if exit_on_error => Err(anyhow::anyhow!(failure.message)),
        Err(failure) => {
            tracing::error!(
                error = failure.message,
                "some models cannot be loaded; the others serve"
            );
            std::future::pending().await
        }
    }
}

/// Waits for the fronts. A connection that is still open at the end loses nothing unless a request was accepted on it.
async fn finish(
    fronts: &mut JoinSet<anyhow::Result<()>>,
    timeout: Duration,
    accepted: &Accepted,
) -> anyhow::Result<()> {
    let all = async {
        while let Some(ended) = fronts.join_next().await {
            ended??;
        }
        Ok(())
    };
    let seconds = timeout.as_secs();
    match (tokio::time::timeout(timeout, all).await, accepted.count()) {
        (Ok(result), _) => {
            tracing::info!("everything that was accepted is answered");
            result
        }
        (Err(_), 0) => {
            tracing::warn!(
                seconds,
                "connections were still open after --exit-timeout-secs, but everything that was accepted is answered"
            );
            Ok(())
        }
        (Err(_), lost) => anyhow::bail!(
            "{lost} requests were still running after the {seconds} seconds of --exit-timeout-secs; they are lost"
        ),
    }
}
