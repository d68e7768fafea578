//! Keeps a deleted Experiment from leaving a run in MLflow that says RUNNING for ever.

use std::time::Duration;

use aiops_crds::Experiment;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::tracking;
use crate::framework::context::Context;
use crate::framework::error::Error;
use crate::framework::finalizer;

/// The finalizer, held only while a training is at work.
const FINALIZER: &str = "aiops.dev/mlflow-run";
/// An MLflow that stays away does not keep the Experiment from being deleted for longer than this.
const PATIENCE: SignedDuration = SignedDuration::from_secs(300);

/// Adds the finalizer before the Job is created.
pub async fn require(experiment: &Experiment, context: &Context) -> Result<(), Error> {
    finalizer::add(experiment, FINALIZER, context).await
}

/// Removes the finalizer once the run is closed.
pub async fn release(experiment: &Experiment, context: &Context) -> Result<(), Error> {
    finalizer::remove(experiment, FINALIZER, context).await
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
    if let Err(error) = tracking::close_run_of(experiment, &context.mlflow).await {
        let deleted = experiment.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        if deleted.is_none_or(|deleted| Timestamp::now().duration_since(deleted) < PATIENCE) {
            return Err(error);
        }
        tracing::warn!("the run is left open in MLflow, which did not answer: {error}");
    }
    release(experiment, context).await?;
    Ok(Action::requeue(Duration::from_secs(60)))
}
