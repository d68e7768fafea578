//! Reads a Job and its pods as one outcome (pure): what it reported, or why it failed.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::pod_trouble::{containers, has_ended, pod_trouble};

/// The exit code of a container whose error the same input would give again (docs/interfaces.md).
pub const EXIT_FINAL: i32 = 2;
/// The exit code of a process that was killed, by the kernel at its memory limit as a rule.
const EXIT_KILLED: i32 = 137;

/// A Job without a pod for longer than this has been refused one.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// How a Job stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum JobOutcome {
    /// At work; `trouble` says what keeps its pod from running.
    Active {
        /// What keeps the pod from running, where something does.
        trouble: Option<String>,
    },
    /// Done; `report` is the termination message of its main container.
    Succeeded {
        /// The main container's termination message, empty where the pod is gone.
        report: String,
    },
    /// Failed for good.
    Failed(Failure),
}

/// Why a Job failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Failure {
    /// A word: the container's own, or `OutOfMemory`, `DeadlineExceeded`, `Crashed`.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// Reads `job` and its `pods` as they were at `now`.
#[must_use]
pub fn job_outcome(job: &Job, pods: &[Pod], now: Timestamp) -> JobOutcome {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    let condition = |type_: &str| {
        conditions
            .into_iter()
            .flatten()
            .find(|condition| condition.type_ == type_ && condition.status == "True")
    };
    if condition("Complete").is_some() || condition("SuccessCriteriaMet").is_some() {
        return JobOutcome::Succeeded { report: report(pods) };
    }
    match condition("Failed").or_else(|| condition("FailureTarget")) {
        Some(failed) if failed.reason.as_deref() == Some("DeadlineExceeded") => {
            let seconds = job
                .spec
                .as_ref()
                .and_then(|spec| spec.active_deadline_seconds)
                .unwrap_or_default();
            JobOutcome::Failed(Failure {
                reason: "DeadlineExceeded".into(),
                message: format!("did not finish within its deadline of {seconds} s"),
            })
        }
        Some(failed) => {
            let otherwise = || Failure {
                reason: "Crashed".into(),
                message: failed
                    .message
                    .clone()
                    .unwrap_or_else(|| "the Job failed without saying why".into()),
            };
            JobOutcome::Failed(last_failure(pods).unwrap_or_else(otherwise))
        }
        None => JobOutcome::Active {
            trouble: match newest_at_work(pods) {
                Some(pod) => pod_trouble(pod, now),
                None if pods.is_empty() => no_pod(job, now),
                None => last_failure(pods).map(|failure| tried_again(&failure)),
            },
        },
    }
}

/// Why a Job has no pod, where it should have had one long ago. The Job's own status is silent about it.
fn no_pod(job: &Job, now: Timestamp) -> Option<String> {
    let (name, namespace) = (job.metadata.name.as_deref()?, job.metadata.namespace.as_deref()?);
    let created = job.metadata.creation_timestamp.as_ref()?.0;
    (now.duration_since(created) > PATIENCE).then(|| {
        format!(
            "Job {name} has no pod: a ResourceQuota, a LimitRange or an admission webhook of the namespace may refuse it; \
             kubectl describe job {name} -n {namespace} says which"
        )
    })
}

fn newest_at_work(pods: &[Pod]) -> Option<&Pod> {
    pods.iter()
        .filter(|pod| !has_ended(pod))
        .max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
}

/// What a Job waits for that has no pod between two tries.
fn tried_again(failure: &Failure) -> String {
    format!(
        "the last try failed and is made again: {}: {}",
        failure.reason, failure.message
    )
}

fn report(pods: &[Pod]) -> String {
    let succeeded = pods.iter().filter(|pod| phase(pod) == Some("Succeeded"));
    let main = succeeded.filter_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first());
    main.filter_map(|container| container.state.as_ref()?.terminated.as_ref()?.message.clone())
        .next_back()
        .unwrap_or_default()
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

/// The failure of the newest pod that has one.
fn last_failure(pods: &[Pod]) -> Option<Failure> {
    let mut failed: Vec<&Pod> = pods.iter().filter(|pod| phase(pod) == Some("Failed")).collect();
    failed.sort_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    failed.iter().rev().find_map(|pod| pod_failure(pod))
}

fn pod_failure(pod: &Pod) -> Option<Failure> {
    let terminated = containers(pod).find_map(|container| {
        let terminated = container.state.as_ref()?.terminated.as_ref()?;
        (terminated.exit_code != 0).then_some((container.name.as_str(), terminated))
    });
    if let Some((container, terminated)) = terminated {
        return Some(container_failure(container, terminated, pod));
    }
    let status = pod.status.as_ref()?;
    let reason = status.reason.as_deref()?;
    let message = status.message.as_deref().unwrap_or("no details given");
    Some(Failure {
        reason: "Crashed".into(),
        message: format!("the pod was stopped ({reason}): {message}"),
    })
}

/// What a container reports of its own failure.
#[derive(Deserialize)]
struct Report {
    reason: String,
    message: String,
}

fn container_failure(container: &str, terminated: &ContainerStateTerminated, pod: &Pod) -> Failure {
    if terminated.reason.as_deref() == Some("OOMKilled") {
        let limit = memory_limit(pod, container).unwrap_or_else(|| "the node's memory".into());
        return Failure {
            reason: "OutOfMemory".into(),
            message: format!("container {container} was killed at its memory limit ({limit})"),
        };
    }
    let text = terminated.message.as_deref().unwrap_or_default().trim();
    if let Ok(report) = serde_json::from_str::<Report>(text) {
        return Failure {
            reason: report.reason,
            message: report.message,
        };
    }
    let code = terminated.exit_code;
    let signal = if code == EXIT_KILLED { " (killed)" } else { "" };
    let tail = if text.is_empty() {
        "it wrote nothing".to_owned()
    } else {
        format!("its last words: {text}")
    };
    Failure {
        reason: "Crashed".into(),
        message: format!("container {container} ended with exit code {code}{signal}; {tail}"),
    }
}

