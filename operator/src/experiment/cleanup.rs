//! Keeps a deleted Experiment from leaving a run in MLflow that says RUNNING for ever.

use std::time::Duration;

use aiops_crds::Experiment;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};

use super::tracking;
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// The finalizer, held only while a training is at work.
const FINALIZER: &str = "aiops.dev/mlflow-run";
/// An MLflow that stays away does not keep the Experiment from being deleted for longer than this.
const PATIENCE: SignedDuration = SignedDuration::from_secs(300);

/// Adds the finalizer before the Job is created.
pub async fn require(experiment: &Experiment, context: &Context) -> Result<(), Error> {
    if experiment
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        return Ok(());
    }
    let mut finalizers = experiment.finalizers().to_vec();
    finalizers.push(FINALIZER.into());
    set(experiment, finalizers, context).await
}

/// Removes the finalizer once the run is closed.
pub async fn release(experiment: &Experiment, context: &Context) -> Result<(), Error> {
    let mut finalizers = experiment.finalizers().to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if finalizers.len() == experiment.finalizers().len() {
        return Ok(());
    }
    set(experiment, finalizers, context).await
}

/// Closes the run of an Experiment that is being deleted, then lets it go.
pub async fn close_run(experiment: &Experiment, context: &Context) -> Result<Action, Error> {
    if !experiment
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        return Ok(Action::await_change());
    }
    let run = experiment
        .status
        .as_ref()
        .and_then(|status| status.mlflow.as_ref());
    if let Some(reference) = run
        && let Err(error) = tracking::close_killed(&reference.run_id, context).await
    {
        let deleted = experiment.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        if deleted.is_none_or(|deleted| Timestamp::now().duration_since(deleted) < PATIENCE) {
            return Err(error);
        }
        tracing::warn!(
            run_id = reference.run_id,
            "the run is left open in MLflow, which did not answer: {error}"
        );
    }
    release(experiment, context).await?;
    Ok(Action::requeue(Duration::from_secs(60)))
}

async fn set(experiment: &Experiment, finalizers: Vec<String>, context: &Context) -> Result<(), Error> {
    let (namespace, name) = (experiment.namespace().unwrap_or_default(), experiment.name_any());
    let experiments: Api<Experiment> = Api::namespaced(context.client.clone(), &namespace);
    // The resource version makes the API server refuse the list if another finalizer came or went meanwhile.
    let patch = serde_json::json!({
        "metadata": {"finalizers": finalizers, "resourceVersion": experiment.resource_version()},
    });
    match experiments
        .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result
            .map(|_| ())
            .during(|| format!("set the finalizers of Experiment {namespace}/{name}")),
    }
}
