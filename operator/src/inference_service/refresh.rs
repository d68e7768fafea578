//! Writes the plan's digest to the pods, so that their kubelets refresh the mounted plan at once instead of within minutes.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};

use super::FIELD_MANAGER;
use super::serving_plan::{ANNOTATION, RenderedPlan};
use super::validate::ValidatedInferenceService;
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// How many pods are written to at the same time.
const CONCURRENCY: usize = 16;

/// Writes to each pod that does not have the digest yet.
pub async fn refresh(
    pods: &[Pod],
    plan: &RenderedPlan,
    validated: &ValidatedInferenceService,
    context: &Context,
) -> Result<(), Error> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &validated.namespace);
    let mut writes = Vec::new();
    for pod in pods.iter().filter(|pod| needs_refresh(pod, &plan.sha256)) {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        writes.push(write(&api, name, &plan.sha256, &validated.namespace));
    }
    stream::iter(writes)
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

async fn write(api: &Api<Pod>, name: &str, sha256: &str, namespace: &str) -> Result<(), Error> {
    let patch = serde_json::json!({"metadata": {"annotations": {ANNOTATION: sha256}}});
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.into()),
        ..PatchParams::default()
    };
    match api.patch_metadata(name, &parameters, &Patch::Merge(&patch)).await {
        // Gone meanwhile: the pod that takes its place mounts the plan as it is.
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result
            .map(|_| ())
            .during(|| format!("annotate pod {namespace}/{name}")),
    }
}

/// Whether a pod runs, or will, and was not told of this plan.
fn needs_refresh(pod: &Pod, sha256: &str) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let told = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|annotations| annotations.get(ANNOTATION));
    pod.metadata.deletion_timestamp.is_none()
        && !matches!(phase, Some("Succeeded" | "Failed"))
        && told.map(String::as_str) != Some(sha256)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(value: serde_json::Value) -> Pod {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_is_written_to_once_for_each_plan() {
        let fresh = pod(serde_json::json!({"metadata": {"name": "p"}}));
        assert!(needs_refresh(&fresh, "abc"));
        let told = pod(serde_json::json!({"metadata": {"name": "p", "annotations": {ANNOTATION: "abc"}}}));
        assert!(!needs_refresh(&told, "abc"));
        assert!(needs_refresh(&told, "def"));
    }

    #[test]
    fn a_pod_that_ends_is_left_alone() {
        let leaving = pod(serde_json::json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}}));
        assert!(!needs_refresh(&leaving, "abc"));
        let evicted = pod(serde_json::json!({"metadata": {}, "status": {"phase": "Failed"}}));
        assert!(!needs_refresh(&evicted, "abc"));
    }
}
