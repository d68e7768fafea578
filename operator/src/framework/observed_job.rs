//! Reads a Job and its pods.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::ListParams;

use super::context::Context;
use super::error::{DuringAction as _, Error};

/// A Job, as far as the cluster has it.
#[derive(Debug, Default)]
pub struct ObservedJob {
    /// The Job, where it was created and is its owner's.
    pub job: Option<Job>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// When they were read.
    pub read_at: Timestamp,
}

/// Reads a Job that belongs to the object with `owner_uid`, and its pods. One of another owner counts as absent: `apply`
/// finds it and says who has the name.
///
/// # Errors
/// The API's own.
pub async fn observe_job(
    namespace: &str,
    name: &str,
    owner_uid: &str,
    context: &Context,
) -> Result<ObservedJob, Error> {
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let job = jobs
        .get_opt(name)
        .await
        .during(|| format!("read Job {namespace}/{name}"))?;
    let ours = |job: &Job| {
        let mut owners = job.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.uid == owner_uid)
    };
    let Some(job) = job.filter(ours) else {
        return Ok(ObservedJob::default());
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
        read_at: Timestamp::now(),
    })
}
