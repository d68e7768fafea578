//! What is served, from where, and on how many threads.

use std::path::PathBuf;

use aiops_model_repository::Location;
use clap::{ArgAction, Args, ValueEnum};

use super::parse_location;

/// Who decides what is served when no serving plan does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ModelControlMode {
    /// The repository, when the server starts.
    None,
    /// Calls of clients.
    Explicit,
}

/// Models.
#[derive(Debug, Args)]
pub struct ModelArguments {
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
    /// Folder that keeps models fetched from S3. Servers of one machine may share it; see --model-cache-size.
    #[arg(long, env = "AIOPS_MODEL_CACHE", value_name = "FOLDER", default_value_os_t = default_cache())]
    pub model_cache: PathBuf,
    /// End with an error when a model cannot be loaded at the start. With a serving plan the server stays and tries again.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub exit_on_error: bool,
    /// Run models on GPUs where their instance_group says so. Needs ONNX Runtime with CUDA, as the image inference-pod-gpu has it.
    #[arg(long, env = "AIOPS_ENABLE_GPU", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub enable_gpu: bool,
    /// Threads that run models; by default the CPUs that this process may use, cgroup limits included.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub inference_threads: Option<u16>,
}

fn default_cache() -> PathBuf {
    std::env::temp_dir().join("aiops-models")
}
