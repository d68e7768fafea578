//! What one reconcile found out about an Experiment: the facts that its status is computed from.

use aiops_crds::{MetricValue, MlflowRunReference, ValidationVerdict};

use crate::framework::job_outcome::Failure;

/// The facts, as far as the reconcile got.
#[derive(Debug, Default)]
pub struct Progress {
    /// Why the spec cannot be carried out.
    pub invalid: Option<String>,
    /// The run in MLflow.
    pub run: Option<MlflowRunReference>,
    /// The run of a training that has ended, where somebody deleted it in MLflow.
    pub lost_run: Option<String>,
    /// How the training stands.
    pub training: Option<Training>,
    /// The run's metrics.
    pub metrics: Vec<MetricValue>,
    /// What became of the rules of `spec.validation`.
    pub verdicts: Vec<ValidationVerdict>,
    /// What became of `spec.register`.
    pub registration: Option<Registered>,
}

/// How a training stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Training {
    /// At work, or waiting to be.
    Active {
        /// What keeps the trainer's pod from running.
        trouble: Option<String>,
    },
    /// The run has its metrics and its model.
    Succeeded,
    /// The run is closed as failed.
    Failed(Failure),
}

impl Training {
    /// A training whose run was deleted while it was at work.
    pub fn starts_again(run_id: &str) -> Self {
        let trouble = format!(
            "MLflow run {run_id} was deleted in MLflow: the trainer is stopped, and starts again with a new run"
        );
        Self::Active {
            trouble: Some(trouble),
        }
    }
}

/// What became of a registration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Registered {
    /// The ModelVersion exists and is this Experiment's.
    Exists {
        /// Its name.
        name: String,
    },
    /// A ModelVersion of that name comes from elsewhere.
    NameTaken {
        /// Its name.
        name: String,
    },
}
