//! The Experiment's run in MLflow: made once, closed when its training has ended.

use aiops_crds::{ExperimentStatus, MlflowRunReference};
use aiops_mlflow_client::{LogBatch, NewRun, Run, RunStatus, Tag};
use k8s_openapi::jiff::Timestamp;

use super::progress::Training;
use super::validate::ValidatedExperiment;
use crate::framework::context::Context;
use crate::framework::error::Error;
use crate::framework::job_outcome::Failure;

/// Says, on the run, that the operator closed it and why: it outlives the Job and its pods.
const FAILURE_REASON_TAG: &str = "aiops.dev/failure-reason";
const FAILURE_MESSAGE_TAG: &str = "aiops.dev/failure-message";

/// The run of this Experiment, made where there is none.
pub async fn ensure_run(
    validated: &ValidatedExperiment,
    status: Option<&ExperimentStatus>,
    context: &Context,
) -> Result<Run, Error> {
    if let Some(reference) = status.and_then(|status| status.mlflow.as_ref()) {
        match context.mlflow.get_run(&reference.run_id).await {
            Err(error) if error.is_not_found() => {}
            result => return Ok(result?),
        }
    }
    let tags = [
        Tag::new("aiops.dev/namespace", &validated.namespace),
        Tag::new("aiops.dev/experiment", &validated.name),
    ];
    let experiment = context
        .mlflow
        .get_or_create_experiment(&validated.mlflow_experiment(), &tags)
        .await?;
    let run = NewRun {
        experiment_id: experiment.experiment_id,
        run_name: validated.name.clone(),
        start_time_milliseconds: Timestamp::now().as_millisecond(),
        tags: tags.to_vec(),
    };
    Ok(context.mlflow.ensure_run(&validated.uid, run).await?)
}

/// How status refers to a run.
pub fn reference(run: &Run) -> MlflowRunReference {
    MlflowRunReference {
        experiment_id: run.info.experiment_id.clone(),
        run_id: run.info.run_id.clone(),
    }
}

/// Closes the run of a Job that succeeded, where the trainer has not.
pub async fn close_finished(run: &Run, context: &Context) -> Result<Training, Error> {
    if run.info.status != RunStatus::Finished {
        close(run, RunStatus::Finished, context).await?;
    }
    Ok(Training::Succeeded)
}

/// Closes the run of a Job that failed, with the reason on it.
pub async fn close_failed(run: &Run, failure: &Failure, context: &Context) -> Result<Training, Error> {
    if run.tag(FAILURE_REASON_TAG).is_none() {
        let tags = vec![
            Tag::new(FAILURE_REASON_TAG, &failure.reason),
            Tag::new(
                FAILURE_MESSAGE_TAG,
                failure.message.chars().take(4000).collect::<String>(),
            ),
        ];
        context
            .mlflow
            .log_batch(
                &run.info.run_id,
                &LogBatch {
                    tags,
                    ..LogBatch::default()
                },
            )
            .await?;
    }
    if !matches!(run.info.status, RunStatus::Failed | RunStatus::Killed) {
        close(run, RunStatus::Failed, context).await?;
    }
    Ok(Training::Failed(failure.clone()))
}

/// Closes a run whose Experiment is being deleted.
pub async fn close_killed(run_id: &str, context: &Context) -> Result<(), Error> {
    let run = match context.mlflow.get_run(run_id).await {
        Err(error) if error.is_not_found() => return Ok(()),
        result => result?,
    };
    if run.info.status.is_ended() {
        Ok(())
    } else {
        close(&run, RunStatus::Killed, context).await
    }
}

async fn close(run: &Run, status: RunStatus, context: &Context) -> Result<(), Error> {
    let end = Timestamp::now().as_millisecond();
    Ok(context
        .mlflow
        .update_run(&run.info.run_id, status, Some(end))
        .await?)
}

/// How the training of a run ended whose Job is gone. A run that the trainer itself marked as failed may be tried again;
/// one that the operator closed may not.
pub fn ended(run: &Run) -> Option<Training> {
    if let Some(reason) = run.tag(FAILURE_REASON_TAG) {
        let message = run.tag(FAILURE_MESSAGE_TAG).unwrap_or_default().to_owned();
        return Some(Training::Failed(Failure {
            reason: reason.to_owned(),
            message,
        }));
    }
    (run.info.status == RunStatus::Finished).then_some(Training::Succeeded)
}
