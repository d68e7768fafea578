//! Computes an Experiment's status from what a reconcile found out (pure).

use aiops_crds::{
    Condition, ConditionStatus, Experiment, ExperimentCondition as Type, ExperimentReason as Reason,
    ExperimentStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::failure;
use super::metrics;
use super::progress::{Progress, Registered, Training};
use super::thresholds::all_passed;
use super::validate::job_name;
use crate::framework::conditions::Conditions;
use crate::framework::error::Error;
use crate::framework::verdict;

type Verdict = verdict::Verdict<Reason>;

/// Whether nothing is left to do for this generation of the spec.
pub fn is_complete(experiment: &Experiment) -> bool {
    experiment.status.as_ref().is_some_and(|status| {
        status.observed_generation == experiment.metadata.generation
            && status.conditions.iter().any(|condition| {
                condition.type_ == Type::Ready.as_str()
                    && condition.status == ConditionStatus::True
                    && Some(condition.observed_generation) == experiment.metadata.generation
            })
    })
}

/// Whether the training has ended, well or not.
pub fn has_ended(experiment: &Experiment) -> bool {
    let status = experiment.status.as_ref();
    status.is_some_and(|status| status.completion_time.is_some())
}

/// What kept the trainer's pod from running when it was last looked at.
pub fn last_trouble(experiment: &Experiment) -> Option<&str> {
    let trained = condition(experiment, Type::Trained)?;
    (trained.reason == Reason::Pending.as_str()).then_some(trained.message.as_str())
}

fn condition(experiment: &Experiment, type_: Type) -> Option<&Condition> {
    let conditions = &experiment.status.as_ref()?.conditions;
    conditions
        .iter()
        .find(|condition| condition.type_ == type_.as_str())
}

/// A condition as it was, where the training has ended: an error changes nothing about what is known of it. What was said of an
/// earlier spec holds for the training alone, which never changes.
fn as_it_was(experiment: &Experiment, type_: Type) -> Option<Verdict> {
    let known = condition(experiment, type_).filter(|_| has_ended(experiment))?;
    if type_ != Type::Trained && Some(known.observed_generation) != experiment.metadata.generation {
        return None;
    }
    let reason = Reason::parse(&known.reason)?;
    Some(Verdict::new(known.status, reason, &known.message))
}

/// The status of an Experiment that is being deleted, and of what it waits for.
pub fn held_up(experiment: &Experiment, why: String, now: Timestamp) -> ExperimentStatus {
    let mut status = experiment.status.clone().unwrap_or_default();
    let mut conditions = Conditions::new(&status.conditions, experiment.metadata.generation, now);
    conditions.set(Type::Ready, Verdict::not(Reason::Deleting, why));
    status.conditions = conditions.into_vec();
    status.observed_generation = experiment.metadata.generation;
    status
}

/// The status after a reconcile. What could not be found out now because of `error` stays as it was.
pub fn status(
    experiment: &Experiment,
    progress: &Progress,
    error: Option<&Error>,
    now: Timestamp,
) -> ExperimentStatus {
    let mut status = experiment.status.clone().unwrap_or_default();
    let trained = trained(experiment, progress, error);
    let validated = validated(experiment, progress, &trained);
    let registered = registered(experiment, progress, &validated);
    let ready = ready(experiment, [&trained, &validated, &registered], progress, error);

    let mut conditions = Conditions::new(&status.conditions, experiment.metadata.generation, now);
    for (type_, verdict) in [
        (Type::Ready, ready),
        (Type::Trained, trained),
        (Type::Validated, validated),
        (Type::Registered, registered),
    ] {
        conditions.set(type_, verdict);
    }
    status.conditions = conditions.into_vec();
    status.observed_generation = experiment.metadata.generation;
    if let Some(run) = &progress.run {
        status.mlflow = Some(run.clone());
    }
    match &progress.training {
        Some(Training::Active { .. }) => {
            status.job = Some(job_name(&experiment.name_any()));
            status.start_time.get_or_insert(Time(now));
            status.completion_time = None;
        }
        Some(_) => {
            status.completion_time.get_or_insert(Time(now));
        }
        None => {}
    }
    if !progress.metrics.is_empty() {
        status.metrics.clone_from(&progress.metrics);
        status.validation.clone_from(&progress.verdicts);
        let first_rule = experiment
            .spec
            .validation
            .first()
            .map(|rule| rule.metric.as_str());
        status.result = metrics::result(&progress.metrics, first_rule);
    }
    if let Some(Registered::Exists { name }) = &progress.registration {
        status.model_version = Some(name.clone());
    }
    status
}

fn trained(experiment: &Experiment, progress: &Progress, error: Option<&Error>) -> Verdict {
    if let Some(invalid) = &progress.invalid {
        return Verdict::new(ConditionStatus::False, Reason::InvalidSpec, invalid);
    }
    match &progress.training {
        Some(Training::Active { trouble: None }) => {
            Verdict::new(ConditionStatus::False, Reason::Training, "the trainer is at work")
        }
        Some(Training::Active {
            trouble: Some(trouble),
        }) => Verdict::new(ConditionStatus::False, Reason::Pending, trouble),
        Some(Training::Succeeded) => {
            let run = progress
                .run
                .as_ref()
                .map(|run| run.run_id.as_str())
                .unwrap_or_default();
            Verdict::new(
                ConditionStatus::True,
                Reason::Succeeded,
                format!("MLflow run {run} is finished"),
            )
        }
        Some(Training::Failed(failure)) => {
            Verdict::new(ConditionStatus::False, failure::reason(failure), &failure.message)
        }
        None => as_it_was(experiment, Type::Trained)
            .unwrap_or_else(|| error.map_or_else(|| Verdict::waiting("MLflow"), interrupted)),
    }
}

fn validated(experiment: &Experiment, progress: &Progress, trained: &Verdict) -> Verdict {
    if trained.status != ConditionStatus::True {
        return Verdict::waiting("the training");
    }
    if progress.metrics.is_empty() && progress.verdicts.is_empty() {
        return as_it_was(experiment, Type::Validated).unwrap_or_else(|| Verdict::waiting("the training"));
    }
    let details = |passed: bool| {
        let chosen = progress
            .verdicts
            .iter()
            .filter(|verdict| verdict.passed == passed);
        chosen
            .map(|verdict| format!("{}: {}", verdict.metric, verdict.detail))
            .collect::<Vec<_>>()
            .join("; ")
    };
    if progress.verdicts.is_empty() {
        return Verdict::new(
            ConditionStatus::True,
            Reason::NotRequested,
            "spec.validation sets no bounds",
        );
    }
    if all_passed(&progress.verdicts) {
        return Verdict::new(ConditionStatus::True, Reason::ThresholdsMet, details(true));
    }
    let missing = progress.verdicts.iter().any(|verdict| verdict.value.is_none());
    let reason = if missing {
        Reason::MetricMissing
    } else {
        Reason::ThresholdNotMet
    };
    let known: Vec<&str> = progress
        .metrics
        .iter()
        .map(|metric| metric.name.as_str())
        .collect();
    let outcome = if already_registered(experiment).is_some() {
        "nothing more is registered"
    } else {
        "nothing is registered"
    };
    let remedy = if missing {
        format!(
            "; {outcome}; the run has {}: correct spec.validation",
            known.join(", ")
        )
    } else {
        format!("; {outcome}: train better in a new Experiment, or change spec.validation")
    };
    Verdict::new(
        ConditionStatus::False,
        reason,
        format!("{}{remedy}", details(false)),
    )
}

/// The ModelVersion that an earlier generation of the spec registered.
fn already_registered(experiment: &Experiment) -> Option<&str> {
    experiment.status.as_ref()?.model_version.as_deref()
}

fn registered(experiment: &Experiment, progress: &Progress, validated: &Verdict) -> Verdict {
    let before = already_registered(experiment);
    let Some(register) = &experiment.spec.register else {
        return Verdict::new(
            ConditionStatus::True,
            Reason::NotRequested,
            "spec.register is not set",
        );
    };
    match &progress.registration {
        Some(Registered::Exists { name }) => Verdict::new(
            ConditionStatus::True,
            Reason::Registered,
            format!("ModelVersion {name} of model {} exists", register.model),
        ),
        Some(Registered::NameTaken { name }) => Verdict::new(
            ConditionStatus::False,
            Reason::NameTaken,
            format!(
                "ModelVersion {name} exists and holds another model, such as that of an earlier Experiment of this name: set spec.register.name to a name that is free"
            ),
        ),
        None if validated.status == ConditionStatus::False && before.is_some() => Verdict::new(
            ConditionStatus::False,
            Reason::Waiting,
            format!(
                "ModelVersion {} was registered by what spec.validation said before; it stays: archive or delete it if it should not",
                before.unwrap_or_default()
            ),
        ),
        None if validated.status == ConditionStatus::False => Verdict::new(
            ConditionStatus::False,
            Reason::Waiting,
            "not registered, since the validation failed",
        ),
        None => as_it_was(experiment, Type::Registered).unwrap_or_else(|| Verdict::waiting("the validation")),
    }
}

/// The first verdict that is not `True` decides; an error that ended the reconcile is the reason where none says more.
fn ready(
    experiment: &Experiment,
    verdicts: [&Verdict; 3],
    progress: &Progress,
    error: Option<&Error>,
) -> Verdict {
    if let (Some(run), true) = (&progress.lost_run, verdicts[0].is_true()) {
        return Verdict::not(
            Reason::RunNotFound,
            format!(
                "MLflow run {run}, which holds what was trained, was deleted in MLflow: restore it there with \
                 mlflow runs restore --run-id {run}, or create a new Experiment"
            ),
        );
    }
    let undecided = verdicts
        .into_iter()
        .find(|verdict| verdict.status != ConditionStatus::True);
    match (undecided, error) {
        (None, None) => {
            let done = if experiment.spec.register.is_some() {
                "trained, validated and registered"
            } else {
                "trained and validated"
            };
            Verdict::new(ConditionStatus::True, Reason::Succeeded, done)
        }
        (Some(verdict), None) => Verdict::new(ConditionStatus::False, verdict.reason, &verdict.message),
        (_, Some(error)) => interrupted(error),
    }
}

fn interrupted(error: &Error) -> Verdict {
    let (reason, message) = match error {
        Error::Mlflow(mlflow) if mlflow.is_retryable() => (
            Reason::MLflowUnavailable,
            format!("{error}; tried again until it answers"),
        ),
        Error::Mlflow(_) => (Reason::MLflowRefused, error.to_string()),
        Error::NameTaken { .. } => (Reason::NameTaken, error.to_string()),
        Error::InvalidObject(_) => (Reason::InvalidSpec, error.to_string()),
        Error::Kubernetes { .. } | Error::Repository(_) | Error::Timeout(_) => {
            (Reason::ApiRefused, error.to_string())
        }
    };
    Verdict::new(ConditionStatus::False, reason, message)
}
