//! Keeps a deleted Experiment from leaving a run in MLflow that says RUNNING for ever: stops the trainer, then closes the run.

use std::time::Duration;

use aiops_crds::Experiment;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::validate::job_name;
use super::{FIELD_MANAGER, LOOK_AGAIN, status, tracking};
use crate::framework::context::Context;
use crate::framework::error::Error;
use crate::framework::finalizer;
use crate::framework::observed_job::observe_job;
use crate::framework::stop_job::stop_job;

/// The finalizer, held only while a training is at work.
const FINALIZER: &str = "aiops.dev/mlflow-run";
/// An MLflow that stays away does not keep the Experiment from being deleted for longer than this.
const PATIENCE: SignedDuration = SignedDuration::from_secs(300);

/// Adds the finalizer before the run and its Job are created.
pub async fn require(experiment: &Experiment, context: &Context) -> Result<(), Error> {
    finalizer::add(experiment, FINALIZER, context).await
}

/// Removes the finalizer once the run is closed.
pub async fn release(experiment: &Experiment, context: &Context) -> Result<(), Error> {
    finalizer::remove(experiment, FINALIZER, context).await
}

/// Stops the trainer of an Experiment that is being deleted, closes its run, then lets it go. What holds that up is written to
/// the Experiment's status.
pub async fn finish(experiment: &Experiment, context: &Context) -> Result<Action, Error> {
    let result = close_run(experiment, context).await; // network
    let why = match &result {
        Ok(Cleanup::Done(action)) => return Ok(action.clone()),
        Ok(Cleanup::HeldUp(why)) => why.clone(),
        Err(error) => format!("its run in MLflow is not closed yet: {error}; tried again"),
    };
    let status = status::held_up(experiment, why, Timestamp::now());
    let existing = experiment.status.as_ref();
    crate::framework::status::write(context, FIELD_MANAGER, experiment, existing, &status).await?; // network
    result.map(|_| Action::requeue(LOOK_AGAIN))
}

/// How far a deletion got.
enum Cleanup {
    /// Nothing is left to do.
    Done(Action),
    /// Something has to end first.
    HeldUp(String),
}

async fn close_run(experiment: &Experiment, context: &Context) -> Result<Cleanup, Error> {
    if !experiment
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        return Ok(Cleanup::Done(Action::await_change()));
    }
    let (namespace, job) = (
        experiment.namespace().unwrap_or_default(),
        job_name(&experiment.name_any()),
    );
    let uid = experiment.uid().unwrap_or_default();
    // A pod that starts or ends after the run was closed would open it again, or overwrite how it ended.
    if let Some(trainer) = observe_job(&namespace, &job, &uid, context).await?.job
        && stop_job(&trainer, context).await?
    {
        return Ok(Cleanup::HeldUp(format!(
            "waits until the trainer has stopped: Job {job} and its pod are being deleted; where that takes long, \
             kubectl describe pods -n {namespace} -l batch.kubernetes.io/job-name={job} says why"
        )));
    }
    if let Err(error) = tracking::close_run_of(experiment, &context.mlflow).await {
        let deleted = experiment.metadata.deletion_timestamp.as_ref().map(|time| time.0);
        if deleted.is_none_or(|deleted| Timestamp::now().duration_since(deleted) < PATIENCE) {
            return Err(error);
        }
        tracing::warn!("the run is left open in MLflow, which did not answer: {error}");
    }
    release(experiment, context).await?;
    Ok(Cleanup::Done(Action::requeue(Duration::from_secs(60))))
}
