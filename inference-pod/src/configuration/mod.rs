//! The configuration of a model: `config.pbtxt`, or what its graph says, in one checked form.
//!
//! A setting that cannot be honoured is an error that names its line; nothing is ignored without a word.

mod checked;
mod complete;
mod ensemble;
mod instances;
mod json;
mod queues;
mod read;
mod schema;
mod session;
mod support;
mod support_table;
mod text_format;
mod tokens;
mod warm_up;
mod write;

pub use complete::{GraphTensor, complete};
pub use ensemble::{EnsembleScheduling, EnsembleStep, complete_ensemble};
pub use instances::{InstanceGroup, InstanceKind};
pub use json::from_json;
pub use queues::{Priorities, QueuePolicy, TimeoutAction};
pub use read::read;
pub use session::{GpuSettings, GraphOptimization, SessionSettings};
pub use text_format::ConfigError;
pub use warm_up::{WarmUp, WarmUpData, WarmUpInput};
pub use write::{datatype_name, write};

use std::collections::BTreeMap;
use std::time::Duration;

use crate::tensor::DataType;

/// File that holds the graph unless `default_model_filename` names another.
pub const DEFAULT_MODEL_FILE: &str = "model.onnx";
/// The protocol's name for what runs a graph.
pub const PLATFORM: &str = "onnxruntime_onnx";
/// The protocol's name for models that are called one after another as one.
pub const ENSEMBLE_PLATFORM: &str = "ensemble";
/// Requests that may wait in the queue of a model version unless its configuration says otherwise.
pub const DEFAULT_MAX_QUEUE_SIZE: u32 = 1024;

/// Configuration of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelConfig {
    /// Name of the model; empty until completed.
    pub name: String,
    /// Largest number of rows to run at once; 0 when the first dimension is none of rows.
    pub max_batch_size: u32,
    /// Input tensors, without their batch dimension.
    pub inputs: Vec<TensorConfig>,
    /// Output tensors, without their batch dimension.
    pub outputs: Vec<TensorConfig>,
    /// File of the graph in the version's folder.
    pub model_file: String,
    /// Sessions that work at the same time, by what they run on; at least one group.
    pub instance_groups: Vec<InstanceGroup>,
    /// Present when requests that wait together run as one batch.
    pub dynamic_batching: Option<DynamicBatching>,
    /// The steps of a model that has no graph of its own.
    pub ensemble: Option<EnsembleScheduling>,
    /// Whether answers are kept for requests that ask the same again.
    pub response_cache: bool,
    /// Which versions are served when no serving plan says so.
    pub version_policy: VersionPolicy,
    /// Parameters as they were written, kept for those who read the configuration back.
    pub parameters: BTreeMap<String, String>,
    /// Labels of the model's metrics besides its name and version.
    pub metric_tags: BTreeMap<String, String>,
    /// How ONNX Runtime runs the model.
    pub session: SessionSettings,
    /// What is run before the version answers; one row of zeros where there is nothing.
    pub warm_ups: Vec<WarmUp>,
    /// What was set and has no effect here, each with its line; for the log.
    pub warnings: Vec<String>,
}

/// A tensor as clients see it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorConfig {
    /// Name in the graph.
    pub name: String,
    /// Element type.
    pub datatype: DataType,
    /// Sizes without the batch dimension; -1 where any size goes.
    pub dims: Vec<i64>,
    /// The graph's own sizes, without the batch dimension, where they differ.
    pub reshape: Option<Vec<i64>>,
    /// File with the names of an output's classes, one a line.
    pub label_filename: Option<String>,
}

/// How requests are put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DynamicBatching {
    /// Batch sizes that are worth waiting for; empty for `max_batch_size` alone.
    pub preferred_batch_sizes: Vec<u32>,
    /// How long the oldest request may wait for company while a worker is idle.
    pub max_queue_delay: Duration,
    /// Whether answers leave in the order in which their requests came.
    pub preserve_ordering: bool,
    /// Who may wait, and for how long.
    pub queue: QueuePolicy,
    /// Which requests go before which.
    pub priorities: Priorities,
}

/// Triton's version policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPolicy {
    /// The highest so many versions.
    Latest(u32),
    /// Every version.
    All,
    /// These versions.
    Specific(Vec<u64>),
}

impl Default for VersionPolicy {
    fn default() -> Self {
        Self::Latest(1)
    }
}

impl VersionPolicy {
    /// Which of the versions that there are (ascending) are to be served.
    pub fn choose(&self, available: &[u64]) -> Vec<u64> {
        match self {
            Self::All => available.to_vec(),
            Self::Latest(count) => available[available.len().saturating_sub(*count as usize)..].to_vec(),
            Self::Specific(wanted) => available
                .iter()
                .copied()
                .filter(|version| wanted.contains(version))
                .collect(),
        }
    }

    /// Which versions are wanted by their numbers and are not there.
    pub fn absent(&self, available: &[u64]) -> Vec<u64> {
        match self {
            Self::Specific(wanted) => wanted
                .iter()
                .copied()
                .filter(|version| !available.contains(version))
                .collect(),
            Self::All | Self::Latest(_) => Vec::new(),
        }
    }
}

impl TensorConfig {
    /// The shape that clients see, with -1 for the batch dimension.
    pub fn client_shape(&self, max_batch_size: u32) -> Vec<i64> {
        with_batch(&self.dims, max_batch_size)
    }

    /// The shape that the graph has, with -1 for the batch dimension.
    pub fn graph_shape(&self, max_batch_size: u32) -> Vec<i64> {
        with_batch(self.reshape.as_ref().unwrap_or(&self.dims), max_batch_size)
    }
}

fn with_batch(dims: &[i64], max_batch_size: u32) -> Vec<i64> {
    let batch = (max_batch_size > 0).then_some(-1);
    batch.into_iter().chain(dims.iter().copied()).collect()
}

impl ModelConfig {
    /// Sessions that work at the same time.
    pub fn instances(&self) -> usize {
        instances::sessions(&self.instance_groups)
    }

    /// The protocol's name for what runs it.
    pub fn platform(&self) -> &'static str {
        match self.ensemble {
            Some(_) => ENSEMBLE_PLATFORM,
            None => PLATFORM,
        }
    }
}
