//! Computes a ModelVersion's status from what a reconcile found out (pure).

use aiops_crds::{
    ConditionStatus, ModelVersion, ModelVersionCondition as Type, ModelVersionReason as Reason,
    ModelVersionStatus, StageTransition,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::progress::{Mirror, Progress, Publication};
use super::stage::{Decision, path};
use super::validate::job_name;
use crate::framework::conditions::Conditions;
use crate::framework::error::Error;
use crate::framework::job_outcome::Failure;
use crate::framework::verdict;

type Verdict = verdict::Verdict<Reason>;

/// How many changes of the stage status remembers.
const HISTORY: usize = 10;

/// The status after a reconcile. What could not be found out now because of `error` stays as it was.
pub fn status(
    version: &ModelVersion,
    progress: &Progress,
    error: Option<&Error>,
    now: Timestamp,
) -> ModelVersionStatus {
    let mut status = version.status.clone().unwrap_or_default();
    let registered = registered(progress, error);
    let published = published(progress, error);
    let (approved, promoted) = match &progress.decision {
        Some(decision) => (Some(approved(decision)), promoted(decision)),
        None => (
            // An error after the publication changes nothing about an approval that was judged before.
            (!matches!(progress.publication, Some(Publication::Done(_))) || status.stage.is_none())
                .then(|| Verdict::waiting("the publication")),
            error.map_or_else(|| Verdict::waiting("the publication"), interrupted),
        ),
    };
    let mirrored = mirrored(progress);
    let ready = ready([&registered, &published, &promoted], error, progress);

    let mut conditions = Conditions::new(&status.conditions, version.metadata.generation, now);
    for (type_, verdict) in [
        (Type::Ready, Some(ready)),
        (Type::Registered, Some(registered)),
        (Type::Published, Some(published)),
        (Type::Approved, approved),
        (Type::Promoted, Some(promoted)),
        (Type::Mirrored, mirrored),
    ] {
        if let Some(verdict) = verdict {
            conditions.set(type_, verdict);
        }
    }
    status.conditions = conditions.into_vec();
    status.observed_generation = version.metadata.generation;
    if let Some(registered) = &progress.registered {
        status.version = Some(registered.version.clone());
        status.mlflow = Some(registered.reference.clone());
    }
    match &progress.publication {
        Some(Publication::Done(published)) => status.published = Some((**published).clone()),
        Some(_) => status.job = Some(job_name(&version.name_any())),
        None => {}
    }
    if let Some(decision) = &progress.decision {
        record(&mut status, decision, now);
    }
    status
}

/// Notes the stage, and the change where there was one.
fn record(status: &mut ModelVersionStatus, decision: &Decision, now: Timestamp) {
    let digest = status
        .published
        .as_ref()
        .map(|published| published.digest.clone())
        .unwrap_or_default();
    let mut from = status.stage.unwrap_or_default();
    for to in path(from, decision.stage) {
        let reason = if to == decision.stage {
            decision.reason
        } else {
            Reason::StageReached
        };
        let transition = StageTransition {
            from,
            to,
            time: Time(now),
            reason: reason.to_string(),
            digest: digest.clone(),
        };
        status.history.insert(0, transition);
        from = to;
    }
    status.history.truncate(HISTORY);
    status.stage = Some(decision.stage);
}

fn registered(progress: &Progress, error: Option<&Error>) -> Verdict {
    if let Some(registered) = &progress.registered {
        let name = &registered.reference.registered_model;
        let message = format!("version {} of {name} in MLflow's registry", registered.version);
        return Verdict::new(ConditionStatus::True, Reason::Registered, message);
    }
    if let Some(problem) = &progress.source_problem {
        return Verdict::new(ConditionStatus::False, problem.reason, &problem.message);
    }
    error.map_or_else(|| Verdict::waiting("the source"), interrupted)
}

fn published(progress: &Progress, error: Option<&Error>) -> Verdict {
    match &progress.publication {
        Some(Publication::Done(published)) => Verdict::new(
            ConditionStatus::True,
            Reason::Published,
            format!("{} at {}", published.digest, published.uri),
        ),
        Some(Publication::Active { trouble: None }) => Verdict::new(
            ConditionStatus::False,
            Reason::Publishing,
            "converting, checking and uploading",
        ),
        Some(Publication::Active {
            trouble: Some(trouble),
        }) => Verdict::new(ConditionStatus::False, Reason::Pending, trouble),
        Some(Publication::Failed(failure)) => {
            Verdict::new(ConditionStatus::False, failure_reason(failure), &failure.message)
        }
        None if progress.registered.is_none() => Verdict::waiting("the registration"),
        None => error.map_or_else(|| Verdict::waiting("the publish Job"), interrupted),
    }
}

fn failure_reason(failure: &Failure) -> Reason {
    Reason::parse(&failure.reason).unwrap_or(Reason::PublishFailed)
}

fn approved(decision: &Decision) -> Verdict {
    let (status, message) = match decision.approval {
        Reason::Approved => (ConditionStatus::True, "spec.approval names the published digest"),
        Reason::NotRequired => (ConditionStatus::Unknown, "only Production needs an approval"),
        _ => (ConditionStatus::False, decision.approval_message.as_str()),
    };
    Verdict::new(status, decision.approval, message)
}

fn promoted(decision: &Decision) -> Verdict {
    let status = if decision.reached {
        ConditionStatus::True
    } else {
        ConditionStatus::False
    };
    Verdict::new(status, decision.reason, &decision.message)
}

/// What MLflow shows; `None` where that was not looked at, because an error came before.
fn mirrored(progress: &Progress) -> Option<Verdict> {
    let decision = progress.decision.as_ref()?;
    let Some(registered) = &progress.registered else {
        return None;
    };
    let (name, version) = (&registered.reference.registered_model, &registered.version);
    Some(match &progress.mirror {
        None => Verdict::waiting("the stage to be noted here, before MLflow is told"),
        Some(Mirror::Shown) => Verdict::holds(
            Reason::Mirrored,
            format!(
                "version {version} of {name} is in stage {} in MLflow",
                decision.stage
            ),
        ),
        Some(Mirror::Gone) => Verdict::not(
            Reason::NotInRegistry,
            format!(
                "MLflow has no version {version} of {name}: it was deleted there, so that there is nothing to show a stage on; what is published and served does not change"
            ),
        ),
        Some(Mirror::Behind { reason, message }) => Verdict::not(
            *reason,
            format!("MLflow does not show stage {} yet: {message}", decision.stage),
        ),
    })
}

fn ready(verdicts: [&Verdict; 3], error: Option<&Error>, progress: &Progress) -> Verdict {
    if let Some(error) = error {
        return interrupted(error);
    }
    match verdicts
        .into_iter()
        .find(|verdict| verdict.status != ConditionStatus::True)
    {
        Some(verdict) => Verdict::new(ConditionStatus::False, verdict.reason, &verdict.message),
        None => {
            let message = progress
                .decision
                .as_ref()
                .map(|decision| decision.message.as_str())
                .unwrap_or_default();
            Verdict::new(ConditionStatus::True, Reason::StageReached, message)
        }
    }
}

/// The status of a version that is being deleted, and what keeps its policy `Delete` from being carried out.
pub fn held_up(version: &ModelVersion, why: &str, now: Timestamp) -> ModelVersionStatus {
    let mut status = version.status.clone().unwrap_or_default();
    let mut conditions = Conditions::new(&status.conditions, version.metadata.generation, now);
    let message = format!(
        "not removed from MLflow and the model repository yet: {why}; to let the object go and keep the version there: \
         kubectl patch modelversion {} -n {} --type merge -p '{{\"spec\":{{\"deletionPolicy\":\"Retain\"}}}}'",
        version.metadata.name.as_deref().unwrap_or_default(),
        version.metadata.namespace.as_deref().unwrap_or_default(),
    );
    conditions.set(Type::Ready, Verdict::not(Reason::Deleting, message));
    status.conditions = conditions.into_vec();
    status.observed_generation = version.metadata.generation;
    status
}

fn interrupted(error: &Error) -> Verdict {
    let (reason, message) = match error {
        Error::Mlflow(mlflow) if mlflow.is_retryable() => (
            Reason::MLflowUnavailable,
            format!("{error}; tried again until it answers"),
        ),
        Error::Mlflow(_) => (Reason::MLflowRefused, error.to_string()),
        Error::Repository(_) => (Reason::RepositoryUnavailable, error.to_string()),
        Error::NameTaken { .. } => (Reason::NameTaken, error.to_string()),
        Error::InvalidObject(_) => (Reason::InvalidSpec, error.to_string()),
        Error::Kubernetes { .. } | Error::Timeout(_) => (Reason::ApiRefused, error.to_string()),
    };
    Verdict::new(ConditionStatus::False, reason, message)
}

#[cfg(test)]
mod tests {
    use aiops_crds::{MlflowVersionReference, Stage};

    use super::super::progress::Registered;
    use super::super::stage::tests::{decision_of_reached, published};
    use super::*;

    fn version(status: Option<ModelVersionStatus>) -> ModelVersion {
        let mut version: ModelVersion = serde_json::from_value(serde_json::json!({
            "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": "forest-1", "namespace": "team", "generation": 1},
            "spec": {"model": "tumour", "source": {"experiment": "forest"}, "stage": "Production"},
        }))
        .unwrap();
        version.status = status;
        version
    }

    fn in_production() -> Progress {
        Progress {
            registered: Some(Registered {
                version: "1".into(),
                reference: MlflowVersionReference::default(),
            }),
            publication: Some(Publication::Done(Box::new(published()))),
            decision: Some(decision_of_reached(Stage::Production)),
            ..Progress::default()
        }
    }

    fn condition(status: &ModelVersionStatus, type_: Type) -> (ConditionStatus, String, String) {
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_.as_str())
            .unwrap();
        (found.status, found.reason.clone(), found.message.clone())
    }

    fn timeout() -> Error {
        Error::Timeout(std::time::Duration::from_secs(1))
    }

    #[test]
    fn an_error_after_the_publication_leaves_stage_and_approval_as_they_were() {
        let before = status(&version(None), &in_production(), None, Timestamp::UNIX_EPOCH);
        let interrupted = Progress {
            decision: None,
            ..in_production()
        };
        let after = status(
            &version(Some(before.clone())),
            &interrupted,
            Some(&timeout()),
            Timestamp::UNIX_EPOCH,
        );
        assert_eq!(after.stage, Some(Stage::Production));
        assert_eq!(
            condition(&after, Type::Approved),
            condition(&before, Type::Approved)
        );
        assert_eq!(condition(&after, Type::Ready).0, ConditionStatus::False);
    }

    #[test]
    fn a_stage_holds_although_mlflow_does_not_show_it() {
        let unavailable = Mirror::Behind {
            reason: Reason::MLflowUnavailable,
            message: "connection refused".into(),
        };
        for (mirror, reason) in [
            (unavailable, "MLflowUnavailable"),
            (Mirror::Gone, "NotInRegistry"),
        ] {
            let progress = Progress {
                mirror: Some(mirror),
                ..in_production()
            };
            let status = status(&version(None), &progress, None, Timestamp::UNIX_EPOCH);
            assert_eq!(status.stage, Some(Stage::Production));
            assert_eq!(status.history[0].to, Stage::Production);
            assert_eq!(condition(&status, Type::Ready).0, ConditionStatus::True);
            let (mirrored, why, _) = condition(&status, Type::Mirrored);
            assert_eq!((mirrored, why.as_str()), (ConditionStatus::False, reason));
        }
    }

    #[test]
    fn a_deletion_that_is_held_up_says_why_and_how_to_let_go() {
        let status = held_up(&version(None), &timeout().to_string(), Timestamp::UNIX_EPOCH);
        let (ready, reason, message) = condition(&status, Type::Ready);
        assert_eq!((ready, reason.as_str()), (ConditionStatus::False, "Deleting"));
        assert!(
            message.contains("took longer than 1 s")
                && message.contains(r#"-n team --type merge -p '{"spec":{"deletionPolicy":"Retain"}}'"#),
            "{message}"
        );
    }
}
