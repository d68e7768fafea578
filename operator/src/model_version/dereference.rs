//! Reads what a ModelVersion's state depends on inside the cluster.

use aiops_crds::{Experiment, ModelVersion};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};

use super::Versions;
use super::validate::{ValidatedModelVersion, job_name};
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// The publish Job, as far as the cluster has it.
#[derive(Debug)]
pub struct ObservedJob {
    /// The Job, where it was created and is this ModelVersion's.
    pub job: Option<Job>,
    /// Its pods.
    pub pods: Vec<Pod>,
}

/// Reads the publish Job and its pods.
pub async fn job(validated: &ValidatedModelVersion, context: &Context) -> Result<ObservedJob, Error> {
    let (namespace, name) = (&validated.namespace, job_name(&validated.name));
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let job = jobs
        .get_opt(&name)
        .await
        .during(|| format!("read Job {namespace}/{name}"))?;
    let ours = |job: &Job| {
        job.metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.uid == validated.uid)
    };
    let Some(job) = job.filter(ours) else {
        return Ok(ObservedJob {
            job: None,
            pods: Vec::new(),
        });
    };
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let selector = ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={uid}"));
    let pods = pods
        .list(&selector)
        .await
        .during(|| format!("list the pods of Job {namespace}/{name}"))?;
    Ok(ObservedJob {
        job: Some(job),
        pods: pods.items,
    })
}

/// The other versions of the same model in the same namespace.
pub fn peers(store: &Versions, version: &ModelVersion) -> Vec<ModelVersion> {
    let readable = store.state().into_iter().filter_map(|guard| guard.0.clone().ok());
    readable
        .filter(|peer| {
            peer.namespace() == version.namespace()
                && peer.spec.model == version.spec.model
                && peer.name_any() != version.name_any()
                && peer.metadata.deletion_timestamp.is_none()
        })
        .collect()
}

/// The versions whose source is an Experiment.
pub fn versions_of_experiment(
    store: &Versions,
    experiment: &Experiment,
) -> Vec<ObjectRef<DeserializeGuard<ModelVersion>>> {
    let name = experiment.name_any();
    let guards = store.state().into_iter().filter(|guard| {
        guard.namespace() == experiment.namespace()
            && guard
                .0
                .as_ref()
                .is_ok_and(|version| version.spec.source.experiment.as_deref() == Some(&name))
    });
    guards.map(|guard| ObjectRef::from_obj(guard.as_ref())).collect()
}
