//! The fronts: HTTP and gRPC of the Open Inference Protocol v2, REST for people, and the operations port.
//!
//! Each decodes what it gets into an `InferenceRequest` and encodes the answer; none of them knows how models run.

pub mod access;
pub(crate) mod binary_tensor;
mod body;
mod classification;
mod compression;
mod exchange;
pub mod grpc_v2;
pub mod http_v2;
mod intake;
mod json_tensor;
pub mod operations;
mod parameters;
mod repository;
pub mod request_id;
pub mod rest;
mod settings;
mod shared_memory;
mod status;
mod version;

pub use intake::{Accepted, Intake};
pub use repository::ModelControl;
pub use shared_memory::SharedMemory;

use std::sync::Arc;

use crate::error::InferenceError;
use crate::lifecycle::Lifecycle;
use crate::models::Registry;
use crate::traces::Traces;

/// Name that the server gives itself.
pub const SERVER_NAME: &str = "aiops-inference-pod";

/// The heap, among the kinds of memory of the statistics extension.
const MEMORY_TYPE: &str = "CPU";

const NO_CUDA_MEMORY: &str =
    "CUDA shared memory is not supported by this server, send tensors in the request";

/// The answer about a region of CUDA memory, of which there is none.
fn no_cuda_region(region: &str) -> InferenceError {
    InferenceError::not_found(format!("Unable to find cuda shared memory region: '{region}'"))
}

/// Whose statistics were asked for is not there. The index says why.
fn no_statistics(model: &str, version: Option<u64>) -> InferenceError {
    InferenceError::invalid(match version {
        None => format!("requested model '{model}' is not available"),
        Some(_) => format!("requested model version is not available for model '{model}'"),
    })
}

/// What every front needs.
pub struct Service {
    /// Models that answer.
    pub registry: Arc<Registry>,
    /// Whether the pod is ready.
    pub lifecycle: Arc<Lifecycle>,
    /// How requests are taken in.
    pub intake: Intake,
    /// Who decides what is served.
    pub control: ModelControl,
    /// Who may call what.
    pub access: Arc<access::Access>,
    /// What is traced.
    pub trace: Arc<Traces>,
    /// The scheme of URLs of HTTP and REST: `http`, or `https` under TLS.
    pub http_scheme: &'static str,
    /// Regions of memory that clients share with this server.
    pub shared_memory: Arc<SharedMemory>,
}

impl Service {
    /// Extensions of the protocol that work, in Triton's order.
    fn extensions(&self) -> Vec<&'static str> {
        let explicit = matches!(self.control, ModelControl::Explicit(_));
        let extensions = [
            ("classification", true),
            ("model_repository", explicit),
            ("model_repository(unload_dependents)", explicit),
            ("schedule_policy", true),
            ("model_configuration", true),
            ("system_shared_memory", self.shared_memory.is_allowed()),
            ("binary_tensor_data", true),
            ("statistics", true),
            ("trace", self.trace.has_outlet()),
            ("logging", true),
        ];
        let works = |(name, works): (&'static str, bool)| works.then_some(name);
        extensions.into_iter().filter_map(works).collect()
    }
}
