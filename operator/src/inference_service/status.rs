//! Computes an InferenceService's status from what a reconcile found out (pure).

use std::time::Duration;

use aiops_crds::{
    ConditionStatus, InferenceService, InferenceServiceCondition as Type, InferenceServiceReason as Reason,
    InferenceServiceStatus, ServedModelStatus,
};
use k8s_openapi::jiff::Timestamp;

use super::build::{addresses, label_selector};
use super::progress::{Progress, Served};
use super::resolve::ResolvedModel;
use super::validate::{ValidatedInferenceService, validate};
use super::verdicts::{self, Verdict};
use crate::framework::conditions::Conditions;
use crate::framework::error::{Error, RESYNC};

/// How soon pods that load or start are looked at again: that they read a plan changes no object.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How soon pods that fail are looked at again: somebody has to do something about them first.
const LOOK_AGAIN_AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The verdicts of one reconcile; `None` where it ended before that could be found out.
struct Verdicts {
    models_resolved: Option<Verdict>,
    plan_applied: Option<Verdict>,
    available: Option<Verdict>,
    ready: Verdict,
}

/// The status after a reconcile. What could not be found out now because of `error` stays as it was.
pub fn status(
    service: &InferenceService,
    progress: &Progress,
    error: Option<&Error>,
    now: Timestamp,
) -> InferenceServiceStatus {
    let mut status = service.status.clone().unwrap_or_default();
    let validated = validate(service).ok();
    let verdicts = verdicts(validated.as_ref(), progress, error, now);

    let mut conditions = Conditions::new(&status.conditions, service.metadata.generation, now);
    for (type_, verdict) in [
        (Type::Ready, Some(verdicts.ready)),
        (Type::ModelsResolved, verdicts.models_resolved),
        (Type::PlanApplied, verdicts.plan_applied),
        (Type::Available, verdicts.available),
    ] {
        let known = status
            .conditions
            .iter()
            .any(|condition| condition.type_ == type_.as_str());
        let verdict = verdict.or_else(|| (!known).then(|| Verdict::waiting("an earlier step")));
        if let Some(verdict) = verdict {
            conditions.set(type_, verdict);
        }
    }
    status.conditions = conditions.into_vec();
    status.observed_generation = service.metadata.generation;
    if let Some(validated) = validated {
        status.selector = Some(label_selector(&validated));
        match &progress.served {
            Some(served) => serving(&mut status, &validated, served),
            None if nothing_to_serve(progress) && error.is_none() => stopped(&mut status, &validated),
            None => {}
        }
    }
    status
}

/// How soon to look again at a service with this status, where nothing that is watched changes before.
pub fn look_again_after(status: &InferenceServiceStatus) -> Duration {
    let reasons = status
        .conditions
        .iter()
        .filter_map(|condition| Reason::parse(&condition.reason));
    reasons
        .map(|reason| match reason {
            Reason::Loading | Reason::Progressing => LOOK_AGAIN,
            Reason::LoadFailed | Reason::PodsNotStarting => LOOK_AGAIN_AFTER_FAILURE,
            _ => RESYNC,
        })
        .min()
        .unwrap_or(RESYNC)
}

fn nothing_to_serve(progress: &Progress) -> bool {
    progress
        .resolution
        .as_ref()
        .is_some_and(|resolution| resolution.models.is_empty())
}

fn verdicts(
    validated: Option<&ValidatedInferenceService>,
    progress: &Progress,
    error: Option<&Error>,
    now: Timestamp,
) -> Verdicts {
    let models_resolved = match (&progress.invalid, &progress.resolution) {
        (Some(invalid), _) => Some(Verdict::not(Reason::InvalidSpec, invalid)),
        (None, resolution) => resolution.as_ref().map(verdicts::models_resolved),
    };
    let (plan_applied, available) = match (&progress.served, validated) {
        (Some(served), Some(validated)) => (
            Some(verdicts::plan_applied(served)),
            Some(verdicts::available(served, &validated.scale, now)),
        ),
        _ if nothing_to_serve(progress) => (
            Some(Verdict::waiting("a model to be resolved")),
            Some(Verdict::waiting("a model to be resolved")),
        ),
        _ => (None, None),
    };
    let ready = match (error, &models_resolved, &plan_applied, &available) {
        (Some(error), ..) => interrupted(error),
        (None, Some(resolved), Some(plan_applied), Some(available)) => {
            let models = progress.served.as_ref().map(|served| served.models.as_slice());
            verdicts::ready(resolved, plan_applied, available, models.unwrap_or_default())
        }
        (None, Some(resolved), ..) => Verdict::not(resolved.reason, &resolved.message),
        (None, None, ..) => Verdict::waiting("an earlier step"),
    };
    Verdicts {
        models_resolved,
        plan_applied,
        available,
        ready,
    }
}

fn serving(status: &mut InferenceServiceStatus, validated: &ValidatedInferenceService, served: &Served) {
    let counts = served.deployment.status.clone().unwrap_or_default();
    let ready = counts.ready_replicas.unwrap_or_default();
    status.addresses = Some(addresses(validated));
    status.models = served.models.iter().map(model_status).collect();
    status.replicas = Some(counts.replicas.unwrap_or_default());
    status.ready_replicas = Some(ready);
    status.replicas_summary = Some(format!("{ready}/{}", verdicts::desired(&served.deployment)));
    // Where a ready pod does not say what it serves, the last that was known stands.
    if let Some(answering) = verdicts::answering(&served.reports) {
        let named: Vec<String> = answering
            .iter()
            .map(|(model, version)| format!("{model}:{version}"))
            .collect();
        status.serving = (!named.is_empty()).then(|| named.join(", "));
    }
}

fn stopped(status: &mut InferenceServiceStatus, validated: &ValidatedInferenceService) {
    status.addresses = None;
    status.models = Vec::new();
    status.serving = None;
    status.replicas = Some(0);
    status.ready_replicas = Some(0);
    status.replicas_summary = Some(format!("0/{}", validated.scale.least()));
}

fn model_status(model: &ResolvedModel) -> ServedModelStatus {
    ServedModelStatus {
        name: model.name.clone(),
        model_version: model.default.model_version.clone(),
        version: model.default.version.to_string(),
        digest: model.default.digest.clone(),
    }
}

fn interrupted(error: &Error) -> Verdict {
    let reason = match error {
        Error::NameTaken { .. } => Reason::NameTaken,
        Error::InvalidObject(_) => Reason::InvalidSpec,
        Error::Kubernetes { .. } | Error::Mlflow(_) | Error::Repository(_) | Error::Timeout(_) => {
            Reason::ApiRefused
        }
    };
    Verdict::new(ConditionStatus::False, reason, error.to_string())
}
