//! How connections of clients live.

use std::num::{NonZeroU32, NonZeroUsize};

use clap::Args;

/// Limits of connections.
#[derive(Debug, Args)]
pub struct ConnectionArguments {
    /// Most bytes of the headers of one request over HTTP, REST and metrics.
    #[arg(long, default_value_t = 64 << 10, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1024..=1 << 24))]
    pub http_max_header_size: u32,
    /// Seconds within which the headers of a request have to come, a TLS handshake has to be done, and a new connection has
    /// to say something.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub http_header_timeout_secs: u64,
    /// Seconds after which a client that takes nothing of an answer that is there for it loses its connection, on every port.
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub write_timeout_secs: u64,
    /// Most connections of each of HTTP and REST at a time, probes included; unbounded by default.
    #[arg(long, value_name = "COUNT")]
    pub http_max_connections: Option<NonZeroUsize>,
    /// Most connections of gRPC at a time, probes included; unbounded by default.
    #[arg(long, value_name = "COUNT")]
    pub grpc_max_connections: Option<NonZeroUsize>,
    /// Most bytes of a message over gRPC.
    #[arg(long, default_value_t = i32::MAX as u32, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pub grpc_max_input_size: u32,
    /// Milliseconds after which a silent client of gRPC is asked whether it is there.
    #[arg(long, default_value_t = DEFAULT_KEEPALIVE, value_name = "MILLISECONDS")]
    pub grpc_keepalive_time: NonZeroU32,
    /// Milliseconds that it has to answer, before its connection is given up.
    #[arg(long, default_value_t = DEFAULT_KEEPALIVE_TIMEOUT, value_name = "MILLISECONDS")]
    pub grpc_keepalive_timeout: NonZeroU32,
    /// Milliseconds, up to a tenth more or less, after which a client of gRPC is told to connect anew, so that clients spread
    /// over new pods; never by default.
    #[arg(long, value_name = "MILLISECONDS")]
    pub grpc_max_connection_age: Option<NonZeroU32>,
    /// Milliseconds that its calls may go on for then; as long as they take by default.
    #[arg(long, value_name = "MILLISECONDS", requires = "grpc_max_connection_age")]
    pub grpc_max_connection_age_grace: Option<u32>,
}

const DEFAULT_KEEPALIVE: NonZeroU32 = NonZeroU32::new(10_000).unwrap();
const DEFAULT_KEEPALIVE_TIMEOUT: NonZeroU32 = NonZeroU32::new(20_000).unwrap();
