//! The Experiment's run in MLflow: made once, closed when its training has ended.

use aiops_crds::{Experiment, ExperimentStatus, MlflowRunReference};
use aiops_mlflow_client::{Client, Filter, LogBatch, NewRun, Run, RunSearch, RunStatus, Tag, UID_TAG};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;

use super::build::RUN_ID_VARIABLE;
use super::progress::Training;
use super::validate::{ValidatedExperiment, mlflow_experiment};
use crate::framework::context::Context;
use crate::framework::error::Error;
use crate::framework::job_outcome::Failure;

/// Says, on the run, that the operator closed it and why: it outlives the Job and its pods.
const FAILURE_REASON_TAG: &str = "aiops.dev/failure-reason";
const FAILURE_MESSAGE_TAG: &str = "aiops.dev/failure-message";

/// What MLflow has of the run that an Experiment trains into.
#[derive(Debug)]
pub enum KnownRun {
    /// It is there.
    Active(Box<Run>),
    /// There was one, with this identifier, and somebody deleted it.
    Deleted(String),
    /// None is known.
    None,
}

impl KnownRun {
    /// Whether its training has ended.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Active(run) if ended(run).is_some())
    }
}

/// The run that is judged: the one that the Job trains into, where there is a Job, and else the one that status names.
pub async fn known_run(
    job: Option<&Job>,
    status: Option<&ExperimentStatus>,
    mlflow: &Client,
) -> Result<KnownRun, Error> {
    let of_status = || Some(status?.mlflow.as_ref()?.run_id.clone());
    let Some(run_id) = job.and_then(run_of_job).or_else(of_status) else {
        return Ok(KnownRun::None);
    };
    let active = found(mlflow.get_run(&run_id).await)?.filter(is_active);
    Ok(active.map_or(KnownRun::Deleted(run_id), |run| KnownRun::Active(Box::new(run))))
}

fn run_of_job(job: &Job) -> Option<String> {
    let containers = &job.spec.as_ref()?.template.spec.as_ref()?.containers;
    let variables = containers
        .iter()
        .flat_map(|container| container.env.iter().flatten());
    let mut named = variables.filter(|variable| variable.name == RUN_ID_VARIABLE);
    named.next()?.value.clone()
}

/// MLflow keeps a deleted run, shows it when asked by its identifier, and refuses every change of it.
fn is_active(run: &Run) -> bool {
    run.info.lifecycle_stage != "deleted"
}

