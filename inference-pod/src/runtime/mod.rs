//! ONNX Runtime: its library, its one environment with one thread pool, and sessions of models.
//!
//! Only this room knows the `ort` crate.

mod devices;
mod library;
mod session;
mod strings;
mod values;
mod weights;

pub use devices::{Device, Gpus};
pub use library::find as find_library;
pub use session::{Answer, GraphSession, RunInput, SessionError, zeros};
pub use values::OutputTensor;
pub(crate) use values::gathered;
pub use weights::SharedWeights;

use std::path::Path;

use anyhow::Context as _;
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{RunOptions, Session};

use crate::configuration::{GraphOptimization, SessionSettings};

/// The runtime of this process. Cloning is cheap.
#[derive(Clone)]
pub struct Runtime {
    environment: Environment,
    threads: usize,
    gpus: Gpus,
}

/// CPUs that this process may use: the affinity mask and the quotas of cgroups v1 and v2, not the host's cores.
pub fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl Runtime {
    /// Loads the library and starts one pool of `threads` for all models. May be called once in a process.
    pub fn start(library: &Path, threads: usize, gpus: Gpus) -> anyhow::Result<Self> {
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
        devices::check(library, gpus)?;
        environment.set_log_level(ort::logging::LogLevel::Warning);
        tracing::info!(library = %library.display(), threads, "ONNX Runtime is loaded");
        Ok(Self {
            environment,
            threads,
            gpus,
        })
    }

    /// GPUs that models may run on.
    pub fn gpus(&self) -> Gpus {
        self.gpus
    }

    /// Opens the graph in `path` on a device. Blocks for as long as ONNX Runtime takes to read and optimize it.
    pub fn open(
        &self,
        path: &Path,
        device: Device,
        weights: &SharedWeights,
        settings: &SessionSettings,
    ) -> Result<GraphSession, SessionError> {
        let session = self
            .builder(device, weights, settings)
            .and_then(|mut builder| builder.commit_from_file(path))
            .map_err(|error| SessionError::Refused(one_line(&error.to_string())))?;
        let run_options =
            run_options(settings).map_err(|error| SessionError::Refused(one_line(&error.to_string())))?;
        GraphSession::new(session, run_options)
    }

    fn builder(
        &self,
        device: Device,
        weights: &SharedWeights,
        settings: &SessionSettings,
    ) -> ort::Result<SessionBuilder> {
        let mut builder = weights
            .lend(Session::builder(&self.environment)?)?
            .with_optimization_level(optimization_level(settings.optimization))?
            .with_memory_pattern(settings.memory_pattern)?
            .with_execution_providers(devices::providers(device, settings))?;
        if settings.has_own_threads() {
            // A pool that the configuration leaves open is as large as the one that all share, and it does not spin either.
            let threads = settings.intra_op_threads.unwrap_or(self.threads);
            builder = builder
                .with_independent_thread_pool()?
                .with_intra_threads(threads)?
                .with_inter_threads(settings.inter_op_threads.unwrap_or(self.threads))?
                .with_intra_op_spinning(false)?
                .with_inter_op_spinning(false)?;
        }
        if settings.parallel {
            builder = builder.with_parallel_execution(true)?;
        }
        if settings.initializers_outside_arena {
            builder = builder.with_device_allocated_initializers()?;
        }
        Ok(builder)
    }
}

/// Options of every run; none where the defaults will do.
fn run_options(settings: &SessionSettings) -> ort::Result<Option<RunOptions>> {
    if !settings.shrink_arena || !settings.memory_arena {
        return Ok(None);
    }
    let mut options = RunOptions::new()?;
    options.set("memory.enable_memory_arena_shrinkage", "cpu:0")?;
    Ok(Some(options))
}

fn optimization_level(optimization: GraphOptimization) -> GraphOptimizationLevel {
    match optimization {
        GraphOptimization::All => GraphOptimizationLevel::All,
        GraphOptimization::Extended => GraphOptimizationLevel::Level2,
        GraphOptimization::Basic => GraphOptimizationLevel::Level1,
        GraphOptimization::None => GraphOptimizationLevel::Disable,
    }
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}
