//! A model that predicts a number, out of a sample as it is applied, to predictions equal to scikit-learn's.

use aiops_crds::{Experiment, InferenceService, ModelVersion};
use anyhow::Result;
use serde_json::json;

use super::specs;
use crate::scenario::{Context, Ended, JOB};

pub async fn run(context: &Context) -> Result<Ended> {
    let sample = "config/samples/more/regression.yaml";
    context
        .programs
        .kubectl(&["-n", &context.namespace, "apply", "-f", sample])
        .await?;
    context.progress.say(&format!("{sample} applied"));
    context
        .create::<InferenceService>(
            "diabetes",
            specs::service("diabetes", &json!({"stage": "Staging"})),
        )
        .await?;
    context
        .until_ready::<Experiment>("diabetes-boosting", "Succeeded", JOB)
        .await?;
    context
        .until_ready::<ModelVersion>("diabetes-boosting-1", "StageReached", JOB)
        .await?;
    context.until_serving("diabetes", "diabetes:1").await?;
    let run = context.only_run_of("diabetes-boosting").await?.info.run_id;
    context
        .check_predictions("diabetes", "diabetes", "diabetes", &run)
        .await?;
    Ok(Ended::Passed)
}
