//! What kubectl shows: explanations, columns, waiting, resource use; and the autoscaler has its metrics.

use aiops_crds::{InferenceService, ModelVersion};
use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use serde_json::json;

use super::specs;
use crate::scenario::{Context, Ended, JOB};
use crate::wait::Seen;

pub async fn run(context: &Context) -> Result<Ended> {
    explanations(context).await?;
    let uri = context.upload_onnx("shown", &[]).await?;
    let mut spec = specs::onnx_version("shown", &uri);
    spec["stage"] = json!("Staging");
    context.create::<ModelVersion>("shown-1", spec).await?;
    let mut service = specs::service("shown", &json!({"stage": "Staging"}));
    service["autoscaling"] = json!({"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilization": 80});
    context.create::<InferenceService>("shown", service).await?;
    for object in ["modelversion/shown-1", "inferenceservice/shown"] {
        let timeout = format!("--timeout={}s", JOB.as_secs());
        kubectl(context, &["wait", "--for=condition=Ready", &timeout, object]).await?;
        context
            .progress
            .say(&format!("kubectl wait --for=condition=Ready {object} returned"));
    }
    columns(context).await?;
    autoscaler_has_metrics(context).await?;
    let used = kubectl(context, &["top", "pods"]).await?;
    ensure!(
        used.contains("shown-inference"),
        "kubectl top pods does not show the service's pod: {used}"
    );
    Ok(Ended::Passed)
}

async fn kubectl(context: &Context, arguments: &[&str]) -> Result<String> {
    context
        .programs
        .kubectl(&[&["-n", &context.namespace], arguments].concat())
        .await
}

async fn explanations(context: &Context) -> Result<()> {
    for (field, words) in [
        (
            "experiment.spec.validation",
            &["held-out rows", "metric", "min", "max", "decimal number"][..],
        ),
        ("exp.spec.trainer.dataset", &["builtin", "uri", "target"][..]),
        (
            "modelversion.spec.approval",
            &["digest", "status.published.digest"][..],
        ),
        ("mv.spec.stage", &["Production", "Archived"][..]),
        ("infsvc.spec.autoscaling", &["percent", "Default: 70"][..]),
    ] {
        let text = context.programs.kubectl(&["explain", field]).await?;
        // Lines are wrapped, and words may be at both sides of a break.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            ensure!(
                text.contains(word),
                "kubectl explain {field} does not say {word:?}: {text}"
            );
        }
    }
    context.progress.say("kubectl explain describes the fields");
    Ok(())
}

async fn columns(context: &Context) -> Result<()> {
    for (kind, name, header, cells) in [
        (
            "modelversions",
            "shown-1",
            "NAME MODEL VERSION STAGE DESIRED READY STATUS AGE",
            &["shown", "1", "Staging", "Staging", "True", "StageReached"][..],
        ),
        (
            "inferenceservices",
            "shown",
            "NAME READY STATUS MODELS REPLICAS URL AGE",
            &["True", "Serving", "shown:1", "1/1"][..],
        ),
    ] {
        let table = kubectl(context, &["get", kind, name]).await?;
        let mut lines = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let shown = lines.next().unwrap_or_default().join(" ");
        ensure!(
            shown == header,
            "the columns of {kind} are {shown}, expected {header}"
        );
        let row = lines
            .next()
            .with_context(|| format!("kubectl get {kind} {name} shows no row"))?;
        ensure!(
            row.get(1..=cells.len()) == Some(cells),
            "{kind} {name} is shown as {row:?}, expected {cells:?}"
        );
    }
    let all = kubectl(context, &["get", "aiops"]).await?;
    ensure!(
        all.contains("modelversion.aiops.dev/shown-1") && all.contains("inferenceservice.aiops.dev/shown"),
        "kubectl get aiops does not show the kinds of the category: {all}"
    );
    Ok(())
}

async fn autoscaler_has_metrics(context: &Context) -> Result<()> {
    let autoscalers = context.api::<HorizontalPodAutoscaler>();
    context
        .until("the autoscaler reads the CPU use of the pods", JOB, async || {
            let found = autoscalers.get("shown-inference").await?;
            let status = found.status.unwrap_or_default();
            let conditions = status.conditions.unwrap_or_default();
            let active = conditions
                .iter()
                .find(|condition| condition.type_ == "ScalingActive");
            let measured = status.current_metrics.iter().flatten().any(|metric| {
                metric
                    .resource
                    .as_ref()
                    .is_some_and(|resource| resource.current.average_utilization.is_some())
            });
            Ok(match active {
                Some(condition) if condition.status == "True" && measured => Seen::Done(()),
                Some(condition) => Seen::NotYet(condition.message.clone().unwrap_or_default()),
                None => Seen::NotYet("it has not looked yet".into()),
            })
        })
        .await
}
