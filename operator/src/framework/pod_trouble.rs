//! Why a pod does not start or run, in words that say what to do (pure).

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

/// Waiting reasons that pass by themselves.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What keeps `pod` from running, or `None` where nothing does.
#[must_use]
pub fn pod_trouble(pod: &Pod) -> Option<String> {
    let name = pod.metadata.name.as_deref().unwrap_or("?");
    let status = pod.status.as_ref()?;
    let unschedulable = status.conditions.iter().flatten().find(|condition| {
        condition.type_ == "PodScheduled"
            && condition.status == "False"
            && condition.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(condition) = unschedulable {
        let why = condition.message.as_deref().unwrap_or("no reason given");
        return Some(format!("pod {name} fits no node: {why}"));
    }
    containers(pod).find_map(|container| {
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
    })
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
        serde_json::from_value(serde_json::json!({"metadata": {"name": "p"}, "status": status})).unwrap()
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
            pod_trouble(&pod(status)).unwrap(),
            "pod p fits no node: 0/1 nodes: 1 Insufficient nvidia.com/gpu"
        );
    }

    #[test]
    fn a_missing_secret_names_the_remedy() {
        let trouble = pod_trouble(&pod(waiting(
            "CreateContainerConfigError",
            "secret \"aiops-object-store\" not found",
        )));
        assert!(trouble.unwrap().contains("workloadNamespaces"));
    }

    #[test]
    fn a_container_that_is_being_created_is_no_trouble() {
        assert_eq!(pod_trouble(&pod(waiting("ContainerCreating", ""))), None);
    }
}
