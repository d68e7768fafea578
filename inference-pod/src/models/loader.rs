//! Loading a version: fetch, read the configuration, open the graph, run it once, start its workers.
//!
//! All of it happens beside what serves; the heavy parts on threads made for that, which give way to those that serve.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_model_repository::{Cache, Digest, LocalVersion, Location, Repository, RepositoryError};
use futures::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;

use super::admission::Admission;
use super::load_error::LoadError;
use super::load_threads::LoadThreads;
use super::phases::LoadPhases;
use super::registry::Registry;
use super::response_cache::{ResponseCache, VersionCache};
use super::sessions::{self, OpenError};
use super::version::{Answering, Graph, ModelVersion, Parts, Sessions};
use super::{labels, warm_up};
use crate::configuration::{self, InstanceGroup, ModelConfig};
use crate::heap;
use crate::metrics::{LoadTimes, Metrics};
use crate::runtime::{GraphSession, Runtime};
use crate::scheduler::{Limits, Scheduler};
use crate::statistics::Statistics;

/// Pause before a load is tried again, times the attempts so far.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Loads versions of one repository into one runtime.
pub struct Loader {
    /// Where models come from.
    pub repository: Repository,
    /// Where fetched files are kept.
    pub cache: Cache,
    /// What runs them.
    pub runtime: Runtime,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// Where ensembles find the models of their steps.
    pub registry: Arc<Registry>,
    /// Where answers are kept; nothing where the server keeps none.
    pub response_cache: Option<Arc<ResponseCache>>,
    /// Where they are loaded.
    pub threads: LoadThreads,
    /// Whether they fit.
    pub admission: Admission,
    /// How often a failed load is tried again.
    pub retries: u32,
}

struct Opened {
    config: ModelConfig,
    sessions: Vec<GraphSession>,
    open: Duration,
    warm_up: Duration,
    heap_bytes: u64,
}

impl Loader {
    /// Where fetched versions are kept; nothing for a repository that is read in place.
    pub(super) fn fetched(&self) -> Option<&Cache> {
        match self.repository.location() {
            Location::S3 { .. } => Some(&self.cache),
            Location::Folder(_) => None,
        }
    }

    /// Loads a version; with `expected`, only if its files have this digest.
    pub async fn load(
        &self,
        name: &str,
        version: u64,
        expected: Option<&Digest>,
    ) -> Result<ModelVersion, LoadError> {
        self.load_from(&self.repository, name, version, expected, None)
            .await
    }

    /// The same from another repository, or with another configuration than the repository's. Waits for its turn, and is tried
    /// again as often as was asked for.
    pub(super) async fn load_from(
        &self,
        repository: &Repository,
        name: &str,
        version: u64,
        expected: Option<&Digest>,
        config: Option<&str>,
    ) -> Result<ModelVersion, LoadError> {
        // Also an open whose load was aborted goes on to its end, and keeps the place for as long.
        let place = self.threads.place().await.map(Arc::new);
        let mut failures = 0;
        loop {
            let attempt = self.attempt(repository, name, version, expected, config, place.clone());
            // Boxed: many of these wait side by side, and few run.
            let error = match attempt.boxed().await {
                // Memory comes back when a model is unloaded; whoever wants this one waits for that.
                Err(error) if failures < self.retries && !error.is_for_memory() => error,
                outcome => return outcome,
            };
            failures += 1;
            tracing::warn!(
                model = name,
                version,
                failures,
                error = %error,
                "the version cannot be loaded, trying again (--model-load-retry-count)"
            );
            tokio::time::sleep(RETRY_PAUSE * failures).await;
        }
    }

