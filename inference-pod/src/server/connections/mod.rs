//! Connections of every front: accepted, secured, served, and ended without losing what came in on them.

mod accept;
mod answer;
mod deadline;
mod drive;
mod stream;
#[cfg(test)]
mod tests;
mod version;

pub(super) use accept::serve;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Lifecycle;
use crate::tls::Tls;

/// A front, as its connections see it.
pub(super) struct Front {
    /// For logs and messages.
    pub(super) name: &'static str,
    pub(super) protocol: Protocol,
    pub(super) router: Router,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) limits: ConnectionLimits,
    /// Cancelled when nothing more is accepted.
    pub(super) stop: CancellationToken,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// HTTP/1.1, or HTTP/2 by ALPN or prior knowledge.
    Http,
    /// gRPC, which is HTTP/2.
    Grpc,
}

/// How connections of a front live.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionLimits {
    pub(super) max_header_bytes: u32,
    pub(super) header_timeout: Duration,
    /// How long a client may take nothing of an answer that is there for it.
    pub(super) write_timeout: Duration,
    pub(super) max_connections: Option<NonZeroUsize>,
    /// HTTP/2: how long a client may be silent before it is asked whether it is there, and how long it has to answer.
    pub(super) keepalive: (Duration, Duration),
    pub(super) age: Option<Duration>,
    pub(super) age_grace: Option<Duration>,
}
