//! A service under constant load follows promotions, a roll-back, a pinned version and deletions, without one failed request.

use std::collections::BTreeSet;
use std::time::Duration;

use aiops_crds::{ConditionStatus, InferenceService, ModelVersion, Stage};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::specs;
use crate::load::{Load, Report};
use crate::scenario::{Context, Ended, JOB, SOON};
use crate::serving::{Fronts, LINEAR_ROW, request};

const PER_SECOND: u32 = 40;
/// How long each version is asked before the next change.
const SETTLE: Duration = Duration::from_secs(3);

pub async fn run(context: &Context) -> Result<Ended> {
    publish(context, "linear-1", "2").await?;
    context.promote("linear-1").await?;
    context
        .create::<InferenceService>(
            "linear",
            specs::service("linear", &json!({"stage": "Production"})),
        )
        .await?;
    context.until_serving("linear", "linear:1").await?;
    context.check_linear("linear", "linear", "1", 2.0).await?;

    let before = pods(context).await?;
    let fronts = Fronts::of(&context.cluster, &context.namespace, "linear").await?;
    let load = Load::start(fronts.http.clone(), "linear", request(&LINEAR_ROW), PER_SECOND)?;
    context
        .progress
        .say(&format!("{PER_SECOND} requests a second begin"));
    let result = change_versions(context).await;
    let report = load.stop().await?;
    context.progress.say(&format!(
        "{} requests answered, {} failed, the slowest took {} ms: {:?}",
        report.answered(),
        report.failures.len(),
        report.slowest.as_millis(),
        report.answers
    ));
    result?;
    check(&report)?;
    let after = pods(context).await?;
    ensure!(
        before == after,
        "pods and restarts were {before:?}, and are {after:?}"
    );
    Ok(Ended::Passed)
}

async fn publish(context: &Context, name: &str, factor: &str) -> Result<()> {
    let uri = context.upload_onnx(name, &["--factor", factor]).await?;
    context
        .create::<ModelVersion>(name, specs::onnx_version("linear", &uri))
        .await?;
    context
        .until_ready::<ModelVersion>(name, "StageReached", JOB)
        .await?;
    Ok(())
}

async fn change_versions(context: &Context) -> Result<()> {
    publish(context, "linear-2", "3").await?;
    context.promote("linear-2").await?;
    context.until_serving("linear", "linear:2").await?;
    context.check_linear("linear", "linear", "2", 3.0).await?;
    let superseded = ("Promoted", ConditionStatus::False, "Superseded");
    context
        .until_condition::<ModelVersion>("linear-1", superseded, SOON)
        .await?;
    tokio::time::sleep(SETTLE).await;

    // Back to the first by its stage: version 1 still asks for Production and holds it again.
    let archived = json!({"spec": {"stage": "Archived", "approval": Value::Null}});
    context.patch::<ModelVersion>("linear-2", archived).await?;
    context.until_serving("linear", "linear:1").await?;
    let first: ModelVersion = context.until_ready("linear-1", "StageReached", SOON).await?;
    ensure!(
        first
            .status
            .is_some_and(|status| status.stage == Some(Stage::Production)),
        "version 1 does not hold Production again"
    );
    context.check_linear("linear", "linear", "1", 2.0).await?;
    tokio::time::sleep(SETTLE).await;

    // To a version by its name, whatever its stage, and back.
    pin(context, "linear-2", "linear:2").await?;
    context.check_linear("linear", "linear", "2", 3.0).await?;
    tokio::time::sleep(SETTLE).await;
    pin(context, "linear-1", "linear:1").await?;
    context.check_linear("linear", "linear", "1", 2.0).await?;
    tokio::time::sleep(SETTLE).await;
    delete_versions(context).await
}

/// Deleting the version that serves takes no service down: its predecessor takes its place, or its bytes go on.
async fn delete_versions(context: &Context) -> Result<()> {
    let models = json!({"spec": {"models": [{"name": "linear", "version": {"stage": "Production"}}]}});
    context.patch::<InferenceService>("linear", models).await?;
    context.promote("linear-2").await?;
    context.until_serving("linear", "linear:2").await?;
    context.delete::<ModelVersion>("linear-2").await?;
    context.until_serving("linear", "linear:1").await?;
    context.check_linear("linear", "linear", "1", 2.0).await?;
    tokio::time::sleep(SETTLE).await;

    pin(context, "linear-1", "linear:1").await?;
    context.delete::<ModelVersion>("linear-1").await?;
    let told = ("Ready", ConditionStatus::False, "WaitingForModelVersion");
    context
        .until_condition::<InferenceService>("linear", told, SOON)
        .await?;
    context.check_linear("linear", "linear", "1", 2.0).await
}

async fn pin(context: &Context, version: &str, serving: &str) -> Result<()> {
    let models = json!({"spec": {"models": [{"name": "linear", "version": {"ref": version}}]}});
    context.patch::<InferenceService>("linear", models).await?;
    context.until_serving("linear", serving).await.map(|_| ())
}

/// Names and restarts of the service's pods.
async fn pods(context: &Context) -> Result<BTreeSet<(String, i32)>> {
    let pods = context.pods("aiops.dev/inference-service=linear").await?;
    let described = pods.into_iter().map(|pod| {
        let statuses = pod
            .status
            .and_then(|status| status.container_statuses)
            .unwrap_or_default();
        let restarts = statuses.iter().map(|container| container.restart_count).sum();
        (pod.metadata.uid.unwrap_or_default(), restarts)
    });
    Ok(described.collect())
}

/// No request failed, both versions answered, and each with its own number.
fn check(report: &Report) -> Result<()> {
    report.require_no_failure(u64::from(PER_SECOND) * 10)?;
    let answers: BTreeSet<_> = report
        .answers
        .keys()
        .map(|(version, value)| (version.as_str(), value.as_str()))
        .collect();
    let expected = BTreeSet::from([("1", "20"), ("2", "30")]);
    ensure!(
        answers == expected,
        "versions and values were {answers:?}, expected {expected:?}"
    );
    Ok(())
}
