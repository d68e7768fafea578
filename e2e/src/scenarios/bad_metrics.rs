//! Metrics that do not pass: nothing is registered, the run stays finished, and a corrected rule is enough to go on.

use aiops_crds::{Experiment, ModelVersion};
use aiops_mlflow_client::RunStatus;
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::specs;
use crate::scenario::{Context, Ended, SOON};

pub async fn run(context: &Context) -> Result<Ended> {
    let spec = |rule: Value| {
        let mut spec = specs::quick_training("LogisticRegression", "wine");
        spec["validation"] = json!([rule]);
        spec["register"] = json!({"model": "wine"});
        spec
    };
    context
        .create::<Experiment>("below", spec(json!({"metric": "log_loss", "max": "0.0"})))
        .await?;
    context
        .create::<Experiment>("missing", spec(json!({"metric": "precision_at_k", "min": "0.5"})))
        .await?;
    context
        .until_refused::<Experiment>(
            "below",
            "ThresholdNotMet",
            &["log_loss", "max", "nothing is registered"],
        )
        .await?;
    context
        .until_refused::<Experiment>(
            "missing",
            "MetricMissing",
            &["precision_at_k", "accuracy", "spec.validation"],
        )
        .await?;
    for name in ["below", "missing"] {
        let version = context
            .api::<ModelVersion>()
            .get_opt(&format!("{name}-1"))
            .await?;
        ensure!(
            version.is_none(),
            "Experiment {name} has registered a ModelVersion"
        );
        let status = context.only_run_of(name).await?.info.status;
        ensure!(
            status == RunStatus::Finished,
            "the run of {name} is {status:?} in MLflow, not FINISHED"
        );
    }
    ensure!(
        context.registered_versions("wine").await?.is_empty(),
        "MLflow has a version of a model that did not pass"
    );

    // Nothing is lost: the training is not repeated.
    let corrected = json!({"spec": {"validation": [{"metric": "accuracy", "min": "0.5"}]}});
    context.patch::<Experiment>("missing", corrected).await?;
    context
        .until_ready::<Experiment>("missing", "Succeeded", SOON)
        .await?;
    context.only_run_of("missing").await?;
    Ok(Ended::Passed)
}
