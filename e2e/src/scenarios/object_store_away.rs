//! The object store is away for a minute: while a training reads its rows, while one logs, and before a version is published.

use aiops_crds::{Experiment, ModelVersion};
use aiops_mlflow_client::RunStatus;
use anyhow::{Result, ensure};
use serde_json::json;

use super::mlflow_away::{require_one_version, until_trainer_runs};
use super::specs;
use crate::faults::Part;
use crate::scenario::{Context, Ended, JOB};

/// Rounds for a training that ends during the outage.
const ROUNDS: u32 = 3000;

pub async fn run(context: &Context) -> Result<Ended> {
    let uri = context.upload_onnx("late", &[]).await?;
    let table = format!("{}/table.csv", context.namespace);
    context
        .upload("datasets", &table, specs::small_table().as_bytes())
        .await?;
    let mut training = specs::long_training(ROUNDS);
    training["register"] = json!({"model": "tumour"});
    context.create::<Experiment>("at-work", training).await?;
    until_trainer_runs(context, "at-work").await?;

    context
        .while_away(Part::Minio, async || {
            let mut experiment = specs::file_training(&format!("s3://datasets/{table}"), "kind");
            experiment["register"] = json!({"model": "table"});
            context.create::<Experiment>("reading", experiment).await?;
            context
                .create::<ModelVersion>("late-1", specs::onnx_version("late", &uri))
                .await?;
            Ok(())
        })
        .await?;

    for (experiment, model) in [("at-work", "tumour"), ("reading", "table")] {
        context
            .until_ready::<Experiment>(experiment, "Succeeded", JOB)
            .await?;
        let run = context.only_run_of(experiment).await?;
        ensure!(
            run.info.status == RunStatus::Finished,
            "the run of {experiment} is {:?} in MLflow, not FINISHED",
            run.info.status
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
