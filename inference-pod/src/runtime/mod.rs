//! ONNX Runtime: its library, its one environment with one thread pool, and sessions of models.
//!
//! Only this room knows the `ort` crate.

mod library;
mod session;
mod values;

pub use library::find as find_library;
pub use session::{Answer, GraphSession, RunInput, SessionError, zeros};
pub use values::OutputTensor;

use std::path::Path;

use anyhow::Context as _;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::session::Session;
use ort::session::builder::PrepackedWeights;

/// Weights in the layout that the processor likes, shared by the sessions of one model.
pub type SharedWeights = PrepackedWeights;

/// The runtime of this process. Cloning is cheap.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
}

/// CPUs that this process may use: the affinity mask and the quotas of cgroups v1 and v2, not the host's cores.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Runtime {
    /// Loads the library and starts one pool of `threads` for all models. May be called once in a process.
    pub fn start(library: &Path, threads: usize) -> anyhow::Result<Self> {
        // The library comes first: everything else calls into it.
        let environment = ort::init_from(library)
            .with_context(|| format!("ONNX Runtime cannot be loaded from {}", library.display()))?;
        let pool = GlobalThreadPoolOptions::default()
            .with_intra_threads(threads)?
            .with_inter_threads(1)?
            // A pod has a quota: threads that spin while they wait spend it on nothing.
            .with_spin_control(false)?;
        let environment = environment
            .with_name("aiops-inference-pod")
            .with_telemetry(false)
            .with_global_thread_pool(pool)
            .build()?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        tracing::info!(library = %library.display(), threads, "ONNX Runtime is loaded");
        Ok(Self { environment })
    }

    /// Opens the graph in `path`. Blocks for as long as ONNX Runtime takes to read and optimize it.
    pub fn open(&self, path: &Path, weights: &SharedWeights) -> Result<GraphSession, SessionError> {
        let session = Session::builder(&self.environment)
            .and_then(|builder| builder.with_prepacked_weights(weights).map_err(Into::into))
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| SessionError::Refused(one_line(&error.to_string())))?;
        GraphSession::new(session)
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
