//! The main job: an Experiment on breast-cancer, its approval, and predictions equal to scikit-learn's over every front.

use aiops_crds::{ConditionStatus, Experiment, InferenceService, ModelVersion, Stage};
use aiops_mlflow_client::RunStatus;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::specs;
use crate::scenario::{Context, Ended, JOB, SOON};

const VERSION: &str = "forest-1";

pub async fn run(context: &Context) -> Result<Ended> {
    context
        .create::<InferenceService>(
            "tumour",
            specs::service("tumour", &json!({"stage": "Production"})),
        )
        .await?;
    let run_id = train(context).await?;
    publish(context).await?;
    approve(context).await?;
    check_registry(context).await?;
    context.until_serving("tumour", "tumour:1").await?;
    context
        .check_predictions("tumour", "tumour", "breast-cancer", &run_id)
        .await?;
    Ok(Ended::Passed)
}

async fn train(context: &Context) -> Result<String> {
    let mut spec = specs::quick_training("RandomForestClassifier", "breast-cancer");
    spec["trainer"]["parameters"] = json!({"n_estimators": "200"});
    spec["validation"] = json!([{"metric": "accuracy", "min": "0.93"}]);
    spec["register"] = json!({"model": "tumour", "stage": "Staging"});
    context.create::<Experiment>("forest", spec).await?;
    let experiment: Experiment = context.until_ready("forest", "Succeeded", JOB).await?;
    let status = experiment.status.unwrap_or_default();
    ensure!(
        status.model_version.as_deref() == Some(VERSION),
        "status.modelVersion is {:?}",
        status.model_version
    );
    ensure!(
        status.validation.len() == 1 && status.validation[0].passed,
        "status.validation is {:?}",
        status.validation
    );

    let run = context.only_run_of("forest").await?;
    ensure!(
        run.info.status == RunStatus::Finished,
        "the run in MLflow is {:?}",
        run.info.status
    );
    ensure!(
        status
            .mlflow
            .is_some_and(|reference| reference.run_id == run.info.run_id),
        "status.mlflow.runId is not that of the run"
    );
    for metric in [
        "accuracy",
        "f1",
        "roc_auc",
        "log_loss",
        "training_rows",
        "holdout_rows",
    ] {
        let value = run
            .metric(metric)
            .with_context(|| format!("the run has no metric {metric}"))?;
        context.progress.say(&format!("metric {metric} is {value}"));
    }
    let rows =
        run.metric("training_rows").unwrap_or_default() + run.metric("holdout_rows").unwrap_or_default();
    ensure!(
        (rows - 569.0).abs() < 0.5,
        "breast-cancer has 569 rows, the run used {rows}"
    );
    ensure!(
        run.outputs.model_outputs.len() == 1,
        "the run has {} models",
        run.outputs.model_outputs.len()
    );
    let (mlflow, _address) = context.mlflow().await?;
    let files = mlflow.list_artifacts(&run.info.run_id, "evaluation").await?;
    for file in ["confusion_matrix.png", "roc_curve.png", "holdout.safetensors"] {
        let path = format!("evaluation/{file}");
        ensure!(
            files
                .iter()
                .any(|found| found.path == path && found.size_bytes > 0),
            "the run has no artifact {path}"
        );
    }
    Ok(run.info.run_id)
}

async fn publish(context: &Context) -> Result<()> {
    let version: ModelVersion = context.until_ready(VERSION, "StageReached", JOB).await?;
    let status = version.status.unwrap_or_default();
    ensure!(
        status.stage == Some(Stage::Staging),
        "status.stage is {:?}, not Staging",
        status.stage
    );
    ensure!(
        status.version.as_deref() == Some("1"),
        "status.version is {:?}, not 1",
        status.version
    );
    let published = status.published.context("status.published is missing")?;
    let parity = published.parity.context("status.published.parity is missing")?;
    ensure!(
        parity.rows >= 200,
        "parity was checked on {} rows, expected at least 200",
        parity.rows
    );
    let agreement: f64 = parity
        .label_agreement
        .context("parity has no label agreement")?
        .parse()?;
    ensure!(agreement >= 0.999, "labels agree on {agreement} of the rows");
    let difference: f64 = parity.max_absolute_difference.parse()?;
    ensure!(difference <= 1e-5, "probabilities differ by up to {difference}");
    context.progress.say(&format!(
        "published {} bytes; labels agree on {agreement}, probabilities within {difference}",
        published.size_bytes
    ));

    let keys = context
        .stored_keys("models", &format!("{}/tumour/", context.namespace))
        .await?;
    for file in [
        "1/model.onnx",
        "1/config.pbtxt",
        "1/manifest.json",
        "config.pbtxt",
    ] {
        let key = format!("{}/tumour/{file}", context.namespace);
        ensure!(keys.contains(&key), "the model repository has no {key}: {keys:?}");
    }
    Ok(())
}

/// Production waits for an approval, does not take one of other bytes, and takes that of these.
async fn approve(context: &Context) -> Result<()> {
    let no = ConditionStatus::False;
    context
        .patch::<ModelVersion>(VERSION, json!({"spec": {"stage": "Production"}}))
        .await?;
    context
        .until_condition::<ModelVersion>(VERSION, ("Ready", no, "AwaitingApproval"), SOON)
        .await?;
    let waiting: InferenceService = context
        .until_condition("tumour", ("Ready", no, "WaitingForStage"), SOON)
        .await?;
    ensure!(
        waiting.status.is_some_and(|status| status.serving.is_none()),
        "the service serves a version that nobody has approved"
    );
    let other = format!("sha256:{}", "0".repeat(64));
    context
        .patch::<ModelVersion>(VERSION, json!({"spec": {"approval": {"digest": other}}}))
        .await?;
    context
        .until_condition::<ModelVersion>(VERSION, ("Ready", no, "ApprovalOfOtherBytes"), SOON)
        .await?;
    let version = context.promote(VERSION).await?;
    let status = version.status.unwrap_or_default();
    ensure!(
        status.stage == Some(Stage::Production),
        "status.stage is {:?}, not Production",
        status.stage
    );
    let newest = status.history.first().context("status.history is empty")?;
    ensure!(
        newest.from == Stage::Staging && newest.to == Stage::Production,
        "the newest change of stage is {newest:?}"
    );
    Ok(())
}

/// Stage and alias, as MLflow's own client reads them.
async fn check_registry(context: &Context) -> Result<()> {
    // A stage holds before MLflow is told of it.
    context
        .until_condition::<ModelVersion>(VERSION, ("Mirrored", ConditionStatus::True, "Mirrored"), SOON)
        .await?;
    let address = context.cluster.mlflow_address().await?;
    let model = format!("{}.tumour", context.namespace);
    let read = context
        .programs
        .python("registry.py", &[&format!("http://{address}"), &model], &[], None)
        .await?;
    let registry: Value = serde_json::from_slice(&read)?;
    ensure!(
        registry["stages"] == json!({"1": "Production"}),
        "stages in MLflow: {registry}"
    );
    ensure!(
        registry["aliases"] == json!({"production": "1"}),
        "aliases in MLflow: {registry}"
    );
    context
        .progress
        .say(&format!("MLflow's own client reads {registry}"));
    Ok(())
}
