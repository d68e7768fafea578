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
    pods.sort_by(|left, right| left.metadata.name.cmp(&right.metadata.name));
    Ok(pods)
}