    async fn attempt(
        &self,
        repository: &Repository,
        name: &str,
        version: u64,
        expected: Option<&Digest>,
        config: Option<&str>,
        place: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Result<ModelVersion, LoadError> {
        let start = Instant::now();
        let mut local = self.fetch(repository, name, version, expected).await?;
        if let Some(text) = config {
            local.config = Some(text.to_owned());
        }
        let fetch = start.elapsed();
        let config = local.config.as_deref().map(configuration::read).transpose()?;
        for warning in config.iter().flat_map(|config| &config.warnings) {
            tracing::warn!(model = name, version, "{warning}");
        }
        let mut phases = LoadPhases {
            fetched_bytes: local.fetched_bytes,
            fetch,
            verify: local.verify,
            ..LoadPhases::default()
        };
        let config = match config {
            Some(config) if config.ensemble.is_some() => {
                return self
                    .load_ensemble(repository, name, version, local, config, phases)
                    .await;
            }
            config => config,
        };
        let opened = self.open(name, &local, config, place).await?;
        let Opened {
            config,
            sessions,
            open,
            warm_up,
            heap_bytes,
        } = opened;
        let labels = labels::read(repository, name, &local, &config).await?;
        (phases.open, phases.warm_up) = (open, warm_up);
        phases.heap_bytes = heap_bytes;
        let LocalVersion {
            folder,
            digest,
            manifest,
            lease,
            ..
        } = local;
        let statistics = Arc::new(Statistics::new(self.metrics.of_tagged_model(
            name,
            version,
            config.metric_tags.clone(),
        )));
        let graph = sessions
            .first()
            .map(|session| Graph {
                inputs: session.inputs().to_vec(),
                outputs: session.outputs().to_vec(),
            })
            .expect("instance counts below 1 are refused when the configuration is read");
        let cache = VersionCache::open(self.response_cache.as_ref(), &config, version, &statistics);
        // Not on the threads of loads: whatever they start gives way as they do.
        let scheduler = Scheduler::start(
            &format!("{name}/{version}"),
            sessions,
            Limits::of(&config),
            &statistics,
        )?;
        statistics.metrics().loading.record(&LoadTimes {
            fetch: phases.fetch,
            open: phases.open,
            warm_up: phases.warm_up,
            total: start.elapsed(),
            fetched_bytes: phases.fetched_bytes,
        });
        tracing::info!(
            model = name,
            version,
            digest = %digest,
            fetched_bytes = phases.fetched_bytes,
            fetch_seconds = phases.fetch.as_secs_f64(),
            verify_seconds = phases.verify.as_secs_f64(),
            open_seconds = phases.open.as_secs_f64(),
            warm_up_seconds = phases.warm_up.as_secs_f64(),
            heap_bytes,
            seconds = start.elapsed().as_secs_f64(),
            "model version is loaded"
        );
        let name = name.to_owned();
        Ok(ModelVersion::new(Parts {
            name,
            version,
            digest,
            config,
            manifest,
            labels,
            folder,
            statistics,
            phases,
            lease,
            graph,
            answering: Answering::Sessions(Sessions { scheduler, cache }),
        }))
    }

    async fn fetch(
        &self,
        repository: &Repository,
        name: &str,
        version: u64,
        expected: Option<&Digest>,
    ) -> Result<LocalVersion, RepositoryError> {
        let (repository, cache) = (repository.clone(), self.cache.clone());
        let (name, expected) = (name.to_owned(), expected.cloned());
        let fetching = async move { repository.fetch(&name, version, expected.as_ref(), &cache).await };
        self.threads
            .spawn(fetching)
            .await
            .unwrap_or_else(|panic| Err(self.failed_thread(panic)))
    }

    fn failed_thread(&self, panic: tokio::task::JoinError) -> RepositoryError {
        RepositoryError::Io {
            path: self.cache.folder().to_owned(),
            source: std::io::Error::other(panic),
        }
    }

    async fn open(
        &self,
        name: &str,
        local: &LocalVersion,
        config: Option<ModelConfig>,
        place: Option<Arc<OwnedSemaphorePermit>>,
    ) -> Result<Opened, LoadError> {
        let instances = config.as_ref().map_or(1, ModelConfig::instances);
        let promise = self.admission.admit(&local.folder, instances).await;
        let promise = promise.map_err(LoadError::Memory)?;
        let (runtime, folder, name) = (self.runtime.clone(), local.folder.clone(), name.to_owned());
        let starts_threads = config
            .as_ref()
            .is_some_and(|config| config.session.has_own_threads());
        let opening = move || {
            let opened = open(&runtime, &folder, &name, config);
            // What was read and rearranged on the way is free by now, but not yet the system's.
            heap::give_back();
            drop((promise, place));
            opened
        };
        let opening = if starts_threads {
            // Threads that a session starts for its runs would give way as the one does that starts them.
            tokio::task::spawn_blocking(opening)
        } else {
            self.threads.spawn_blocking(opening)
        };
        opening
            .await
            .unwrap_or_else(|panic| Err(LoadError::WarmUp(panic.to_string())))
    }
}

fn open(
    runtime: &Runtime,
    folder: &std::path::Path,
    name: &str,
    config: Option<ModelConfig>,
) -> Result<Opened, LoadError> {
    let file = config
        .as_ref()
        .map_or(configuration::DEFAULT_MODEL_FILE, |config| {
            config.model_file.as_str()
        })
        .to_owned();
    let path = folder.join(&file);
    if !path.is_file() {
        return Err(LoadError::MissingGraph(format!(
            "the version's folder holds no file {file}"
        )));
    }
    let start = Instant::now();
    let held = heap::held_by_this_thread();
    let settings = config
        .as_ref()
        .map(|config| config.session.clone())
        .unwrap_or_default();
    let graph_error = |error| LoadError::Graph {
        file: file.clone(),
        error,
    };
    let groups = config.as_ref().map_or_else(
        || vec![InstanceGroup::default()],
        |config| config.instance_groups.clone(),
    );
    let (mut sessions, groups) =
        sessions::open(runtime, &path, &groups, &settings).map_err(|error| match error {
            OpenError::Placement(message) => LoadError::Placement(message),
            OpenError::Session(error) => graph_error(error),
        })?;
    let (inputs, outputs) = sessions
        .first()
        .map(|first| (first.inputs(), first.outputs()))
        .expect("groups of no sessions are refused when the configuration is read");
    let mut config = configuration::complete(config, name, inputs, outputs)?;
    config.instance_groups = groups;
    let open = start.elapsed();
    warm_up::run(&mut sessions, &config, folder).map_err(LoadError::WarmUp)?;
    Ok(Opened {
        config,
        sessions,
        open,
        warm_up: start.elapsed() - open,
        heap_bytes: u64::try_from(heap::held_by_this_thread() - held).unwrap_or_default(),
    })
}
