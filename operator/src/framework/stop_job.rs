//! Stops a Job before what its pods write to is closed or removed.

use k8s_openapi::api::batch::v1::Job;
use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};

use super::context::Context;
use super::error::{DuringAction as _, Error};

/// Deletes a Job whose pods may still be at work, and answers whether it was there. In the foreground the Job goes after its
/// pods: once it is gone, nothing writes any more.
///
/// # Errors
/// The API's own.
pub async fn stop_job(job: &Job, context: &Context) -> Result<bool, Error> {
    if has_ended(job) {
        return Ok(false);
    }
    if job.metadata.deletion_timestamp.is_some() {
        return Ok(true);
    }
    delete_job(job, context).await?;
    Ok(true)
}

/// Deletes a Job, ended or not, after its pods.
///
/// # Errors
/// The API's own.
pub async fn delete_job(job: &Job, context: &Context) -> Result<(), Error> {
    let (namespace, name) = (job.namespace().unwrap_or_default(), job.name_any());
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    match jobs.delete(&name, &DeleteParams::foreground()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result
            .map(|_| ())
            .during(|| format!("delete Job {namespace}/{name}")),
    }
}

/// Whether none of its pods runs any more.
fn has_ended(job: &Job) -> bool {
    let conditions = job.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| {
        matches!(condition.type_.as_str(), "Complete" | "Failed") && condition.status == "True"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_whose_pods_are_still_being_stopped_has_not_ended() {
        let job = |types: &[&str]| -> Job {
            let conditions: Vec<serde_json::Value> = types
                .iter()
                .map(|type_| serde_json::json!({"type": type_, "status": "True"}))
                .collect();
            serde_json::from_value(serde_json::json!({"status": {"conditions": conditions}})).unwrap()
        };
        assert!(!has_ended(&job(&[])));
        assert!(!has_ended(&job(&["FailureTarget"])));
        assert!(has_ended(&job(&["FailureTarget", "Failed"])));
        assert!(has_ended(&job(&["Complete"])));
    }
}
