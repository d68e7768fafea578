//! The command line. Flags have tritonserver's names and defaults where tritonserver has the feature.

use std::net::IpAddr;
use std::path::PathBuf;

use aiops_model_repository::Location;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

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

/// Who decides what is served when no serving plan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelControlMode {
    /// The repository, when the server starts.
    None,
    /// Calls of clients.
    Explicit,
}

/// How answers over gRPC are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CompressionLevel {
    /// Not at all.
    None,
    /// As the others: there is one level.
    Low,
    /// As the others: there is one level.
    Medium,
    /// As the others: there is one level.
    High,
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

/// Flags of the server.
#[derive(Debug, Args)]
pub struct ServeArguments {
    /// Model repository: a folder, s3://bucket/prefix, s3://host:port/bucket/prefix or s3://https://host:port/bucket/prefix.
    #[arg(long, alias = "model-store", value_name = "URI", value_parser = parse_location, required = true)]
    pub model_repository: Option<Location>,
    /// Serving plan to follow; without one, every model is served as its version_policy says.
    #[arg(long, value_name = "FILE")]
    pub serving_plan: Option<PathBuf>,
    /// Who decides what is served: the repository when the server starts (none), or the calls that load and unload models.
    #[arg(long, value_enum, default_value_t = ModelControlMode::None, value_name = "MODE")]
    pub model_control_mode: ModelControlMode,
    /// Model to load when the server starts, * for all; may be given several times. Only with --model-control-mode=explicit.
    #[arg(long, value_name = "MODEL")]
    pub load_model: Vec<String>,
    /// Folder that keeps models fetched from S3. It is this server's own: what it does not serve is removed from it.
    #[arg(long, env = "AIOPS_MODEL_CACHE", value_name = "FOLDER", default_value_os_t = default_cache())]
    pub model_cache: PathBuf,
    /// Address of the HTTP server (Open Inference Protocol v2).
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub http_address: IpAddr,
    /// Port of the HTTP server (Open Inference Protocol v2).
    #[arg(long, default_value_t = 8000, value_name = "PORT")]
    pub http_port: u16,
    /// Address of the gRPC server.
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub grpc_address: IpAddr,
    /// Port of the gRPC server.
    #[arg(long, default_value_t = 8001, value_name = "PORT")]
    pub grpc_port: u16,
    /// Whether answers over gRPC are compressed (gzip) for clients that accept it.
    #[arg(long, value_enum, default_value_t = CompressionLevel::None, value_name = "LEVEL")]
    pub grpc_infer_response_compression_level: CompressionLevel,
    /// Address of the metrics server.
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub metrics_address: IpAddr,
    /// Port of the metrics server, which also tells the state of the serving plan.
    #[arg(long, default_value_t = 8002, value_name = "PORT")]
    pub metrics_port: u16,
    /// Address of the REST server (rows in, predictions out).
    #[arg(long, default_value = "0.0.0.0", value_name = "ADDRESS")]
    pub rest_address: IpAddr,
    /// Port of the REST server (rows in, predictions out).
    #[arg(long, default_value_t = 8080, value_name = "PORT")]
    pub rest_port: u16,
    /// Most bytes of a request over HTTP or REST.
    #[arg(long, default_value_t = 64 << 20, value_name = "BYTES")]
    pub http_max_input_size: usize,
    /// Most bytes of memory that requests may take together, estimated as 8 times (rows over REST: 16 times) their size; by
    /// default half of the container's memory limit, and unbounded where there is none.
    #[arg(long, value_name = "BYTES")]
    pub max_request_memory: Option<usize>,
    /// Seconds to go on accepting requests after SIGTERM, until no load balancer sends any more.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    pub drain_delay_secs: u64,
    /// Seconds to wait for accepted requests before the process ends.
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    pub exit_timeout_secs: u64,
    /// End with an error when a model cannot be loaded at the start. With a serving plan the server stays and tries again.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub exit_on_error: bool,
    /// Threads that run models; by default the CPUs that this process may use, cgroup limits included.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub inference_threads: Option<u16>,
    /// Flags that both commands have.
    #[command(flatten)]
    pub common: CommonArguments,
}

/// Flags of `publish`.
#[derive(Debug, Args)]
pub struct PublishArguments {
    /// Folder with model.onnx, and conversion.json and samples.safetensors where there are any.
    #[arg(
        long,
        value_name = "FOLDER",
        required_unless_present = "source",
        conflicts_with = "source"
    )]
    pub input: Option<PathBuf>,
    /// ONNX file: s3://bucket/path/model.onnx or a path.
    #[arg(long, value_name = "URI", value_parser = parse_location)]
    pub source: Option<Location>,
    /// Model repository to write to.
    #[arg(long, value_name = "URI", value_parser = parse_location)]
    pub model_repository: Location,
    /// Name of the model.
    #[arg(long)]
    pub model: String,
    /// Version number, which must be new.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub version: u64,
    /// Folder for a downloaded source.
    #[arg(long, value_name = "FOLDER", default_value = "/publish")]
    pub work_folder: PathBuf,
    /// File for the termination message.
    #[arg(long, value_name = "FILE", default_value = "/dev/termination-log")]
    pub termination_log: PathBuf,
    /// Flags that both commands have.
    #[command(flatten)]
    pub common: CommonArguments,
}

fn default_cache() -> PathBuf {
    std::env::temp_dir().join("aiops-models")
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
                serve.model_repository.unwrap(),
                Location::Folder("/models".into())
            );
            assert_eq!(
                (serve.http_port, serve.grpc_port, serve.exit_timeout_secs),
                (9000, 8001, 30)
            );
            assert!(!serve.exit_on_error);
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
