//! The fronts that clients connect to.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::connections::{self, ConnectionLimits, Front, Protocol};
use crate::arguments::{CompressionLevel, ServeArguments};
use crate::lifecycle::Lifecycle;
use crate::metrics::Metrics;
use crate::protocol::operations::{self, Operations};
use crate::protocol::{Service, access, grpc_v2, http_v2, rest};
use crate::tls::{HTTP_1, HTTP_2, Tls, TlsFiles};

/// HTTP/2 of HTTP, REST and metrics: how long a client may be silent before it is asked whether it is there, and how long it
/// has to answer.
const HTTP_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// Certificates of the fronts.
pub(super) struct Certificates {
    /// Of HTTP and REST.
    http: Option<Arc<Tls>>,
    grpc: Option<Arc<Tls>>,
    metrics: Option<Arc<Tls>>,
}

impl Certificates {
    /// Reads them, before anything is listened to.
    pub(super) fn open(arguments: &ServeArguments) -> anyhow::Result<Self> {
        let open = |files: anyhow::Result<Option<TlsFiles>>, protocols: &[&[u8]]| {
            let tls = files?.map(|files| Tls::open(files, protocols)).transpose()?;
            anyhow::Ok(tls.map(Arc::new))
        };
        Ok(Self {
            http: open(arguments.tls.http.files(), &[HTTP_2, HTTP_1])?,
            grpc: open(arguments.tls.grpc.files(), &[HTTP_2])?,
            metrics: open(arguments.tls.metrics.files(), &[HTTP_2, HTTP_1])?,
        })
    }

    /// Follows their files until it is dropped.
    pub(super) fn follow(&self, metrics: &Arc<Metrics>) -> JoinSet<()> {
        let mut following = JoinSet::new();
        for tls in [&self.http, &self.grpc, &self.metrics].into_iter().flatten() {
            following.spawn(Arc::clone(tls).follow(Arc::clone(metrics)));
        }
        following
    }
}

/// Listens to the fronts that serve models.
pub(super) async fn start(
    arguments: &ServeArguments,
    certificates: &Certificates,
    service: &Arc<Service>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let http = bind("http", arguments.listen.http_address, arguments.listen.http_port).await?;
    let grpc = bind("grpc", arguments.listen.grpc_address, arguments.listen.grpc_port).await?;
    let rest = bind("rest", arguments.listen.rest_address, arguments.listen.rest_port).await?;
    let mut fronts = JoinSet::new();
    let http_router = access::guard_http(&service.access, http_v2::router(Arc::clone(service)));
    let rest_router = access::guard_rest(
        &service.access,
        rest::router(Arc::clone(service), &arguments.rest),
    );
    for (name, listener, router) in [("http", http, http_router), ("rest", rest, rest_router)] {
        let front = Front {
            name,
            protocol: Protocol::Http,
            router,
            lifecycle: Arc::clone(&service.lifecycle),
            tls: certificates.http.clone(),
            limits: http_limits(arguments),
            stop: stop.clone(),
        };
        fronts.spawn(connections::serve(listener, front));
    }
    let mut health = JoinSet::new();
    let front = Front {
        name: "grpc",
        protocol: Protocol::Grpc,
        router: grpc_router(arguments, service, stop, &mut health),
        lifecycle: Arc::clone(&service.lifecycle),
        tls: certificates.grpc.clone(),
        limits: grpc_limits(arguments),
        stop: stop.clone(),
    };
    fronts.spawn(async move {
        let _health = health;
        connections::serve(grpc, front).await
    });
    Ok(fronts)
}

/// Listens to the operations port.
pub(super) async fn start_operations(
    arguments: &ServeArguments,
    certificates: &Certificates,
    operations: Arc<Operations>,
    lifecycle: &Arc<Lifecycle>,
    stop: &CancellationToken,
) -> anyhow::Result<JoinSet<anyhow::Result<()>>> {
    let (address, port) = (arguments.listen.metrics_address, arguments.listen.metrics_port);
    let listener = bind("metrics", address, port).await?;
    let front = Front {
        name: "metrics",
        protocol: Protocol::Http,
        router: operations::router(operations),
        lifecycle: Arc::clone(lifecycle),
        tls: certificates.metrics.clone(),
        limits: ConnectionLimits {
            max_connections: None,
            ..http_limits(arguments)
        },
        stop: stop.clone(),
    };
    let mut fronts = JoinSet::new();
    fronts.spawn(connections::serve(listener, front));
    Ok(fronts)
}

fn http_limits(arguments: &ServeArguments) -> ConnectionLimits {
    let given = &arguments.connections;
    ConnectionLimits {
        max_header_bytes: given.http_max_header_size,
        header_timeout: Duration::from_secs(given.http_header_timeout_secs),
        write_timeout: Duration::from_secs(given.write_timeout_secs),
        max_connections: given.http_max_connections,
        keepalive: HTTP_KEEPALIVE,
        age: None,
        age_grace: None,
    }
}

fn grpc_limits(arguments: &ServeArguments) -> ConnectionLimits {
    let given = &arguments.connections;
    let milliseconds = |count: NonZeroU32| Duration::from_millis(count.get().into());
    ConnectionLimits {
        max_header_bytes: given.http_max_header_size,
        header_timeout: Duration::from_secs(given.http_header_timeout_secs),
        write_timeout: Duration::from_secs(given.write_timeout_secs),
        max_connections: given.grpc_max_connections,
        keepalive: (
            milliseconds(given.grpc_keepalive_time),
            milliseconds(given.grpc_keepalive_timeout),
        ),
        age: given.grpc_max_connection_age.map(milliseconds),
        age_grace: given
            .grpc_max_connection_age_grace
            .map(|count| Duration::from_millis(count.into())),
    }
}

async fn bind(front: &'static str, address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("--{front}-port: cannot listen on {address}; is another server running?"))?;
    tracing::info!(front, address = %listener.local_addr()?, "listening");
    Ok(listener)
}

fn grpc_router(
    arguments: &ServeArguments,
    service: &Arc<Service>,
    stop: &CancellationToken,
    reporting: &mut JoinSet<()>,
) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporting.spawn(grpc_v2::report_health(
        Arc::clone(&service.lifecycle),
        reporter,
        stop.clone(),
    ));
    let compress = arguments.listen.grpc_infer_response_compression_level != CompressionLevel::None;
    let inference = grpc_v2::inference(Arc::clone(service), compress);
    let routes = tonic::service::Routes::new(health).add_service(inference);
    let routes = grpc_v2::metered(Arc::clone(service), routes);
    access::guard_grpc(&service.access, routes.into_axum_router())
}
