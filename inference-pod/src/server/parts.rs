//! What the server is made of, from its command line.

use std::sync::Arc;

use aiops_model_repository::{Cache, Repository};
use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use crate::arguments::{LoadingArguments, ModelControlMode, ServeArguments};
use crate::lifecycle::Lifecycle;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::models::{Admission, AdmissionSettings, Keeper, LoadThreads, Loader, Registry, ResponseCache};
use crate::protocol::access::Access;
use crate::protocol::operations::Operations;
use crate::protocol::{Accepted, Intake, ModelControl, Service, SharedMemory};
use crate::runtime::{self, Gpus, Runtime};
use crate::traces::{TraceConfiguration, Traces};

pub(super) struct Parts {
    pub(super) service: Arc<Service>,
    pub(super) keeper: Arc<Keeper>,
    pub(super) operations: Arc<Operations>,
    pub(super) metrics: Arc<Metrics>,
}

pub(super) fn prepare(arguments: &ServeArguments) -> anyhow::Result<Parts> {
    let library = runtime::find_library(arguments.common.onnxruntime_library.as_deref())?;
    let threads = arguments
        .models
        .inference_threads
        .map_or_else(runtime::available_threads, usize::from);
    let gpus = if arguments.models.enable_gpu {
        Gpus::visible()
    } else {
        Gpus::Off
    };
    let runtime = Runtime::start(&library, threads, gpus)?;
    let location = arguments
        .models
        .model_repository
        .clone()
        .context("--model-repository is missing")?;
    let repository = Repository::open(location).context("--model-repository")?;
    let registry = Arc::new(Registry::default());
    let lifecycle = Arc::new(Lifecycle::default());
    let response_cache = arguments.cache.size()?.map(ResponseCache::new);
    let mut metrics = Metrics::new(arguments.observe.metrics());
    if let Some(cache) = &response_cache {
        tracing::info!(bytes = cache.limit(), "memory for kept answers");
        metrics.watch(cache.collector());
    }
    let metrics = Arc::new(metrics);
    let traces = TraceConfiguration::new(&arguments.observe.trace_config, |name| std::env::var(name).ok())?;
    let access = Access::new(
        &arguments.access.http_restricted_api,
        &arguments.access.grpc_restricted_protocol,
        &arguments.access.rest_restricted_api,
        arguments.access.allow_settings_changes,
    )?;
    if arguments.models.model_control_mode == ModelControlMode::Explicit {
        access.warn_of_open_repository();
    }
    let budget = Budget::new(arguments.limits.max_request_memory);
    tracing::info!(bytes = budget.limit(), "memory for requests");
    let loader = Loader {
        repository,
        cache: Cache::new(&arguments.models.model_cache).with_capacity(arguments.loading.model_cache_size),
        runtime,
        metrics: Arc::clone(&metrics),
        registry: Arc::clone(&registry),
        response_cache,
        threads: load_threads(&arguments.loading)?,
        admission: admission(&arguments.loading, &budget),
        retries: arguments.loading.model_load_retry_count,
    };
    loader.cache.clean_leftovers();
    let keeper = Arc::new(Keeper::new(loader, Arc::clone(&registry), Arc::clone(&lifecycle)));
    let service = Arc::new(Service {
        access: Arc::new(access),
        trace: Arc::new(Traces::start(&traces)?),
        http_scheme: match arguments.tls.http.files()? {
            Some(_) => "https",
            None => "http",
        },
        shared_memory: Arc::new(SharedMemory::new(arguments.limits.allow_client_shm)),
        control: control(arguments, &keeper, &registry)?,
        registry: Arc::clone(&registry),
        lifecycle: Arc::clone(&lifecycle),
        intake: Intake {
            max_body_bytes: arguments.limits.http_max_input_size,
            max_message_bytes: arguments.connections.grpc_max_input_size as usize,
            budget,
            stop: CancellationToken::new(),
            accepted: Accepted::default(),
        },
    });
    let operations = Arc::new(Operations {
        metrics: arguments.observe.allow_metrics.then(|| Arc::clone(&metrics)),
        registry,
        keeper: Arc::clone(&keeper),
        lifecycle,
    });
    Ok(Parts {
        service,
        keeper,
        operations,
        metrics,
    })
}

fn load_threads(asked_for: &LoadingArguments) -> anyhow::Result<LoadThreads> {
    LoadThreads::start(asked_for.model_load_thread_count.map(usize::from))
        .context("--model-load-thread-count: the threads that load models cannot be started")
}

fn admission(asked_for: &LoadingArguments, budget: &Arc<Budget>) -> Admission {
    let settings = AdmissionSettings {
        check: asked_for.model_load_memory_check,
        max_model_memory: asked_for.max_model_memory,
    };
    Admission::new(settings, Arc::clone(budget))
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