fn memory_limit(pod: &Pod, container: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let mut all = spec
        .containers
        .iter()
        .chain(spec.init_containers.iter().flatten());
    let limits = all
        .find(|candidate| candidate.name == container)?
        .resources
        .as_ref()?
        .limits
        .as_ref()?;
    limits.get("memory").map(|quantity| quantity.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn job(conditions: serde_json::Value) -> Job {
        serde_json::from_value(json!({
            "spec": {"activeDeadlineSeconds": 60, "template": {}}, "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn failed() -> Job {
        job(
            json!([{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "exit code 2"}]),
        )
    }

    fn pod(phase: &str, terminated: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "trainer", "resources": {"limits": {"memory": "64Mi"}}}]},
            "status": {"phase": phase, "containerStatuses": [{
                "name": "trainer", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": terminated},
            }]},
        }))
        .unwrap()
    }

    fn failure(pods: &[Pod]) -> Failure {
        match job_outcome(&failed(), pods, Timestamp::UNIX_EPOCH) {
            JobOutcome::Failed(failure) => failure,
            other => panic!("expected a failure, got {other:?}"),
        }
    }

    #[test]
    fn the_containers_own_reason_is_taken() {
        let message = r#"{"reason": "UnknownDataset", "message": "no dataset irys; known: iris"}"#;
        let failure = failure(&[pod("Failed", json!({"exitCode": 2, "message": message}))]);
        assert_eq!(failure.reason, "UnknownDataset");
        assert_eq!(failure.message, "no dataset irys; known: iris");
    }

    #[test]
    fn a_container_killed_at_its_memory_limit_says_the_limit() {
        let failure = failure(&[pod("Failed", json!({"exitCode": 137, "reason": "OOMKilled"}))]);
        assert_eq!(failure.reason, "OutOfMemory");
        assert!(failure.message.contains("64Mi"), "{}", failure.message);
    }

    #[test]
    fn a_crash_shows_the_last_words() {
        let failure = failure(&[pod(
            "Failed",
            json!({"exitCode": 1, "message": "Segmentation fault"}),
        )]);
        assert_eq!(failure.reason, "Crashed");
        assert!(failure.message.contains("Segmentation fault"));
    }

    #[test]
    fn a_deadline_is_told_from_a_crash() {
        let job = job(json!([{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]));
        assert_eq!(
            job_outcome(&job, &[], Timestamp::UNIX_EPOCH),
            JobOutcome::Failed(Failure {
                reason: "DeadlineExceeded".into(),
                message: "did not finish within its deadline of 60 s".into()
            })
        );
    }

    #[test]
    fn a_failed_job_without_pods_still_says_something() {
        assert_eq!(failure(&[]).message, "exit code 2");
    }

    #[test]
    fn a_job_that_gets_no_pod_says_where_to_look_once_there_should_be_one() {
        let mut job = job(json!([]));
        job.metadata = serde_json::from_value(json!({
            "name": "forest-train", "namespace": "team", "creationTimestamp": "1970-01-01T00:00:00Z",
        }))
        .unwrap();
        let trouble = |seconds: i64| match job_outcome(&job, &[], Timestamp::from_second(seconds).unwrap()) {
            JobOutcome::Active { trouble } => trouble,
            other => panic!("expected a Job at work, got {other:?}"),
        };
        assert_eq!(trouble(30), None);
        let trouble = trouble(31).unwrap();
        assert!(
            trouble.contains("ResourceQuota")
                && trouble.contains("kubectl describe job forest-train -n team"),
            "{trouble}"
        );
    }

    #[test]
    fn between_two_tries_the_last_failure_is_told_and_later_what_the_new_pod_waits_for() {
        let job = job(json!([]));
        let trouble = |pods: &[Pod]| match job_outcome(&job, pods, Timestamp::UNIX_EPOCH) {
            JobOutcome::Active { trouble } => trouble,
            other => panic!("expected a Job at work, got {other:?}"),
        };
        let message = r#"{"reason": "MLflowUnreachable", "message": "connection refused"}"#;
        let mut first = pod("Failed", json!({"exitCode": 1, "message": message}));
        first.metadata.creation_timestamp = serde_json::from_value(json!("1970-01-01T00:00:00Z")).unwrap();
        let told = trouble(std::slice::from_ref(&first)).unwrap();
        assert!(
            told.contains("made again: MLflowUnreachable: connection refused"),
            "{told}"
        );
        let mut second: Pod = serde_json::from_value(json!({
            "metadata": {"name": "q", "creationTimestamp": "1970-01-01T00:00:01Z"},
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "trainer", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}},
            }]},
        }))
        .unwrap();
        let told = trouble(&[first.clone(), second.clone()]).unwrap();
        assert!(told.contains("ErrImagePull"), "{told}");
        second.status = serde_json::from_value(json!({"phase": "Running"})).unwrap();
        assert_eq!(trouble(&[first, second]), None);
        assert_eq!(trouble(&[pod("Succeeded", json!({"exitCode": 0}))]), None);
    }

    #[test]
    fn success_hands_over_the_report() {
        let job = job(json!([{"type": "Complete", "status": "True"}]));
        let pods = [pod(
            "Succeeded",
            json!({"exitCode": 0, "message": "{\"digest\": \"d\"}"}),
        )];
        assert_eq!(
            job_outcome(&job, &pods, Timestamp::UNIX_EPOCH),
            JobOutcome::Succeeded {
                report: "{\"digest\": \"d\"}".into()
            }
        );
    }
}
