//! What one reconcile found out about a ModelVersion: the facts that its status is computed from.

use std::time::Duration;

use aiops_crds::{
    MlflowVersionReference, ModelVersionReason as Reason, ModelVersionStatus, PublishedModel, Stage,
};

use super::stage::Decision;
use super::validate::ValidatedModelVersion;
use crate::framework::error::RESYNC;
use crate::framework::job_outcome::Failure;

/// How soon a running publication is looked at again: a pod that cannot start changes nothing on its Job.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon MLflow is asked again for what nobody tells of: a run that ends, a version that is registered, its own return.
const LOOK_AGAIN_AT_MLFLOW: Duration = Duration::from_secs(20);

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
        reason: Reason,
        /// For people.
        message: String,
    },
}

/// Why a source cannot be registered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceProblem {
    /// `SourceNotReady` or `SourceFailed`.
    pub reason: Reason,
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

    /// How soon to look again at a version of which nothing that is watched changes before.
    pub fn look_again_after(&self, validated: &ValidatedModelVersion) -> Duration {
        let waits_for_mlflow = match &self.source_problem {
            Some(problem) => {
                problem.reason == Reason::SourceNotReady && validated.source.experiment.is_none()
            }
            None => matches!(
                self.mirror,
                Some(Mirror::Behind {
                    reason: Reason::MLflowUnavailable,
                    ..
                })
            ),
        };
        match self.publication {
            Some(Publication::Active { .. }) => LOOK_AGAIN,
            _ if waits_for_mlflow => LOOK_AGAIN_AT_MLFLOW,
            _ => RESYNC,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::validate::tests::version;
    use super::super::validate::validate;
    use super::*;

    #[test]
    fn what_only_mlflow_can_tell_is_asked_for_soon() {
        let after = |source: serde_json::Value, reason: Reason| {
            let progress = Progress {
                source_problem: Some(SourceProblem {
                    reason,
                    message: String::new(),
                }),
                ..Progress::default()
            };
            let validated = validate(&version(json!({"source": source})));
            progress.look_again_after(&validated)
        };
        for source in [json!({"mlflowRun": "a"}), json!({"mlflowVersion": "1"})] {
            assert!(after(source.clone(), Reason::SourceNotReady) <= Duration::from_secs(30));
            assert_eq!(after(source, Reason::SourceFailed), RESYNC);
        }
        assert_eq!(
            after(json!({"experiment": "a"}), Reason::SourceNotReady),
            RESYNC,
            "watched"
        );
    }

    #[test]
    fn an_mlflow_that_is_away_is_told_the_stage_when_it_returns() {
        let after = |mirror: Mirror| {
            let progress = Progress {
                mirror: Some(mirror),
                ..Progress::default()
            };
            progress.look_again_after(&validate(&version(json!({}))))
        };
        let behind = Mirror::Behind {
            reason: Reason::MLflowUnavailable,
            message: String::new(),
        };
        assert!(after(behind) <= Duration::from_secs(30));
        assert_eq!(after(Mirror::Gone), RESYNC);
    }
}
