//! The Experiment's run in MLflow: made once, closed when its training has ended.

use aiops_crds::{Experiment, ExperimentStatus, MlflowRunReference};
use aiops_mlflow_client::{Client, Filter, LogBatch, NewRun, Run, RunSearch, RunStatus, Tag, UID_TAG};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::progress::Training;
use super::validate::{ValidatedExperiment, mlflow_experiment};
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
        close(run, RunStatus::Finished, &context.mlflow).await?;
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
        close(run, RunStatus::Failed, &context.mlflow).await?;
    }
    Ok(Training::Failed(failure.clone()))
}

/// Closes the run of an Experiment that is being deleted, where it has one that is not ended. A run that was made and whose
/// reference never got into the status is found by the Experiment's UID.
pub async fn close_run_of(experiment: &Experiment, mlflow: &Client) -> Result<(), Error> {
    let status = experiment.status.as_ref();
    let run = match status.and_then(|status| status.mlflow.as_ref()) {
        Some(reference) => found(mlflow.get_run(&reference.run_id).await)?,
        None => run_by_uid(experiment, mlflow).await?,
    };
    match run {
        Some(run) if !run.info.status.is_ended() => close(&run, RunStatus::Killed, mlflow).await,
        _ => Ok(()),
    }
}

async fn run_by_uid(experiment: &Experiment, mlflow: &Client) -> Result<Option<Run>, Error> {
    let name = mlflow_experiment(
        &experiment.namespace().unwrap_or_default(),
        &experiment.name_any(),
    );
    let Some(folder) = found(mlflow.get_experiment_by_name(&name).await)? else {
        return Ok(None);
    };
    let search = RunSearch {
        experiment_ids: vec![folder.experiment_id],
        filter: Filter::new().tag(UID_TAG, &experiment.uid().unwrap_or_default())?,
        order_by: Vec::new(),
        limit: Some(1),
    };
    Ok(mlflow.search_runs(&search).await?.into_iter().next())
}

fn found<T>(result: Result<T, aiops_mlflow_client::Error>) -> Result<Option<T>, Error> {
    match result {
        Err(error) if error.is_not_found() => Ok(None),
        result => Ok(Some(result?)),
    }
}

async fn close(run: &Run, status: RunStatus, mlflow: &Client) -> Result<(), Error> {
    let end = Timestamp::now().as_millisecond();
    Ok(mlflow.update_run(&run.info.run_id, status, Some(end)).await?)
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aiops_mlflow_client::Config;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    /// An MLflow that has a run of the samples' Experiment in `status`, and the updates that it gets.
    async fn mlflow(status: &'static str) -> (Client, Arc<Mutex<Vec<Value>>>) {
        let updates: Arc<Mutex<Vec<Value>>> = Arc::default();
        let noted = updates.clone();
        let search = move |Json(search): Json<Value>| async move {
            let ours = search["filter"] == "tags.`aiops.dev/uid` = 'u-1'"
                && search["experiment_ids"] == json!(["7"]);
            let run = json!({"info": {"run_id": "r", "experiment_id": "7", "status": status}});
            Json(json!({"runs": if ours { vec![run] } else { Vec::new() }}))
        };
        let update = move |Json(update): Json<Value>| async move {
            noted.lock().unwrap().push(update);
            Json(json!({}))
        };
        let experiment = json!({"experiment": {"experiment_id": "7", "name": "team/forest"}});
        let routes = Router::new()
            .route(
                "/api/2.0/mlflow/experiments/get-by-name",
                get(move || async move { Json(experiment) }),
            )
            .route("/api/2.0/mlflow/runs/search", post(search))
            .route("/api/2.0/mlflow/runs/update", post(update));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = Client::new(Config::new(address.parse().unwrap())).unwrap();
        (client, updates)
    }

    #[tokio::test]
    async fn a_run_that_never_got_into_the_status_is_closed_with_its_experiment() {
        let (client, updates) = mlflow("RUNNING").await;
        close_run_of(&super::super::sample(), &client).await.unwrap();
        let updates = updates.lock().unwrap();
        assert_eq!(
            (&updates[0]["run_id"], &updates[0]["status"]),
            (&json!("r"), &json!("KILLED"))
        );
    }

    #[tokio::test]
    async fn a_run_that_has_ended_keeps_its_end() {
        let (client, updates) = mlflow("FINISHED").await;
        close_run_of(&super::super::sample(), &client).await.unwrap();
        assert!(updates.lock().unwrap().is_empty());
    }
}
