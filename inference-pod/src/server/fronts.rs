//! The fronts that clients connect to, and how their connections live and end.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

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

use crate::arguments::{CompressionLevel, ServeArguments};
use crate::lifecycle::Lifecycle;
use crate::protocol::{Service, grpc_v2, http_v2, rest};

/// HTTP/2 flow-control window of gRPC: with the protocol's 64 KiB, a large tensor would wait for a round trip every few packets.
const GRPC_WINDOW_BYTES: u32 = 8 << 20;
/// A client of gRPC that sends nothing for so long is asked whether it is there, and the connection is given up when nothing
/// comes back.
const GRPC_KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const GRPC_KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// The same by the kernel, for a connection on which HTTP/2 has not begun.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
pub(super) async fn start(
    arguments: &ServeArguments,
    service: &Arc<Service>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let http = bind("http", arguments.listen.http_address, arguments.listen.http_port).await?;
    let grpc = bind("grpc", arguments.listen.grpc_address, arguments.listen.grpc_port).await?;
    let rest = bind("rest", arguments.listen.rest_address, arguments.listen.rest_port).await?;
    let mut fronts = JoinSet::new();
    for (listener, router) in [
        (http, http_v2::router(Arc::clone(service))),
        (rest, rest::router(Arc::clone(service), &arguments.rest)),
    ] {
        let closing =
            axum::middleware::from_fn_with_state(Arc::clone(&service.lifecycle), close_when_stopping);
        fronts.spawn(serve_http(listener, router.layer(closing), stop.clone()));
    }
    let compress = arguments.listen.grpc_infer_response_compression_level != CompressionLevel::None;
    fronts.spawn(serve_grpc(grpc, Arc::clone(service), compress, stop.clone()));
    Ok(fronts)
}

pub(super) async fn bind(front: &'static str, address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--{front}-port: cannot listen on {address}; is another server running?"))?;
    tracing::info!(front, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

pub(super) async fn serve_http(
    listener: TcpListener,
    router: Router,
    stop: CancellationToken,
) -> anyhow::Result<()> {
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
