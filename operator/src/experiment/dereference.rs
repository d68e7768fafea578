//! Reads what an Experiment's state depends on inside the cluster. The only place that does.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;

use super::validate::ValidatedExperiment;
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// What the cluster has of an Experiment.
#[derive(Debug)]
pub struct Observed {
    /// The trainer's Job, where it was created and is this Experiment's.
    pub job: Option<Job>,
    /// The Job's pods.
    pub pods: Vec<Pod>,
}

/// Reads the Job and its pods.
pub async fn dereference(validated: &ValidatedExperiment, context: &Context) -> Result<Observed, Error> {
    let (namespace, name) = (&validated.namespace, validated.job_name());
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), namespace);
    let job = jobs
        .get_opt(&name)
        .await
        .during(|| format!("read Job {namespace}/{name}"))?;
    // A Job of another owner is found by `apply`, which says who has the name.
    let ours = |job: &Job| {
        job.metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| owner.uid == validated.uid)
    };
    let Some(job) = job.filter(ours) else {
        return Ok(Observed {
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
    Ok(Observed {
        job: Some(job),
        pods: pods.items,
    })
}
