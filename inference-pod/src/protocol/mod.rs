//! The fronts: HTTP and gRPC of the Open Inference Protocol v2, REST for people, and the operations port.
//!
//! Each decodes what it gets into an `InferenceRequest` and encodes the answer; none of them knows how models run.

pub(crate) mod binary_tensor;
mod body;
pub mod grpc_v2;
pub mod http_v2;
mod intake;
mod json_tensor;
pub mod operations;
mod parameters;
pub mod rest;
mod status;

pub use intake::{Accepted, Intake};

use std::sync::Arc;

use crate::lifecycle::Lifecycle;
use crate::models::{Registry, State, VersionStatus};

/// Name that the server gives itself.
pub const SERVER_NAME: &str = "aiops-inference-pod";
/// Extensions of the protocol that work.
pub const EXTENSIONS: [&str; 3] = ["model_configuration", "binary_tensor_data", "statistics"];

/// What every front needs.
pub struct Service {
    /// Models that answer.
    pub registry: Arc<Registry>,
    /// Whether the pod is ready.
    pub lifecycle: Arc<Lifecycle>,
    /// How requests are taken in.
    pub intake: Intake,
}

/// Known versions for the repository index; with `ready`, only those that answer.
fn index(service: &Service, ready: bool) -> Vec<VersionStatus> {
    let mut states = service.registry.states();
    states.retain(|status| !ready || status.state == State::Ready);
    states
}