/// Makes the run of this Experiment, or finds the one that was made and whose reference never got into the status.
pub async fn ensure_run(validated: &ValidatedExperiment, mlflow: &Client) -> Result<Run, Error> {
    let tags = [
        Tag::new("aiops.dev/namespace", &validated.namespace),
        Tag::new("aiops.dev/experiment", &validated.name),
    ];
    let experiment = mlflow
        .get_or_create_experiment(&validated.mlflow_experiment(), &tags)
        .await?;
    let run = NewRun {
        experiment_id: experiment.experiment_id,
        run_name: validated.name.clone(),
        start_time_milliseconds: Timestamp::now().as_millisecond(),
        tags: tags.to_vec(),
    };
    Ok(mlflow.ensure_run(&validated.uid, run).await?)
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

/// Closes the run of a Job that failed, with the reason on it. What was noted there first stands: it may know more than what
/// the Job says later.
pub async fn close_failed(run: &Run, failure: Failure, context: &Context) -> Result<Training, Error> {
    let noted = noted_failure(run);
    if noted.is_none() {
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
    Ok(Training::Failed(noted.unwrap_or(failure)))
}

/// Closes what an Experiment that is being deleted has open in MLflow: the run that status names, and those that were made for the
/// Experiment's UID, since a run that was just made, or made anew because the first was deleted, may not be in the status yet.
pub async fn close_run_of(experiment: &Experiment, mlflow: &Client) -> Result<(), Error> {
    let mut runs = runs_by_uid(experiment, mlflow).await?;
    let status = experiment.status.as_ref();
    if let Some(named) = status.and_then(|status| status.mlflow.as_ref())
        && !runs.iter().any(|run| run.info.run_id == named.run_id)
    {
        runs.extend(found(mlflow.get_run(&named.run_id).await)?);
    }
    for run in runs {
        if is_active(&run) && !run.info.status.is_ended() {
            close(&run, RunStatus::Killed, mlflow).await?;
        }
    }
    Ok(())
}

/// The runs with the Experiment's UID that nobody deleted.
async fn runs_by_uid(experiment: &Experiment, mlflow: &Client) -> Result<Vec<Run>, Error> {
    let name = mlflow_experiment(
        &experiment.namespace().unwrap_or_default(),
        &experiment.name_any(),
    );
    let Some(folder) = found(mlflow.get_experiment_by_name(&name).await)? else {
        return Ok(Vec::new());
    };
    let search = RunSearch {
        experiment_ids: vec![folder.experiment_id],
        filter: Filter::new().tag(UID_TAG, &experiment.uid().unwrap_or_default())?,
        order_by: Vec::new(),
        limit: None,
    };
    Ok(mlflow.search_runs(&search).await?)
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
    if let Some(failure) = noted_failure(run) {
        return Some(Training::Failed(failure));
    }
    (run.info.status == RunStatus::Finished).then_some(Training::Succeeded)
}

/// Why the operator closed the run, where it did.
fn noted_failure(run: &Run) -> Option<Failure> {
    let reason = run.tag(FAILURE_REASON_TAG)?.to_owned();
    let message = run.tag(FAILURE_MESSAGE_TAG).unwrap_or_default().to_owned();
    Some(Failure { reason, message })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use aiops_mlflow_client::Config;
    use axum::extract::Query;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    type Updates = Arc<Mutex<Vec<Value>>>;

    /// An MLflow that has run `r` of the samples' Experiment with `info`, and the updates that it gets.
    async fn mlflow(info: Value) -> (Client, Updates) {
        let mut run = json!({"info": {"run_id": "r", "experiment_id": "7"}});
        run["info"]
            .as_object_mut()
            .unwrap()
            .extend(info.as_object().unwrap().clone());
        mlflow_with(vec![run]).await
    }

    /// An MLflow that has these runs of the samples' Experiment.
    async fn mlflow_with(runs: Vec<Value>) -> (Client, Updates) {
        let updates = Updates::default();
        let noted = updates.clone();
        let known = runs.clone();
        let get_run = move |Query(asked): Query<HashMap<String, String>>| async move {
            let missing = json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"});
            let named = known
                .into_iter()
                .find(|run| run["info"]["run_id"] == asked["run_id"].as_str());
            named.map_or((StatusCode::NOT_FOUND, Json(missing)), |run| {
                (StatusCode::OK, Json(json!({"run": run})))
            })
        };
        let search = move |Json(search): Json<Value>| async move {
            let ours = search["filter"] == "tags.`aiops.dev/uid` = 'u-1'"
                && search["experiment_ids"] == json!(["7"])
                && search["run_view_type"] == "ACTIVE_ONLY";
            let active = |run: &Value| run["info"]["lifecycle_stage"] != "deleted";
            let found: Vec<Value> = runs.into_iter().filter(|run| ours && active(run)).collect();
            Json(json!({"runs": found}))
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
            .route("/api/2.0/mlflow/runs/get", get(get_run))
            .route("/api/2.0/mlflow/runs/search", post(search))
            .route("/api/2.0/mlflow/runs/update", post(update));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = Client::new(Config::new(address.parse().unwrap())).unwrap();
        (client, updates)
    }

    fn status() -> ExperimentStatus {
        serde_json::from_value(json!({"mlflow": {"experimentId": "7", "runId": "r"}})).unwrap()
    }

    #[tokio::test]
    async fn a_run_that_never_got_into_the_status_is_closed_with_its_experiment() {
        let (client, updates) = mlflow(json!({"status": "RUNNING"})).await;
        close_run_of(&super::super::sample(), &client).await.unwrap();
        let updates = updates.lock().unwrap();
        assert_eq!(
            (&updates[0]["run_id"], &updates[0]["status"]),
            (&json!("r"), &json!("KILLED"))
        );
    }

    #[tokio::test]
    async fn a_run_that_has_ended_keeps_its_end() {
        let (client, updates) = mlflow(json!({"status": "FINISHED"})).await;
        close_run_of(&super::super::sample(), &client).await.unwrap();
        assert!(updates.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_run_that_was_deleted_is_neither_changed_nor_judged() {
        let (client, updates) = mlflow(json!({"status": "RUNNING", "lifecycle_stage": "deleted"})).await;
        let mut experiment = super::super::sample();
        experiment.status = Some(status());
        close_run_of(&experiment, &client).await.unwrap();
        assert!(updates.lock().unwrap().is_empty());
        let known = known_run(None, experiment.status.as_ref(), &client)
            .await
            .unwrap();
        assert!(matches!(known, KnownRun::Deleted(run) if run == "r"));
    }

    #[tokio::test]
    async fn the_run_of_a_training_that_started_again_is_closed_although_status_names_the_deleted_one() {
        let deleted = json!({"info": {"run_id": "r", "experiment_id": "7", "status": "RUNNING",
            "lifecycle_stage": "deleted"}});
        let again = json!({"info": {"run_id": "again", "experiment_id": "7", "status": "RUNNING",
            "lifecycle_stage": "active"}});
        let mut experiment = super::super::sample();
        experiment.status = Some(status());
        for runs in [vec![again.clone()], vec![deleted, again]] {
            let (client, updates) = mlflow_with(runs).await;
            close_run_of(&experiment, &client).await.unwrap();
            let updates = updates.lock().unwrap();
            let closed: Vec<&Value> = updates.iter().map(|update| &update["run_id"]).collect();
            assert_eq!(closed, ["again"]);
        }
    }

    #[tokio::test]
    async fn the_run_that_is_judged_is_the_one_that_the_job_trains_into() {
        let runs = ["r", "of-the-job"].map(|run_id| {
            json!({"info": {"run_id": run_id, "experiment_id": "7", "status": "RUNNING",
                "lifecycle_stage": "active"}})
        });
        let (client, _) = mlflow_with(runs.to_vec()).await;
        let validated = super::super::validate::validate(&super::super::sample()).unwrap();
        let configuration = crate::configuration::Configuration::sample();
        let job = super::super::build::job(&validated, "of-the-job", &configuration);
        let status = status();
        let judged = async |job: Option<&Job>, status: Option<&ExperimentStatus>| match known_run(
            job, status, &client,
        )
        .await
        .unwrap()
        {
            KnownRun::Active(run) => Some(run.info.run_id),
            KnownRun::None => None,
            KnownRun::Deleted(run) => panic!("nobody deleted {run}"),
        };
        let named = judged(Some(&job), Some(&status)).await;
        assert_eq!(named.as_deref(), Some("of-the-job"));
        assert_eq!(judged(None, Some(&status)).await.as_deref(), Some("r"));
        assert_eq!(judged(None, None).await, None);
    }

    #[test]
    fn what_was_noted_on_a_run_stands() {
        let run: Run = serde_json::from_value(json!({"data": {"tags": [
            {"key": FAILURE_REASON_TAG, "value": "DeadlineExceeded"},
            {"key": FAILURE_MESSAGE_TAG, "value": "until then: secret not found"},
        ]}}))
        .unwrap();
        let Some(Training::Failed(failure)) = ended(&run) else {
            panic!("the run has ended");
        };
        assert_eq!(failure.message, "until then: secret not found");
    }
}
