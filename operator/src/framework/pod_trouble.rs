//! Why a pod does not start or run, in words that say what to do (pure).

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

/// Waiting reasons that pass by themselves, as a rule within [`PATIENCE`].
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];
/// A container that is still being created after this long may wait for something that never comes.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// What keeps `pod` from running at `now`, or `None` where nothing does. A pod that has ended waits for nothing, although
/// containers of it that were never made still say so.
#[must_use]
pub fn pod_trouble(pod: &Pod, now: Timestamp) -> Option<String> {
    if has_ended(pod) {
        return None;
    }
    let name = pod.metadata.name.as_deref().unwrap_or("?");
    let unschedulable = condition(pod, "PodScheduled").filter(|condition| {
        condition.status == "False" && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        let why = condition.message.as_deref().unwrap_or("no reason given");
        return Some(format!("pod {name} fits no node: {why}"));
    }
    let waits = containers(pod).find_map(|container| {
        let waiting = container.state.as_ref()?.waiting.as_ref()?;
        let reason = waiting.reason.as_deref().unwrap_or("waiting");
        if ORDINARY.contains(&reason) {
            return None;
        }
        let message = waiting.message.as_deref().unwrap_or("no details given");
        Some(format!(
            "container {} of pod {name} waits ({reason}): {message}{}",
            container.name,
            hint(reason, message, container)
        ))
    });
    waits.or_else(|| still_created(pod, now))
}

/// Whether none of its containers runs again.
#[must_use]
pub fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// What a pod waits for none of whose containers runs, long after it was given to a node.
fn still_created(pod: &Pod, now: Timestamp) -> Option<String> {
    let state = |container: &ContainerStatus| container.state.clone().unwrap_or_default();
    if containers(pod).any(|container| state(container).running.is_some()) {
        return None;
    }
    let waiting = containers(pod).find(|container| state(container).waiting.is_some())?;
    // Since its last init container ended, or else since it was given to the node.
    let ended = containers(pod).filter_map(|container| state(container).terminated?.finished_at);
    let scheduled =
        condition(pod, "PodScheduled").and_then(|scheduled| scheduled.last_transition_time.clone());
    let since = ended.chain(scheduled).map(|time| time.0).max()?;
    if now.duration_since(since) < PATIENCE {
        return None;
    }
    let (name, metadata) = (&waiting.name, &pod.metadata);
    let (pod_name, namespace) = (metadata.name.as_deref()?, metadata.namespace.as_deref()?);
    let not_prepared =
        condition(pod, "PodReadyToStartContainers").is_some_and(|condition| condition.status == "False");
    let why = if not_prepared {
        "a volume cannot be mounted, such as that of a Secret or ConfigMap that is missing, or its network is not ready"
    } else {
        "an image may still be on its way"
    };
    Some(format!(
        "container {name} of pod {pod_name} has been waiting to be created for more than {} s: {why}; \
         kubectl describe pod {pod_name} -n {namespace} says what for",
        PATIENCE.as_secs()
    ))
}

fn condition<'pod>(pod: &'pod Pod, type_: &str) -> Option<&'pod PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The statuses of a pod's containers, init containers first.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status.and_then(|status| status.init_container_statuses.as_ref());
    let main = status.and_then(|status| status.container_statuses.as_ref());
    init.into_iter().flatten().chain(main.into_iter().flatten())
}

fn hint(reason: &str, message: &str, container: &ContainerStatus) -> String {
    match reason {
        "CreateContainerConfigError" if message.contains("secret") => {
            "; add this namespace to the chart's workloadNamespaces, or create the Secret".into()
        }
        "ImagePullBackOff" | "ErrImagePull" | "InvalidImageName" => {
            format!(
                "; check that the image {} can be pulled on the nodes",
                container.image
            )
        }
        "CrashLoopBackOff" => {
            let last = container
                .last_state
                .as_ref()
                .and_then(|state| state.terminated.as_ref());
            let tail = last
                .and_then(|last| last.message.as_deref())
                .unwrap_or_default()
                .trim();
            if tail.is_empty() {
                String::new()
            } else {
                format!("; it ended with: {tail}")
            }
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(status: serde_json::Value) -> Pod {
        let metadata = serde_json::json!({"name": "p", "namespace": "team"});
        serde_json::from_value(serde_json::json!({"metadata": metadata, "status": status})).unwrap()
    }

    fn trouble(status: serde_json::Value) -> Option<String> {
        pod_trouble(&pod(status), Timestamp::UNIX_EPOCH)
    }

    /// What is said `seconds` after the pod was given to a node.
    fn trouble_after(seconds: i64, mut status: serde_json::Value) -> Option<String> {
        status["conditions"] = serde_json::json!([
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"},
            {"type": "PodReadyToStartContainers", "status": "False"},
        ]);
        pod_trouble(&pod(status), Timestamp::from_second(seconds).unwrap())
    }

    fn waiting(reason: &str, message: &str) -> serde_json::Value {
        serde_json::json!({"containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }]})
    }

    #[test]
    fn a_pod_that_fits_no_node_says_why() {
        let status = serde_json::json!({"conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: 1 Insufficient nvidia.com/gpu",
        }]});
        assert_eq!(
            trouble(status).unwrap(),
            "pod p fits no node: 0/1 nodes: 1 Insufficient nvidia.com/gpu"
        );
    }

    #[test]
    fn a_missing_secret_names_the_remedy() {
        let trouble = trouble(waiting(
            "CreateContainerConfigError",
            "secret \"aiops-object-store\" not found",
        ));
        assert!(trouble.unwrap().contains("workloadNamespaces"));
    }

    #[test]
    fn a_container_that_is_being_created_is_trouble_once_it_takes_too_long() {
        assert_eq!(trouble_after(59, waiting("ContainerCreating", "")), None);
        let trouble = trouble_after(60, waiting("ContainerCreating", "")).unwrap();
        assert!(
            trouble.contains("a volume cannot be mounted")
                && trouble.contains("kubectl describe pod p -n team"),
            "{trouble}"
        );
    }

    #[test]
    fn a_container_behind_init_containers_waits_only_since_the_last_of_them_ended() {
        let behind = |init: serde_json::Value| {
            let mut status = waiting("PodInitializing", "");
            status["initContainerStatuses"] = serde_json::json!([{
                "name": "first", "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": init,
            }]);
            status
        };
        assert_eq!(
            trouble_after(1000, behind(serde_json::json!({"running": {}}))),
            None
        );
        let ended = serde_json::json!({"terminated": {"exitCode": 0, "finishedAt": "1970-01-01T00:10:00Z"}});
        assert_eq!(trouble_after(659, behind(ended.clone())), None);
        assert!(
            trouble_after(660, behind(ended))
                .unwrap()
                .contains("container c of pod p")
        );
    }

    #[test]
    fn a_pod_whose_init_container_failed_waits_for_no_image() {
        let mut status = waiting("PodInitializing", "");
        status["initContainerStatuses"] = serde_json::json!([{
            "name": "convert", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:00:10Z"}},
        }]);
        assert!(trouble_after(1000, status.clone()).is_some());
        status["phase"] = "Failed".into();
        assert_eq!(trouble_after(1000, status), None);
    }
}
