//! A loaded version of a model: what it takes and answers, and asking it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use aiops_model_repository::{Digest, Lease, Manifest};

use super::ensemble::{Call, Ensemble};
use super::phases::LoadPhases;
use super::response_cache::VersionCache;
use super::validate::{Accepted, accept, client_shape};
use crate::configuration::{GraphTensor, ModelConfig, TensorConfig};
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::metrics::FailureReason;
use crate::runtime::OutputTensor;
use crate::scheduler::{JobRequest, Scheduler};
use crate::statistics::Statistics;
use crate::tensor::{InferenceRequest, InferenceResponse, Tensor};

pub use crate::configuration::PLATFORM;

/// A version that can serve. Whoever holds it can ask it; it is unloaded when nobody does any more.
pub struct ModelVersion {
    /// Name of the model.
    pub name: String,
    /// Version number.
    pub version: u64,
    /// Digest of its files.
    pub digest: Digest,
    /// Complete configuration.
    pub config: ModelConfig,
    /// What its publisher wrote, where it was published by this product.
    pub manifest: Option<Manifest>,
    /// Names of an output's classes, by output.
    pub labels: BTreeMap<String, Vec<String>>,
    /// Where its files are.
    pub folder: PathBuf,
    /// What it did so far.
    pub statistics: Arc<Statistics>,
    /// What loading it took.
    pub phases: LoadPhases,
    /// Keeps its files in the cache.
    _lease: Option<Lease>,
    graph: Graph,
    pub(super) answering: Answering,
}

/// Who answers for a version.
pub(super) enum Answering {
    /// Sessions of its graph.
    Sessions(Sessions),
    /// The models of its steps.
    Ensemble(Ensemble),
}

/// Sessions with a queue before them and, where it is asked for, a cache before that.
pub(super) struct Sessions {
    pub(super) scheduler: Scheduler,
    pub(super) cache: Option<VersionCache>,
}

impl Sessions {
    async fn run(&self, job: JobRequest) -> Result<Vec<OutputTensor>> {
        match &self.cache {
            None => self.scheduler.run(job).await,
            Some(cache) => cache.run(&self.scheduler, job).await,
        }
    }
}

/// Inputs and outputs in the graph's own order.
pub(super) struct Graph {
    pub(super) inputs: Vec<GraphTensor>,
    pub(super) outputs: Vec<GraphTensor>,
}

impl Graph {
    /// What a graph of this configuration would have.
    pub(super) fn of(config: &ModelConfig) -> Self {
        Self {
            inputs: tensors(&config.inputs, config.max_batch_size),
            outputs: tensors(&config.outputs, config.max_batch_size),
        }
    }
}

fn tensors(configured: &[TensorConfig], max_batch_size: u32) -> Vec<GraphTensor> {
    let tensor = |tensor: &TensorConfig| GraphTensor {
        name: tensor.name.clone(),
        datatype: tensor.datatype,
        shape: tensor.graph_shape(max_batch_size),
    };
    configured.iter().map(tensor).collect()
}

/// What a version is made of, once it is loaded.
pub(super) struct Parts {
    pub(super) name: String,
    pub(super) version: u64,
    pub(super) digest: Digest,
    pub(super) config: ModelConfig,
    pub(super) manifest: Option<Manifest>,
    pub(super) labels: BTreeMap<String, Vec<String>>,
    pub(super) folder: PathBuf,
    pub(super) statistics: Arc<Statistics>,
    pub(super) phases: LoadPhases,
    pub(super) lease: Option<Lease>,
    pub(super) graph: Graph,
    pub(super) answering: Answering,
}

impl ModelVersion {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
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
            answering,
        } = parts;
        Self {
            name,
            version,
            digest,
            config,
            manifest,
            labels,
            folder,
            statistics,
            phases,
            _lease: lease,
            graph,
            answering,
        }
    }

    /// Answers a request: checks it, waits for its turn, and gives the outputs that were asked for. `memory` is its share
    /// of the memory for requests.
    pub async fn infer(
        &self,
        mut request: InferenceRequest,
        memory: &Arc<Reservation>,
    ) -> Result<InferenceResponse> {
        let received = Instant::now();
        let _in_flight = self.statistics.metrics().saturation.request();
        let accepted = accept(self, &mut request).inspect_err(|_| {
            self.statistics
                .record_failure(FailureReason::Other, received.elapsed());
        })?;
        let sessions = match &self.answering {
            Answering::Sessions(sessions) => sessions,
            Answering::Ensemble(ensemble) => {
                let model = self;
                return ensemble
                    .answer(Call {
                        model,
                        request,
                        accepted,
                        received,
                        memory,
                    })
                    .await;
            }
        };
        let Accepted {
            inputs,
            rows,
            outputs,
        } = accepted;
        let batching = self.config.dynamic_batching.as_ref();
        let level = batching.map_or(1, |batching| batching.level(request.priority));
        let timeout = batching.map_or(request.timeout, |batching| {
            batching.policy(level).timeout(request.timeout)
        });
        let deadline = timeout.and_then(|timeout| received.checked_add(timeout));
        let answered = sessions
            .run(JobRequest {
                inputs,
                rows,
                level: level as usize - 1,
                received,
                deadline,
                memory: Arc::clone(memory),
                trace: request.trace,
            })
            .await?;
        let outputs = outputs
            .into_iter()
            .map(|index| self.output(index, &answered))
            .collect::<Result<_>>()?;
        Ok(InferenceResponse {
            model: self.name.clone(),
            version: self.version,
            id: request.id,
            outputs,
        })
    }

    /// A configured output as clients see it.
    fn output(&self, index: usize, answered: &[OutputTensor]) -> Result<Tensor> {
        let config = &self.config.outputs[index];
        let position = self
            .graph
            .outputs
            .iter()
            .position(|output| output.name == config.name);
        let answer = position
            .and_then(|position| answered.get(position))
            .ok_or_else(|| {
                InferenceError::internal(format!("model '{}' gave no output '{}'", self.name, config.name))
            })?;
        Ok(Tensor {
            name: config.name.clone(),
            datatype: config.datatype,
            shape: client_shape(config, &answer.shape, self.config.max_batch_size),
            data: answer.data.clone(),
        })
    }

    /// Names of the graph's inputs, in the order in which a run takes them.
    pub(super) fn graph_inputs(&self) -> &[GraphTensor] {
        &self.graph.inputs
    }

    /// A future that is done when the version's threads have ended and its memory is free.
    pub(super) fn unloaded(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let finished = match &mut self.answering {
            Answering::Sessions(sessions) => Some(sessions.scheduler.finished()),
            Answering::Ensemble(_) => None,
        };
        async move {
            if let Some(finished) = finished {
                finished.await;
            }
        }
    }

    /// Bytes of the heap that it was loaded into; nothing where it has none of its own.
    pub fn heap_bytes(&self) -> Option<u64> {
        Some(self.phases.heap_bytes).filter(|bytes| *bytes > 0)
    }

    /// Whether it can answer: an ensemble cannot without the models of its steps.
    pub fn check_ready(&self) -> Result<()> {
        match &self.answering {
            Answering::Sessions(_) => Ok(()),
            Answering::Ensemble(ensemble) => ensemble.check_ready(self),
        }
    }
}
