//! A door for `bench/instructions`: versions without a graph, whose batches are answered by hand.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use aiops_model_repository::{Digest, Manifest};
use http::HeaderMap;

use super::registry::{Registry, ServedModel};
use super::shares::Shares;
use super::version::{Answering, Graph, Parts, Sessions};
use super::{LoadError, LoadPhases, ModelVersion};
use crate::configuration;
use crate::error::Result;
use crate::metrics::Metrics;
use crate::runtime::GraphSession;
use crate::scheduler::counted::Identity;
use crate::scheduler::{Limits, Scheduler};
use crate::statistics::Statistics;

/// A version as its `config.pbtxt` describes it, without workers.
pub fn version(
    name: &str,
    version: u64,
    config: &str,
    manifest: Option<Manifest>,
) -> Result<ModelVersion, LoadError> {
    let config = configuration::read(config)?;
    let graph = Graph::of(&config);
    let config = configuration::complete(Some(config), name, &graph.inputs, &graph.outputs)?;
    let statistics = Arc::new(Statistics::new(Metrics::default().of_model(name, version)));
    let sessions: Vec<GraphSession> = Vec::new();
    let scheduler = Scheduler::start(name, sessions, Limits::of(&config), &statistics)?;
    Ok(ModelVersion::new(Parts {
        name: name.to_owned(),
        version,
        digest: Digest::of_files(&[]),
        config,
        manifest,
        labels: BTreeMap::new(),
        folder: PathBuf::new(),
        statistics,
        phases: LoadPhases::default(),
        lease: None,
        graph,
        answering: Answering::Sessions(Sessions {
            scheduler,
            cache: None,
        }),
    }))
}

/// Has versions answer for their model, each with its share of the requests that name none; the last is the default.
pub fn serve(registry: &Registry, name: &str, versions: Vec<(Arc<ModelVersion>, u64)>) {
    let default_version = versions.last().map_or(0, |(version, _)| version.version);
    let weights = versions
        .iter()
        .map(|(version, weight)| (version.version, *weight));
    let weights = weights.collect();
    let versions = versions
        .into_iter()
        .map(|(version, _)| (version.version, version));
    registry.set_model(
        name,
        ServedModel::new(default_version, versions.collect(), Shares::new(weights, None)),
    );
}

/// The version for a request.
pub fn choose(registry: &Registry, model: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
    registry.choose(model, version, &HeaderMap::new())
}

impl ModelVersion {
    /// Answers a batch of the requests that wait with their own inputs. Waits where none does.
    #[doc(hidden)]
    pub fn answer_one_batch(&self) {
        if let Answering::Sessions(sessions) = &self.answering {
            sessions
                .scheduler
                .serve_one_batch(&mut Identity, &self.statistics);
        }
    }
}
