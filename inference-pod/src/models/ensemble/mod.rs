//! Ensembles: models of the same registry that are called one after another, or at the same time, as one.
//!
//! An ensemble holds no model of its steps: they are looked up when a request comes, so that they are loaded, replaced and
//! unloaded as if no ensemble used them. They queue and batch for themselves; an ensemble has no queue.

mod check;
mod keeping;
mod loading;
mod plan;
mod run;
mod shape;

pub(super) use check::check;
pub(super) use keeping::is_staged_ensemble;

use std::sync::{Arc, Weak};
use std::time::Instant;

use tokio::sync::Semaphore;

use super::registry::Registry;
use super::validate::Accepted;
use super::version::ModelVersion;
use crate::configuration::{EnsembleScheduling, ModelConfig};
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::tensor::InferenceRequest;
use plan::Plan;

/// How an ensemble answers.
pub(super) struct Ensemble {
    plan: Plan,
    /// Where the models of its steps are found. The registry holds the ensemble, not the other way round.
    registry: Weak<Registry>,
    /// For each step the places of the requests that it may have under way, where they are bounded.
    places: Vec<Option<Semaphore>>,
}

/// A request that fits the ensemble.
pub(super) struct Call<'a> {
    /// Its configuration, name and statistics.
    pub(super) model: &'a ModelVersion,
    /// What goes with every step: id, timeout and whatever else a request has besides tensors.
    pub(super) request: InferenceRequest,
    /// Its tensors.
    pub(super) accepted: Accepted,
    /// When it came in.
    pub(super) received: Instant,
    /// Its share of the memory for requests.
    pub(super) memory: &'a Arc<Reservation>,
}

impl Ensemble {
    /// Of a checked configuration.
    pub(super) fn new(
        config: &ModelConfig,
        scheduling: &EnsembleScheduling,
        registry: &Arc<Registry>,
    ) -> Self {
        let places = || match scheduling.max_inflight_requests {
            0 => None,
            most => Some(Semaphore::new(most as usize)),
        };
        Self {
            plan: Plan::new(scheduling, &config.inputs, &config.outputs),
            registry: Arc::downgrade(registry),
            places: scheduling.steps.iter().map(|_| places()).collect(),
        }
    }

    fn registry(&self) -> Result<Arc<Registry>> {
        self.registry
            .upgrade()
            .ok_or_else(|| InferenceError::unavailable("this server ends"))
    }

    /// Whether the models of its steps are there and still fit.
    pub(super) fn check_ready(&self, model: &ModelVersion) -> Result<()> {
        check(model, &*self.registry()?).map_err(|error| {
            InferenceError::unavailable(format!("model '{}' is not ready: {error}", model.name))
        })
    }
}
