//! Services that name a stage or a version that does not exist yet wait, and start when it appears.

use aiops_crds::{ConditionStatus, InferenceService, ModelVersion};
use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::ListParams;
use serde_json::json;

use super::specs;
use crate::scenario::{Context, Ended, SOON};

pub async fn run(context: &Context) -> Result<Ended> {
    context
        .create::<InferenceService>("by-stage", specs::service("later", &json!({"stage": "Staging"})))
        .await?;
    context
        .create::<InferenceService>("by-name", specs::service("later", &json!({"ref": "later-1"})))
        .await?;
    for (name, reason, word) in [
        ("by-stage", "WaitingForStage", "create one"),
        ("by-name", "WaitingForModelVersion", "later-1"),
    ] {
        let wanted = ("Ready", ConditionStatus::False, reason);
        let service: InferenceService = context.until_condition(name, wanted, SOON).await?;
        let message =
            crate::conditions::Conditioned::condition(&service, "Ready").map(|it| it.message.clone());
        let message = message.unwrap_or_default();
        ensure!(
            message.contains("later") && message.contains(word),
            "the message of {name} says too little: {message}"
        );
        let about = format!("aiops.dev/inference-service={name}");
        let deployments = context
            .api::<Deployment>()
            .list(&ListParams::default().labels(&about))
            .await?;
        ensure!(
            deployments.items.is_empty(),
            "{name} has started pods with nothing to serve"
        );
    }

    let uri = context.upload_onnx("later", &["--factor", "5"]).await?;
    let mut spec = specs::onnx_version("later", &uri);
    spec["stage"] = json!("Staging");
    context.create::<ModelVersion>("later-1", spec).await?;
    for name in ["by-stage", "by-name"] {
        context.until_serving(name, "later:1").await?;
        context.check_linear(name, "later", "1", 5.0).await?;
    }
    Ok(Ended::Passed)
}
