//! The command line of `publish`.

use std::path::PathBuf;

use aiops_model_repository::Location;
use clap::Args;

use super::{CommonArguments, parse_location};

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
