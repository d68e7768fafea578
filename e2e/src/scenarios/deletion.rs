//! Deleting each kind leaves nothing behind, in the cluster, in MLflow and in the model repository.

use std::fmt::Debug;

use aiops_crds::{ConditionStatus, Experiment, InferenceService, ModelVersion};
use aiops_mlflow_client::RunStatus;
use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::Resource;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::specs;
use crate::scenario::{Context, Ended, JOB, SOON};
use crate::wait::Seen;

pub async fn run(context: &Context) -> Result<Ended> {
    context
        .create::<Experiment>("endless", specs::long_training(1_000_000))
        .await?;
    publish(context, "kept", "Retain").await?;
    publish(context, "dropped", "Delete").await?;
    inference_service(context).await?;
    model_version_that_is_dropped(context).await?;
    model_version_that_is_kept(context).await?;
    experiment_at_work(context).await?;
    finished_experiment(context).await?;
    Ok(Ended::Passed)
}

async fn publish(context: &Context, model: &str, policy: &str) -> Result<()> {
    let uri = context.upload_onnx(model, &[]).await?;
    let mut spec = specs::onnx_version(model, &uri);
    spec["stage"] = json!("Staging");
    spec["deletionPolicy"] = json!(policy);
    let name = format!("{model}-1");
    context.create::<ModelVersion>(&name, spec).await?;
    context
        .until_ready::<ModelVersion>(&name, "StageReached", JOB)
        .await?;
    let keys = context
        .stored_keys("models", &format!("{}/{model}/1/", context.namespace))
        .await?;
    ensure!(
        keys.len() >= 3,
        "the model repository has only {keys:?} of {name}"
    );
    Ok(())
}

async fn inference_service(context: &Context) -> Result<()> {
    let mut spec = specs::service("kept", &json!({"ref": "kept-1"}));
    spec["autoscaling"] = json!({"minReplicas": 1, "maxReplicas": 2});
    context.create::<InferenceService>("served", spec).await?;
    context.until_serving("served", "kept:1").await?;
    let children = "aiops.dev/inference-service=served";
    require_some::<Deployment>(context, children).await?;
    require_some::<Service>(context, children).await?;
    require_some::<ConfigMap>(context, children).await?;
    require_some::<HorizontalPodAutoscaler>(context, children).await?;
    require_some::<PodDisruptionBudget>(context, children).await?;
    require_some::<ServiceAccount>(context, children).await?;
    context.delete::<InferenceService>("served").await?;
    context.until_none_left::<Deployment>(children).await?;
    context.until_none_left::<ReplicaSet>(children).await?;
    context.until_none_left::<Pod>(children).await?;
    context.until_none_left::<Service>(children).await?;
    context.until_none_left::<ConfigMap>(children).await?;
    context
        .until_none_left::<HorizontalPodAutoscaler>(children)
        .await?;
    context.until_none_left::<PodDisruptionBudget>(children).await?;
    context.until_none_left::<ServiceAccount>(children).await
}

/// That a label selects the children at all: or else nothing would be found to be left.
async fn require_some<Kind>(context: &Context, selector: &str) -> Result<()>
where
    Kind: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let found = context
        .api::<Kind>()
        .list_metadata(&ListParams::default().labels(selector))
        .await?;
    ensure!(
        !found.items.is_empty(),
        "there is no {} with {selector}",
        Kind::kind(&())
    );
    Ok(())
}

async fn model_version_that_is_dropped(context: &Context) -> Result<()> {
    context.delete::<ModelVersion>("dropped-1").await?;
    children_of_version_are_gone(context, "dropped-1").await?;
    let left = context
        .stored_keys("models", &format!("{}/dropped/1/", context.namespace))
        .await?;
    ensure!(
        left.is_empty(),
        "deletionPolicy Delete left {left:?} in the model repository"
    );
    let versions = context.registered_versions("dropped").await?;
    ensure!(
        versions.is_empty(),
        "deletionPolicy Delete left {versions:?} in MLflow"
    );
    Ok(())
}

async fn model_version_that_is_kept(context: &Context) -> Result<()> {
    context.delete::<ModelVersion>("kept-1").await?;
    children_of_version_are_gone(context, "kept-1").await?;
    let kept = context
        .stored_keys("models", &format!("{}/kept/1/", context.namespace))
        .await?;
    ensure!(
        kept.len() >= 3,
        "deletionPolicy Retain kept only {kept:?} in the model repository"
    );
    let versions = context.registered_versions("kept").await?;
    ensure!(
        versions.len() == 1,
        "deletionPolicy Retain kept {} versions in MLflow",
        versions.len()
    );
    Ok(())
}

async fn children_of_version_are_gone(context: &Context, name: &str) -> Result<()> {
    let children = format!("aiops.dev/model-version={name}");
    context.until_none_left::<Job>(&children).await?;
    context.until_none_left::<Pod>(&children).await?;
    context.until_none_left::<ConfigMap>(&children).await
}

async fn experiment_at_work(context: &Context) -> Result<()> {
    context
        .until_condition::<Experiment>("endless", ("Ready", ConditionStatus::False, "Training"), JOB)
        .await?;
    let children = "aiops.dev/experiment=endless";
    context
        .until("the trainer runs", JOB, async || {
            let pods = context.pods(children).await?;
            let phase = pods
                .first()
                .and_then(|pod| pod.status.as_ref()?.phase.clone())
                .unwrap_or_default();
            Ok(if phase == "Running" {
                Seen::Done(())
            } else {
                Seen::NotYet(format!("its pod is {phase:?}"))
            })
        })
        .await?;
    context.delete::<Experiment>("endless").await?;
    context.until_none_left::<Job>(children).await?;
    context.until_none_left::<Pod>(children).await?;
    let ended = async || {
        let status = context.only_run_of("endless").await?.info.status;
        let over = matches!(status, RunStatus::Killed | RunStatus::Failed);
        Ok(if over {
            Seen::Done(())
        } else {
            Seen::NotYet(format!("it is {status:?}"))
        })
    };
    context
        .until("the run in MLflow is closed as KILLED or FAILED", SOON, ended)
        .await
}

/// A model outlives its Experiment, and so does the account of how it was trained.
async fn finished_experiment(context: &Context) -> Result<()> {
    let mut spec = specs::quick_training("LogisticRegression", "wine");
    spec["register"] = json!({"model": "wine"});
    context.create::<Experiment>("finished", spec).await?;
    context
        .until_ready::<Experiment>("finished", "Succeeded", JOB)
        .await?;
    context
        .until_ready::<ModelVersion>("finished-1", "StageReached", JOB)
        .await?;
    context.delete::<Experiment>("finished").await?;
    let children = "aiops.dev/experiment=finished";
    context.until_none_left::<Job>(children).await?;
    context.until_none_left::<Pod>(children).await?;
    let status = context.only_run_of("finished").await?.info.status;
    ensure!(
        status == RunStatus::Finished,
        "deleting the Experiment made its finished run {status:?}"
    );
    context
        .until_ready::<ModelVersion>("finished-1", "StageReached", SOON)
        .await
        .map(|_| ())
}
