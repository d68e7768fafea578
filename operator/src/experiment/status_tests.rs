//! What an Experiment's status says about the facts of a reconcile.

use aiops_crds::{ConditionStatus, ExperimentStatus, MetricValue, MlflowRunReference, ValidationVerdict};
use k8s_openapi::jiff::Timestamp;

use super::progress::{Progress, Registered, Training};
use super::status::{is_complete, status};
use super::validate::tests::{experiment, sample};
use crate::framework::error::Error;
use crate::framework::job_outcome::Failure;

fn ready_of(status: &ExperimentStatus) -> (&ConditionStatus, &str, &str) {
    let ready = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")
        .unwrap();
    (&ready.status, &ready.reason, &ready.message)
}

fn trained(passed: bool) -> Progress {
    Progress {
        run: Some(MlflowRunReference {
            experiment_id: "1".into(),
            run_id: "r".into(),
        }),
        training: Some(Training::Succeeded),
        metrics: vec![MetricValue {
            name: "accuracy".into(),
            value: "0.9".into(),
        }],
        verdicts: vec![ValidationVerdict {
            metric: "accuracy".into(),
            value: Some("0.9".into()),
            passed,
            detail: "0.9 < min 0.93".into(),
        }],
        ..Progress::default()
    }
}

#[test]
fn a_metric_below_its_bound_says_so_and_registers_nothing() {
    let status = status(
        &experiment(sample()),
        &trained(false),
        None,
        Timestamp::UNIX_EPOCH,
    );
    let (ready, reason, message) = ready_of(&status);
    assert_eq!((ready, reason), (&ConditionStatus::False, "ThresholdNotMet"));
    assert!(message.contains("accuracy: 0.9 < min 0.93"), "{message}");
    assert_eq!(status.model_version, None);
    assert_eq!(status.result.as_deref(), Some("accuracy=0.9000"));
}

#[test]
fn a_validation_that_is_tightened_after_the_registration_names_the_version_that_stays() {
    let mut object = experiment(sample());
    object.status = Some(ExperimentStatus {
        model_version: Some("forest-1".into()),
        ..ExperimentStatus::default()
    });
    let status = status(&object, &trained(false), None, Timestamp::UNIX_EPOCH);
    let message = |type_: &str| {
        let found = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_);
        found.unwrap().message.clone()
    };
    assert!(
        message("Registered").contains("ModelVersion forest-1"),
        "{}",
        message("Registered")
    );
    assert!(
        message("Validated").contains("nothing more is registered"),
        "{}",
        message("Validated")
    );
}

#[test]
fn everything_done_is_ready_and_complete() {
    let progress = Progress {
        registration: Some(Registered::Exists {
            name: "forest-1".into(),
        }),
        ..trained(true)
    };
    let mut object = experiment(sample());
    let status = status(&object, &progress, None, Timestamp::UNIX_EPOCH);
    assert_eq!(ready_of(&status).0, &ConditionStatus::True);
    object.status = Some(status);
    assert!(is_complete(&object));
    object.metadata.generation = Some(2);
    assert!(!is_complete(&object));
}

#[test]
fn the_same_facts_give_the_same_status_later() {
    let mut object = experiment(sample());
    let first = status(&object, &trained(false), None, Timestamp::UNIX_EPOCH);
    object.status = Some(first.clone());
    let later = Timestamp::from_second(60).unwrap();
    assert_eq!(status(&object, &trained(false), None, later), first);
}

/// The conditions after `progress`, as (type, status, reason), of an Experiment that `before` was observed of.
fn conditions_after(
    before: &Progress,
    progress: &Progress,
    error: Option<&Error>,
) -> Vec<(String, ConditionStatus, String)> {
    let mut object = experiment(sample());
    object.status = Some(status(&object, before, None, Timestamp::UNIX_EPOCH));
    let after = status(&object, progress, error, Timestamp::UNIX_EPOCH);
    let conditions = after.conditions.into_iter();
    conditions
        .map(|condition| (condition.type_, condition.status, condition.reason))
        .collect()
}

fn is(type_: &str, status: ConditionStatus, reason: &str) -> (String, ConditionStatus, String) {
    (type_.into(), status, reason.into())
}

fn failed(reason: &str, message: &str) -> Progress {
    let failure = Failure {
        reason: reason.into(),
        message: message.into(),
    };
    Progress {
        training: Some(Training::Failed(failure)),
        ..Progress::default()
    }
}

#[test]
fn an_error_after_the_training_changes_nothing_about_what_is_known_of_it() {
    let error = Error::Timeout(std::time::Duration::from_secs(1));
    let nothing = Progress::default();
    assert_eq!(
        conditions_after(&trained(false), &nothing, Some(&error)),
        [
            is("Ready", ConditionStatus::False, "ApiRefused"),
            is("Trained", ConditionStatus::True, "Succeeded"),
            is("Validated", ConditionStatus::False, "ThresholdNotMet"),
            is("Registered", ConditionStatus::False, "Waiting"),
        ]
    );
    let after = conditions_after(&failed("OutOfMemory", "killed"), &nothing, Some(&error));
    assert_eq!(after[1], is("Trained", ConditionStatus::False, "OutOfMemory"));
    let active = Progress {
        training: Some(Training::Active { trouble: None }),
        ..Progress::default()
    };
    let after = conditions_after(&active, &nothing, Some(&error));
    assert_eq!(after[1], is("Trained", ConditionStatus::False, "ApiRefused"));
}

#[test]
fn rules_that_were_changed_are_not_judged_by_what_the_old_ones_said() {
    let mut object = experiment(sample());
    object.status = Some(status(&object, &trained(false), None, Timestamp::UNIX_EPOCH));
    object.metadata.generation = Some(2);
    let error = Error::Timeout(std::time::Duration::from_secs(1));
    let after = status(&object, &Progress::default(), Some(&error), Timestamp::UNIX_EPOCH);
    assert_eq!(after.conditions[1].status, ConditionStatus::True);
    assert_eq!(after.conditions[2].status, ConditionStatus::Unknown);
}

#[test]
fn a_run_that_was_deleted_after_its_training_says_how_to_get_it_back() {
    let lost = Progress {
        lost_run: Some("r".into()),
        ..Progress::default()
    };
    let mut object = experiment(sample());
    object.status = Some(status(&object, &trained(true), None, Timestamp::UNIX_EPOCH));
    let after = status(&object, &lost, None, Timestamp::UNIX_EPOCH);
    let (_, reason, message) = ready_of(&after);
    assert_eq!(reason, "RunNotFound");
    assert!(message.contains("mlflow runs restore --run-id r"), "{message}");
    let after = conditions_after(&failed("OutOfMemory", "killed"), &lost, None);
    assert_eq!(after[0], is("Ready", ConditionStatus::False, "OutOfMemory"));
}

#[test]
fn a_trainers_reason_is_the_conditions_reason() {
    let failure = Failure {
        reason: "UnknownTargetColumn".into(),
        message: "no column churn".into(),
    };
    let progress = Progress {
        training: Some(Training::Failed(failure)),
        ..Progress::default()
    };
    let status = status(&experiment(sample()), &progress, None, Timestamp::UNIX_EPOCH);
    assert_eq!(ready_of(&status).1, "UnknownTargetColumn");
}
