//! MLflow is away for a minute: while a training runs, before a run exists, and before a version is registered. A version
//! that is published is promoted all the same, and MLflow is told afterwards.

use aiops_crds::{ConditionStatus, Experiment, ModelVersion};
use aiops_mlflow_client::RunStatus;
use anyhow::{Result, ensure};
use serde_json::json;

use super::specs;
use crate::faults::Part;
use crate::scenario::{Context, Ended, JOB, SOON};
use crate::wait::Seen;

/// Rounds for a training that ends during the outage.
const ROUNDS: u32 = 3000;

pub async fn run(context: &Context) -> Result<Ended> {
    let uri = context.upload_onnx("late", &[]).await?;
    let known = context.upload_onnx("known", &[]).await?;
    context
        .create::<ModelVersion>("known-1", specs::onnx_version("known", &known))
        .await?;
    context
        .until_ready::<ModelVersion>("known-1", "StageReached", JOB)
        .await?;
    let mut training = specs::long_training(ROUNDS);
    training["register"] = json!({"model": "tumour"});
    context.create::<Experiment>("at-work", training).await?;
    until_trainer_runs(context, "at-work").await?;

    context
        .while_away(Part::Mlflow, async || {
            let mut experiment = specs::quick_training("LogisticRegression", "wine");
            experiment["register"] = json!({"model": "wine"});
            context.create::<Experiment>("not-begun", experiment).await?;
            context
                .create::<ModelVersion>("late-1", specs::onnx_version("late", &uri))
                .await?;
            let told = ("Ready", ConditionStatus::False, "MLflowUnavailable");
            context
                .until_condition::<Experiment>("not-begun", told, SOON)
                .await?;
            context
                .until_condition::<ModelVersion>("late-1", told, SOON)
                .await?;
            context.promote("known-1").await?;
            let behind = ("Mirrored", ConditionStatus::False, "MLflowUnavailable");
            context
                .until_condition::<ModelVersion>("known-1", behind, SOON)
                .await?;
            Ok(())
        })
        .await?;

    let told = ("Mirrored", ConditionStatus::True, "Mirrored");
    context
        .until_condition::<ModelVersion>("known-1", told, SOON)
        .await?;
    for (experiment, model) in [("at-work", "tumour"), ("not-begun", "wine")] {
        context
            .until_ready::<Experiment>(experiment, "Succeeded", JOB)
            .await?;
        let status = context.only_run_of(experiment).await?.info.status;
        ensure!(
            status == RunStatus::Finished,
            "the run of {experiment} is {status:?} in MLflow, not FINISHED"
        );
        context
            .until_ready::<ModelVersion>(&format!("{experiment}-1"), "StageReached", JOB)
            .await?;
        require_one_version(context, model).await?;
    }
    context
        .until_ready::<ModelVersion>("late-1", "StageReached", JOB)
        .await?;
    require_one_version(context, "late").await?;
    Ok(Ended::Passed)
}

/// Waits until the trainer's pod runs and MLflow has its run.
pub async fn until_trainer_runs(context: &Context, experiment: &str) -> Result<()> {
    let selector = format!("aiops.dev/experiment={experiment}");
    context
        .until(
            &format!("the trainer of {experiment} has logged its parameters"),
            JOB,
            async || {
                let pods = context.pods(&selector).await?;
                let phase = pods
                    .first()
                    .and_then(|pod| pod.status.as_ref()?.phase.clone())
                    .unwrap_or_default();
                if phase != "Running" {
                    return Ok(Seen::NotYet(format!("its pod is {phase:?}")));
                }
                let logged = context.only_run_of(experiment).await?.data.params.len();
                Ok(if logged > 0 {
                    Seen::Done(())
                } else {
                    Seen::NotYet("no parameters in MLflow".into())
                })
            },
        )
        .await
}

/// A model has exactly one version in MLflow and in the model repository.
pub async fn require_one_version(context: &Context, model: &str) -> Result<()> {
    let versions = context.registered_versions(model).await?;
    ensure!(
        versions.len() == 1,
        "MLflow has {} versions of {model}: {versions:?}",
        versions.len()
    );
    let folder = format!("{}/{model}/", context.namespace);
    let keys = context.stored_keys("models", &folder).await?;
    let manifests: Vec<_> = keys
        .iter()
        .filter(|key| key.ends_with("/manifest.json"))
        .collect();
    ensure!(
        manifests.len() == 1,
        "the model repository has the versions {manifests:?} of {model}"
    );
    Ok(())
}
