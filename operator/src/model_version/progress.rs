//! What one reconcile found out about a ModelVersion: the facts that its status is computed from.

use aiops_crds::{MlflowVersionReference, ModelVersionReason, ModelVersionStatus, PublishedModel, Stage};

use super::stage::Decision;
use crate::framework::job_outcome::Failure;

/// The facts, as far as the reconcile got, on top of those that never change again.
#[derive(Debug, Default)]
pub struct Progress {
    /// Why the source cannot be registered.
    pub source_problem: Option<SourceProblem>,
    /// The version in MLflow.
    pub registered: Option<Registered>,
    /// How the publication stands.
    pub publication: Option<Publication>,
    /// The stage before this reconcile.
    pub stage: Stage,
    /// The stage that was decided on. It holds whatever MLflow says.
    pub decision: Option<Decision>,
    /// What MLflow shows of that, once status has it.
    pub mirror: Option<Mirror>,
}

/// What MLflow shows of a version's stage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mirror {
    /// All of it.
    Shown,
    /// Nothing: somebody deleted the version there.
    Gone,
    /// Not all of it yet.
    Behind {
        /// `MLflowUnavailable`, which is tried again soon, or `MLflowRefused`.
        reason: ModelVersionReason,
        /// For people.
        message: String,
    },
}

/// Why a source cannot be registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceProblem {
    /// `SourceNotReady` or `SourceFailed`.
    pub reason: ModelVersionReason,
    /// For people.
    pub message: String,
}

/// A version in MLflow's registry.
#[derive(Clone, Debug, PartialEq)]
pub struct Registered {
    /// Its number.
    pub version: String,
    /// Where it comes from.
    pub reference: MlflowVersionReference,
}

impl Registered {
    /// The number to compare by. MLflow numbers versions from 1.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.version.parse().unwrap_or_default()
    }
}

/// How a publication stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Publication {
    /// At work, or waiting to be.
    Active {
        /// What keeps the pod from running.
        trouble: Option<String>,
    },
    /// The repository has the version.
    Done(Box<PublishedModel>),
    /// The Job failed for good.
    Failed(Failure),
}

impl Progress {
    /// Starts from what an earlier reconcile recorded and nothing changes again.
    pub fn from_status(status: Option<&ModelVersionStatus>) -> Self {
        let Some(status) = status else {
            return Self::default();
        };
        let registered = status.version.clone().zip(status.mlflow.clone());
        Self {
            registered: registered.map(|(version, reference)| Registered { version, reference }),
            publication: status
                .published
                .clone()
                .map(|published| Publication::Done(Box::new(published))),
            stage: status.stage.unwrap_or_default(),
            ..Self::default()
        }
    }
}
