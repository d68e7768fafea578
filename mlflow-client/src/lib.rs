//! A client for the part of MLflow's REST interface that AI Ops needs, typed and with one closed set of errors.
//!
//! It holds no state but its connections and retries nothing itself: a call that fails with
//! [`ErrorKind::Unreachable`] may be made again, and the `ensure_` and `get_or_create_` calls may be made
//! again after any failure without leaving a second run, model or version behind.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use aiops_mlflow_client::{Client, Config};
//!
//! let client = Client::new(Config::new("http://localhost:5000".parse()?))?;
//! let experiment = client.get_or_create_experiment("team/churn", &[]).await?;
//! # Ok(()) }
//! ```

mod artifacts;
mod authentication;
mod client;
mod error;
mod experiments;
mod filter;
mod logged_models;
mod model_versions;
mod registry;
mod runs;
mod server;
mod wire;

pub use artifacts::{ArtifactStream, FileInfo};
pub use authentication::Authentication;
pub use client::{Client, Config, ConfigurationError};
pub use error::{Error, ErrorKind};
pub use experiments::Experiment;
pub use filter::Filter;
pub use logged_models::{LoggedModel, LoggedModelInfo, LoggedModelStatus};
pub use model_versions::{ModelVersion, ModelVersionStatus, NewModelVersion, Stage};
pub use registry::{Alias, RegisteredModel};
pub use runs::{
    LogBatch, Metric, ModelOutput, NewRun, Run, RunData, RunInfo, RunOutputs, RunSearch, RunStatus,
};
pub use server::ServerInfo;
pub use wire::{Param, Tag, tag_value};

/// The tag by which the `ensure_` calls recognise what they made before: the UID of the Kubernetes object (with a
/// suffix where one object owns several runs).
pub const UID_TAG: &str = "aiops.dev/uid";
