//! Loading an ensemble: its configuration is all there is of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aiops_model_repository::{LocalVersion, Repository};

use super::Ensemble;
use crate::configuration::{self, ModelConfig};
use crate::metrics::LoadTimes;
use crate::models::loader::Loader;
use crate::models::version::{Answering, Graph, ModelVersion, Parts};
use crate::models::{LoadError, LoadPhases, labels};
use crate::statistics::Statistics;

impl Loader {
    /// Makes an ensemble of its configuration. Whether the models of its steps are there is for whoever switches to it.
    pub(in crate::models) async fn load_ensemble(
        &self,
        repository: &Repository,
        name: &str,
        version: u64,
        local: LocalVersion,
        config: ModelConfig,
        phases: LoadPhases,
    ) -> Result<ModelVersion, LoadError> {
        let start = Instant::now();
        let config = configuration::complete_ensemble(config, name)?;
        let labels = labels::read(repository, name, &local, &config).await?;
        let statistics = Arc::new(Statistics::new(self.metrics.of_tagged_model(
            name,
            version,
            config.metric_tags.clone(),
        )));
        let scheduling = config.ensemble.clone().unwrap_or_default();
        let ensemble = Ensemble::new(&config, &scheduling, &self.registry);
        statistics.metrics().loading.record(&LoadTimes {
            fetch: phases.fetch,
            open: start.elapsed(),
            warm_up: Duration::ZERO,
            total: phases.fetch + start.elapsed(),
            fetched_bytes: local.fetched_bytes,
        });
        tracing::info!(
            model = name,
            version,
            digest = %local.digest,
            steps = scheduling.steps.len(),
            "ensemble is loaded"
        );
        Ok(ModelVersion::new(Parts {
            name: name.to_owned(),
            version,
            digest: local.digest,
            graph: Graph::of(&config),
            config,
            manifest: local.manifest,
            labels,
            folder: local.folder,
            statistics,
            phases,
            lease: local.lease,
            answering: Answering::Ensemble(ensemble),
        }))
    }
}
