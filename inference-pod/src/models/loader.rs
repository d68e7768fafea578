//! Loading a version: fetch, read the configuration, open the graph, run it once, start its workers.
//!
//! All of it happens beside what serves; the blocking parts on threads made for that.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_model_repository::{Digest, LocalVersion, Location, Repository, RepositoryError};

use super::labels;
use super::registry::Registry;
use super::response_cache::{ResponseCache, VersionCache};
use super::sessions::{self, OpenError};
use super::version::{Answering, Graph, ModelVersion, Parts, Sessions};
use super::warm_up;
use crate::configuration::{self, ConfigError, InstanceGroup, ModelConfig};
use crate::metrics::{LoadTimes, Metrics};
use crate::runtime::{GraphSession, Runtime, SessionError};
use crate::scheduler::{Limits, Scheduler};
use crate::statistics::Statistics;

/// Why a version could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be fetched.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its graph is missing.
    #[error("{0}")]
    MissingGraph(String),
    /// Its graph cannot be served.
    #[error("file {file}: {error}")]
    Graph {
        /// Name of the file.
        file: String,
        /// Why.
        error: SessionError,
    },
    /// Its instances cannot run where its configuration wants them to.
    #[error("{0}")]
    Placement(String),
    /// The names of its classes cannot be read.
    #[error("{0}")]
    Labels(String),
    /// The graph fails on a row of zeros although it takes any, or on a sample of its configuration.
    #[error("the warm-up failed: {0}")]
    WarmUp(String),
    /// The system refused a thread.
    #[error("a worker thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl LoadError {
    /// Whether it may go away by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_transient(),
            Self::Thread(_) => true,
            Self::Config(_)
            | Self::MissingGraph(_)
            | Self::Placement(_)
            | Self::Labels(_)
            | Self::Graph { .. }
            | Self::WarmUp(_) => false,
        }
    }
}

/// Loads versions of one repository into one runtime.
pub struct Loader {
    /// Where models come from.
    pub repository: Repository,
    /// Where fetched files are kept.
    pub cache: PathBuf,
    /// What runs them.
    pub runtime: Runtime,
    /// Where they are counted.
    pub metrics: Arc<Metrics>,
    /// Where ensembles find the models of their steps.
    pub registry: Arc<Registry>,
    /// Where answers are kept; nothing where the server keeps none.
    pub response_cache: Option<Arc<ResponseCache>>,
}

struct Opened {
    config: ModelConfig,
    sessions: Vec<GraphSession>,
    open: Duration,
    warm_up: Duration,
}

impl Loader {
    /// Removes what an earlier process in this pod did not finish fetching.
    pub fn clean_cache(&self) {
        let Ok(entries) = std::fs::read_dir(&self.cache) else {
            return;
        };
        for entry in entries.filter_map(Result::ok) {
            if entry.file_name().to_string_lossy().starts_with(".incoming-")
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!(folder = %entry.path().display(), %error, "an unfinished download cannot be removed");
            }
        }
    }

    /// Where fetched versions are kept; nothing for a repository that is read in place.
    pub(super) fn cache_folder(&self) -> Option<PathBuf> {
        match self.repository.location() {
            Location::S3 { .. } => Some(self.cache.clone()),
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

    /// The same from another repository, or with another configuration than the repository's.
    pub(super) async fn load_from(
        &self,
        repository: &Repository,
        name: &str,
        version: u64,
        expected: Option<&Digest>,
        config: Option<&str>,
    ) -> Result<ModelVersion, LoadError> {
        let start = Instant::now();
        let mut local = repository.fetch(name, version, expected, &self.cache).await?;
        if let Some(text) = config {
            local.config = Some(text.to_owned());
        }
        let fetch = start.elapsed();
        let config = local.config.as_deref().map(configuration::read).transpose()?;
        for warning in config.iter().flat_map(|config| &config.warnings) {
            tracing::warn!(model = name, version, "{warning}");
        }
        let config = match config {
            Some(config) if config.ensemble.is_some() => {
                return self
                    .load_ensemble(repository, name, version, local, config, fetch)
                    .await;
            }
            config => config,
        };
        let opened = self.open(name, &local, config).await?;
        let Opened {
            config,
            sessions,
            open,
            warm_up,
        } = opened;
        let labels = labels::read(repository, name, &local, &config).await?;
        let LocalVersion {
            folder,
            digest,
            manifest,
            fetched_bytes,
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
        let scheduler = Scheduler::start(
            &format!("{name}/{version}"),
            sessions,
            Limits::of(&config),
            &statistics,
        )?;
        statistics.metrics().loading.record(&LoadTimes {
            fetch,
            open,
            warm_up,
            total: start.elapsed(),
            fetched_bytes,
        });
        tracing::info!(
            model = name,
            version,
            digest = %digest,
            fetched_bytes,
            fetch_seconds = fetch.as_secs_f64(),
            open_seconds = open.as_secs_f64(),
            warm_up_seconds = warm_up.as_secs_f64(),
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
            graph,
            answering: Answering::Sessions(Sessions { scheduler, cache }),
        }))
    }

    async fn open(
        &self,
        name: &str,
        local: &LocalVersion,
        config: Option<ModelConfig>,
    ) -> Result<Opened, LoadError> {
        let (runtime, folder, name) = (self.runtime.clone(), local.folder.clone(), name.to_owned());
        let opening = tokio::task::spawn_blocking(move || open(&runtime, &folder, &name, config));
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
    })
}
