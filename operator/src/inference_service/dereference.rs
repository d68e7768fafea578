//! Reads what an InferenceService's state depends on inside the cluster. The only place that does.

use aiops_crds::ModelVersion;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use kube::core::DeserializeGuard;

use super::build::label_selector;
use super::monitoring::Monitoring;
use super::resolve::UnreadableVersion;
use super::validate::ValidatedInferenceService;
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// What the cluster has.
#[derive(Debug)]
pub struct Observed {
    /// The readable ModelVersions of the namespace.
    pub versions: Vec<ModelVersion>,
    /// The others: what they are is unknown, and not that they are absent.
    pub unreadable: Vec<UnreadableVersion>,
    /// The Deployment, where it was created.
    pub deployment: Option<Deployment>,
    /// The service's pods, sorted by name.
    pub pods: Vec<Pod>,
    /// Whether a ServiceMonitor can be created.
    pub has_service_monitors: bool,
}

/// Reads it, all at once.
pub async fn dereference(
    validated: &ValidatedInferenceService,
    context: &Context,
    monitoring: &Monitoring,
) -> Result<Observed, Error> {
    let ((versions, unreadable), deployment, pods, has_service_monitors) = futures::try_join!(
        versions(validated, context),
        deployment(validated, context),
        pods(validated, context),
        monitoring.has_service_monitors(&context.client),
    )?;
    Ok(Observed {
        versions,
        unreadable,
        deployment,
        pods,
        has_service_monitors,
    })
}

async fn versions(
    validated: &ValidatedInferenceService,
    context: &Context,
) -> Result<(Vec<ModelVersion>, Vec<UnreadableVersion>), Error> {
    let namespace = &validated.namespace;
    let api: Api<DeserializeGuard<ModelVersion>> = Api::namespaced(context.client.clone(), namespace);
    let list = api
        .list(&ListParams::default())
        .await
        .during(|| format!("list the ModelVersions of namespace {namespace}"))?;
    let (mut versions, mut unreadable) = (Vec::new(), Vec::new());
    for guard in list.items {
        match guard.0 {
            Ok(version) => versions.push(version),
            Err(invalid) => unreadable.push(UnreadableVersion {
                name: invalid.metadata.name.unwrap_or_default(),
                error: invalid.error,
            }),
        }
    }
    Ok((versions, unreadable))
}

async fn deployment(
    validated: &ValidatedInferenceService,
    context: &Context,
) -> Result<Option<Deployment>, Error> {
    let (namespace, name) = (&validated.namespace, validated.child_name());
    let api: Api<Deployment> = Api::namespaced(context.client.clone(), namespace);
    api.get_opt(&name)
        .await
        .during(|| format!("read Deployment {namespace}/{name}"))
}

async fn pods(validated: &ValidatedInferenceService, context: &Context) -> Result<Vec<Pod>, Error> {
    let (namespace, name) = (&validated.namespace, validated.child_name());
    let api: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let selector = ListParams::default().labels(&label_selector(validated));
    let mut pods = api
        .list(&selector)
        .await
        .during(|| format!("list the pods of Deployment {namespace}/{name}"))?
        .items;
    pods.retain(|pod| is_of(pod, &name));
    pods.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
    Ok(pods)
}

/// Whether the Deployment made the pod, by way of a ReplicaSet, which is named after the Deployment and the template. Anybody who
/// may create pods can give one our labels; it would be asked what it serves, and believed.
fn is_of(pod: &Pod, deployment: &str) -> bool {
    let labels = pod.metadata.labels.as_ref();
    let Some(template) = labels.and_then(|labels| labels.get("pod-template-hash")) else {
        return false;
    };
    let replica_set = format!("{deployment}-{template}");
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.any(|owner| {
        owner.controller == Some(true) && owner.kind == "ReplicaSet" && owner.name == replica_set
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_only_has_our_labels_is_not_ours() {
        let pod = |labels: serde_json::Value, owners: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"labels": labels, "ownerReferences": owners}}))
                .unwrap()
        };
        let owner = |kind: &str, name: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true}]);
        let template = json!({"pod-template-hash": "6b7f"});
        let ours = owner("ReplicaSet", "tumour-inference-6b7f");
        assert!(is_of(&pod(template.clone(), ours.clone()), "tumour-inference"));
        assert!(!is_of(&pod(template.clone(), ours.clone()), "wine-inference"));
        assert!(!is_of(&pod(json!({}), ours), "tumour-inference"));
        assert!(!is_of(&pod(template.clone(), json!(null)), "tumour-inference"));
        let other_kind = owner("Job", "tumour-inference-6b7f");
        assert!(!is_of(&pod(template, other_kind), "tumour-inference"));
    }
}
