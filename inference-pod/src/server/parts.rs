//! What the server is made of, from its command line.

use std::sync::Arc;

use aiops_model_repository::Repository;
use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::arguments::{ModelControlMode, ServeArguments};
use crate::lifecycle::Lifecycle;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::models::{Keeper, Loader, Registry};
use crate::protocol::operations::Operations;
use crate::protocol::{Accepted, Intake, ModelControl, Service};
use crate::runtime::{self, Runtime};
use crate::traces::{TraceConfiguration, Traces};

pub(super) struct Parts {
    pub(super) service: Arc<Service>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) operations: Arc<Operations>,
}

pub(super) fn prepare(arguments: &ServeArguments) -> anyhow::Result<Parts> {
    let library = runtime::find_library(arguments.common.onnxruntime_library.as_deref())?;
    let threads = arguments
        .models
        .inference_threads
        .map_or_else(runtime::available_threads, usize::from);
    let runtime = Runtime::start(&library, threads)?;
    let location = arguments
        .models
        .model_repository
        .clone()
        .context("--model-repository is missing")?;
    let repository = Repository::open(location).context("--model-repository")?;
    let registry = Arc::new(Registry::default());
    let lifecycle = Arc::new(Lifecycle::default());
    let metrics = Arc::new(Metrics::new(arguments.observe.metrics()));
    let traces = TraceConfiguration::new(&arguments.observe.trace_config, |name| std::env::var(name).ok())?;
    let loader = Loader {
        repository,
        cache: arguments.models.model_cache.clone(),
        runtime,
        metrics: Arc::clone(&metrics),
    };
    loader.clean_cache();
    let keeper = Arc::new(Keeper::new(loader, Arc::clone(&registry), Arc::clone(&lifecycle)));
    let budget = Budget::new(arguments.limits.max_request_memory);
    tracing::info!(bytes = budget.limit(), "memory for requests");
    let service = Arc::new(Service {
        trace: Arc::new(Traces::start(&traces)?),
        control: control(arguments, &keeper, &registry)?,
        registry: Arc::clone(&registry),
        lifecycle,
        intake: Intake {
            max_body_bytes: arguments.limits.http_max_input_size,
            budget,
            stop: CancellationToken::new(),
            accepted: Accepted::default(),
        },
    });
    let operations = Arc::new(Operations {
        metrics: arguments.observe.allow_metrics.then_some(metrics),
        registry,
        keeper: Arc::clone(&keeper),
    });
    Ok(Parts {
        service,
        keeper,
        operations,
    })
}

fn control(
    arguments: &ServeArguments,
    keeper: &Arc<Keeper>,
    registry: &Registry,
) -> anyhow::Result<ModelControl> {
    let explicit = arguments.models.model_control_mode == ModelControlMode::Explicit;
    anyhow::ensure!(
        explicit || arguments.models.load_model.is_empty(),
        "--load-model needs --model-control-mode=explicit"
    );
    match &arguments.models.serving_plan {
        Some(_) if explicit => anyhow::bail!(
            "--model-control-mode=explicit and --serving-plan exclude each other: either calls decide what is served or the plan does"
        ),
        Some(_) => Ok(ModelControl::ServingPlan),
        None if explicit => {
            registry.remember_unloaded();
            Ok(ModelControl::Explicit(Arc::clone(keeper)))
        }
        None => Ok(ModelControl::Repository),
    }
}
