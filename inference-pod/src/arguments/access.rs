//! Who may call what.

use clap::{ArgAction, Args};

/// Flags of access.
#[derive(Debug, Args)]
pub struct AccessArguments {
    /// APIs of HTTP that ask for a header: <API>,<API>…:<header>=<value>, the value in the open, as @/path/of/a/file or as
    /// env:VARIABLE; may be given several times. APIs are health, metadata, inference, shared-memory, model-config,
    /// model-repository, statistics, trace and logging.
    #[arg(long, value_name = "APIS:HEADER=VALUE")]
    pub http_restricted_api: Vec<String>,
    /// The same for gRPC, where the header is triton-grpc-protocol-<header>.
    #[arg(long, value_name = "PROTOCOLS:HEADER=VALUE")]
    pub grpc_restricted_protocol: Vec<String>,
    /// The same for REST, which has health, metadata and inference.
    #[arg(long, value_name = "APIS:HEADER=VALUE")]
    pub rest_restricted_api: Vec<String>,
    /// Let every client change log and trace settings. Without it, only those that show the header of a restriction of
    /// logging or trace may.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub allow_settings_changes: bool,
}
