//! Says what to do about a training that failed (pure).

use aiops_crds::{Experiment, ExperimentReason as Reason};
use kube::ResourceExt as _;

use super::status::last_trouble;
use super::validate::job_name;
use crate::framework::job_outcome::Failure;

/// The condition's reason for a failure.
pub fn reason(failure: &Failure) -> Reason {
    match failure.reason.as_str() {
        "Crashed" => Reason::TrainerCrashed,
        reason => Reason::parse(reason).unwrap_or(Reason::TrainingFailed),
    }
}

/// The failure with what to do about it, where the trainer does not say so itself.
pub fn explained(failure: Failure, experiment: &Experiment) -> Failure {
    let remedy = match reason(&failure) {
        Reason::OutOfMemory => "raise spec.resources.limits.memory in a new Experiment".to_owned(),
        Reason::DeadlineExceeded => match last_trouble(experiment) {
            // The pod is gone with the deadline: only status still knows what it waited for.
            Some(trouble) => format!("until then: {trouble}; mend that, then create a new Experiment"),
            None => "raise spec.activeDeadlineSeconds in a new Experiment".to_owned(),
        },
        Reason::TrainerCrashed => format!(
            "read kubectl logs job/{} -n {}, then create a new Experiment",
            job_name(&experiment.name_any()),
            experiment.namespace().unwrap_or_default()
        ),
        _ => return failure,
    };
    Failure {
        message: format!("{}; {remedy}", failure.message),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn message(reason: &str, experiment: &Experiment) -> String {
        let failure = Failure {
            reason: reason.into(),
            message: "it failed".into(),
        };
        explained(failure, experiment).message
    }

    #[test]
    fn each_way_to_die_says_what_to_do_next() {
        for (reason, remedy) in [
            ("OutOfMemory", "spec.resources.limits.memory"),
            ("DeadlineExceeded", "spec.activeDeadlineSeconds"),
            ("Crashed", "kubectl logs job/forest-train -n team"),
        ] {
            assert!(message(reason, &sample()).contains(remedy), "{reason}");
        }
        assert_eq!(message("UnknownDataset", &sample()), "it failed");
    }

    #[test]
    fn a_deadline_that_was_spent_waiting_says_for_what() {
        let mut experiment = sample();
        experiment.status = Some(
            serde_json::from_value(serde_json::json!({"conditions": [{
                "type": "Trained", "status": "False", "reason": "Pending", "message": "secret not found",
                "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:00Z",
            }]}))
            .unwrap(),
        );
        let message = message("DeadlineExceeded", &experiment);
        assert!(
            message.contains("secret not found") && !message.contains("activeDeadlineSeconds"),
            "{message}"
        );
    }
}
