//! Datasets that cannot be trained on: each ends with a reason, and a message that names the remedy.

use aiops_crds::Experiment;
use aiops_mlflow_client::RunStatus;
use anyhow::{Result, ensure};
use serde_json::Value;

use super::specs;
use crate::scenario::{Context, Ended};

pub async fn run(context: &Context) -> Result<Ended> {
    let uri = |file: &str| format!("s3://datasets/{}/{file}", context.namespace);
    let table = specs::small_table();
    let header = table.lines().next().unwrap_or_default();
    let text = table.replacen("\n1,", "\nbroken,", 1);
    for (file, content) in [
        ("good.csv", table.as_str()),
        ("empty.csv", &format!("{header}\n")),
        ("text.csv", &text),
    ] {
        context
            .upload(
                "datasets",
                &format!("{}/{file}", context.namespace),
                content.as_bytes(),
            )
            .await?;
    }
    let cases: [(&str, Value, &str, &[&str]); 5] = [
        (
            "unknown-dataset",
            specs::quick_training("LogisticRegression", "irys"),
            "UnknownDataset",
            &["irys", "iris", "wine"],
        ),
        (
            "no-such-file",
            specs::file_training(&uri("absent.csv"), "kind"),
            "DatasetNotFound",
            &["absent.csv", "upload"],
        ),
        (
            "no-such-column",
            specs::file_training(&uri("good.csv"), "colour"),
            "UnknownTargetColumn",
            &["colour", "kind", "size"],
        ),
        (
            "zero-rows",
            specs::file_training(&uri("empty.csv"), "kind"),
            "DatasetEmpty",
            &["empty.csv", "rows"],
        ),
        (
            "text-for-numbers",
            specs::file_training(&uri("text.csv"), "kind"),
            "NonNumericColumn",
            &["size", "broken"],
        ),
    ];
    for (name, spec, _, _) in &cases {
        context.create::<Experiment>(name, spec.clone()).await?;
    }
    for (name, _, reason, words) in &cases {
        let experiment: Experiment = context.until_refused(name, reason, words).await?;
        ensure!(
            experiment
                .status
                .is_some_and(|status| status.model_version.is_none()),
            "Experiment {name} has registered something"
        );
        let status = context.only_run_of(name).await?.info.status;
        ensure!(
            status == RunStatus::Failed,
            "the run of {name} is {status:?} in MLflow, not FAILED"
        );
    }
    Ok(Ended::Passed)
}
