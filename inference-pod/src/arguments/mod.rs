//! The command line. Flags have tritonserver's names and defaults where tritonserver has the feature.

mod access;
mod cache;
mod connections;
mod listen;
mod loading;
mod models;
mod observe;
mod publish;
mod rest;
mod serve;
mod tls;

pub use access::AccessArguments;
pub use cache::CacheArguments;
pub use connections::ConnectionArguments;
pub use listen::{CompressionLevel, ListenArguments};
pub use loading::LoadingArguments;
pub use models::{ModelArguments, ModelControlMode};
pub use observe::{MetricsConfig, ObserveArguments, TraceConfig};
pub use publish::PublishArguments;
pub use rest::{CorsOrigin, RestArguments};
pub use serve::{LimitArguments, ServeArguments, ShutdownArguments};
pub use tls::{GrpcTlsArguments, HttpTlsArguments, MetricsTlsArguments, TlsArguments};

use std::path::PathBuf;

use aiops_model_repository::Location;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// A model server for ONNX models, with Triton's protocol, flags and repository.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Arguments {
    /// Flags of the server.
    #[command(flatten)]
    pub serve: ServeArguments,
    /// Something else than serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What this program does besides serving.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a model in the runtime that will serve it, and write it into a model repository.
    Publish(PublishArguments),
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Default,
    /// One JSON object a line.
    Json,
}

/// Flags that both commands have.
#[derive(Debug, Args)]
pub struct CommonArguments {
    /// ONNX Runtime's shared library; looked for in the usual places when absent.
    #[arg(long, env = "ORT_DYLIB_PATH", value_name = "FILE")]
    pub onnxruntime_library: Option<PathBuf>,
    /// How log lines look.
    #[arg(long, value_enum, default_value_t = LogFormat::Default, env = "AIOPS_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// 0 logs loads, unloads and errors; 1 and above log more. RUST_LOG overrides it.
    #[arg(long, default_value_t = 0, value_name = "LEVEL")]
    pub log_verbose: u8,
}

fn parse_location(uri: &str) -> Result<Location, String> {
    uri.parse::<Location>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from([&["server"], arguments].concat())
    }

    #[test]
    fn flags_are_taken_as_tritonserver_takes_them() {
        for arguments in [
            &[
                "--model-repository=/models",
                "--http-port=9000",
                "--exit-on-error=false",
            ][..],
            &[
                "--model-store",
                "/models",
                "--http-port",
                "9000",
                "--exit-on-error",
                "false",
            ],
        ] {
            let serve = parse(arguments).unwrap().serve;
            assert_eq!(
                serve.models.model_repository.unwrap(),
                Location::Folder("/models".into())
            );
            assert_eq!(
                (
                    serve.listen.http_port,
                    serve.listen.grpc_port,
                    serve.shutdown.exit_timeout_secs
                ),
                (9000, 8001, 30)
            );
            assert!(!serve.models.exit_on_error);
        }
    }

    #[test]
    fn what_is_unknown_or_missing_is_an_error() {
        for arguments in [
            &["--model-repository=/models", "--backend-directory=/x"][..],
            &["--http-port=1"],
            &[],
            &["--model-repository=gs://models"],
            &["--model-repository=/models", "--inference-threads=0"],
            &["publish", "--model-repository=/m", "--model=a", "--version=1"],
            &[
                "publish",
                "--input=/w",
                "--model-repository=/m",
                "--model=a",
                "--version=0",
            ],
        ] {
            assert!(parse(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn publish_is_told_apart() {
        let arguments = [
            "publish",
            "--source",
            "s3://b/x/model.onnx",
            "--model-repository",
            "/m",
            "--model",
            "a",
            "--version",
            "3",
        ];
        let Some(Command::Publish(publish)) = parse(&arguments).unwrap().command else {
            panic!("publish")
        };
        assert_eq!(publish.version, 3);
    }
}
