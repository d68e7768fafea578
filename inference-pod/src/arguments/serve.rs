//! The command line of the server, by what the flags are about.

use clap::{ArgAction, Args};

use super::{
    AccessArguments, CacheArguments, CommonArguments, ConnectionArguments, ListenArguments, LoadingArguments,
    ModelArguments, ObserveArguments, RestArguments, TlsArguments,
};

/// Flags of the server.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// What is served.
    #[command(flatten)]
    pub models: ModelArguments,
    /// Which answers are kept.
    #[command(flatten)]
    pub cache: CacheArguments,
    /// How it is loaded.
    #[command(flatten)]
    pub loading: LoadingArguments,
    /// Where the server listens.
    #[command(flatten)]
    pub listen: ListenArguments,
    /// What the REST front offers to browsers.
    #[command(flatten)]
    pub rest: RestArguments,
    /// How much of what clients may send.
    #[command(flatten)]
    pub limits: LimitArguments,
    /// How connections live.
    #[command(flatten)]
    pub connections: ConnectionArguments,
    /// How they are secured.
    #[command(flatten)]
    pub tls: TlsArguments,
    /// Who may call what.
    #[command(flatten)]
    pub access: AccessArguments,
    /// What it tells of itself.
    #[command(flatten)]
    pub observe: ObserveArguments,
    /// How it ends.
    #[command(flatten)]
    pub shutdown: ShutdownArguments,
    /// Flags that both commands have.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// Limits of requests.
#[derive(Debug, Args)]
pub struct LimitArguments {
    /// Most bytes of a request over HTTP or REST.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES")]
    pub http_max_input_size: usize,
    /// Most bytes of memory that requests may take together, estimated as 8 times (rows over REST: 16 times) their size; by
    /// default half of the container's memory limit, and unbounded where there is none.
    #[arg(long, value_name = "BYTES")]
    pub max_request_memory: Option<usize>,
    /// Let clients on the same machine name objects of POSIX shared memory for inputs and outputs. Whoever can call this
    /// server can then read and write those that it can.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_client_shm: bool,
}

/// The way out.
#[derive(Debug, Args)]
pub struct ShutdownArguments {
    /// Seconds to go on accepting requests after SIGTERM, until no load balancer sends any more.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub drain_delay_secs: u64,
    /// Seconds to wait for accepted requests before the process ends.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub exit_timeout_secs: u64,
}
