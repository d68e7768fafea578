//! The API server is away for a minute while a training runs and a version is published: services answer meanwhile, and work
//! goes on afterwards.

use aiops_crds::{ConditionStatus, Experiment, InferenceService, ModelVersion};
use anyhow::{Context as _, Result};
use serde_json::json;

use super::mlflow_away::{require_one_version, until_trainer_runs};
use super::specs;
use crate::faults::OUTAGE;
use crate::load::Load;
use crate::scenario::{Context, Ended, JOB, SOON};
use crate::serving::{Fronts, LINEAR_ROW, request};

const ROUNDS: u32 = 3000;
const PER_SECOND: u32 = 20;

pub async fn run(context: &Context) -> Result<Ended> {
    let Some(state) = context.cluster.own_state_folder() else {
        return Ok(Ended::Skipped(
            "the API server of this cluster is not ours to stop".into(),
        ));
    };
    let state = state
        .to_str()
        .context("the path of the cluster's state is no text")?
        .to_owned();
    let uri = context.upload_onnx("steady", &[]).await?;
    let mut version = specs::onnx_version("steady", &uri);
    version["stage"] = json!("Staging");
    context.create::<ModelVersion>("steady-1", version).await?;
    context
        .create::<InferenceService>("steady", specs::service("steady", &json!({"stage": "Staging"})))
        .await?;
    context.until_serving("steady", "steady:1").await?;
    let mut training = specs::long_training(ROUNDS);
    training["register"] = json!({"model": "tumour"});
    context.create::<Experiment>("at-work", training).await?;
    until_trainer_runs(context, "at-work").await?;
    context
        .create::<ModelVersion>("publishing-1", specs::onnx_version("publishing", &uri))
        .await?;
    let registered = ("Registered", ConditionStatus::True, "Registered");
    context
        .until_condition::<ModelVersion>("publishing-1", registered, SOON)
        .await?;

    let fronts = Fronts::of(&context.cluster, &context.namespace, "steady").await?;
    context
        .programs
        .cluster_script("stop", &["apiserver", &state])
        .await?;
    context
        .progress
        .say(&format!("the API server is away for {} s", OUTAGE.as_secs()));
    let answered = serve_meanwhile(&fronts).await;
    context
        .programs
        .cluster_script("start", &["apiserver", &state])
        .await
        .context("the API server cannot be brought back")?;
    context.progress.say(&format!(
        "the API server is back; {} requests were answered meanwhile",
        answered?
    ));

    context
        .until_ready::<Experiment>("at-work", "Succeeded", JOB)
        .await?;
    context.only_run_of("at-work").await?;
    // A controller whose watches came back one by one would take minutes to see the new object.
    context
        .until_condition::<ModelVersion>("at-work-1", registered, SOON)
        .await?;
    context
        .until_ready::<ModelVersion>("at-work-1", "StageReached", JOB)
        .await?;
    require_one_version(context, "tumour").await?;
    context
        .until_ready::<ModelVersion>("publishing-1", "StageReached", JOB)
        .await?;
    require_one_version(context, "publishing").await?;
    context.until_serving("steady", "steady:1").await?;
    context.check_linear("steady", "steady", "1", 2.0).await?;
    Ok(Ended::Passed)
}

/// Asks the service until the outage is over; the number of answers.
async fn serve_meanwhile(fronts: &Fronts) -> Result<u64> {
    let load = Load::start(fronts.http.clone(), "steady", request(&LINEAR_ROW), PER_SECOND)?;
    tokio::time::sleep(OUTAGE).await;
    let report = load.stop().await?;
    report.require_no_failure(u64::from(PER_SECOND) * OUTAGE.as_secs() / 2)?;
    Ok(report.answered())
}
