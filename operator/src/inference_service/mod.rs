//! The InferenceService controller: validate, dereference, resolve models to versions, build and apply the children,
//! tell the pods, look at what they serve, write status.

mod apply;
mod build;
mod dereference;
mod explain;
mod monitoring;
mod observe;
mod progress;
mod refresh;
mod replicas;
mod resolve;
mod serving_plan;
mod status;
#[cfg(test)]
mod status_tests;
mod validate;
mod verdicts;
mod watches;

use std::sync::Arc;

use aiops_crds::{InferenceService, ModelVersion};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::{Controller, watcher};
use tokio_util::sync::CancellationToken;

use self::monitoring::Monitoring;
pub use self::observe::client as pod_client;
use self::progress::{Progress, Served};
use self::serving_plan::RenderedPlan;
use self::validate::ValidatedInferenceService;
use crate::build::labels;
use crate::framework::apply::Applier;
use crate::framework::context::Context;
use crate::framework::controller::{Settings, drive};
use crate::framework::error::Error;

/// The field manager of this controller.
pub const FIELD_MANAGER: &str = "aiops-inference-service";

/// Runs the controller until `shutdown`.
pub async fn control(context: Arc<Context>, concurrency: u16, shutdown: CancellationToken) {
    let client = &context.client;
    let services: Api<DeserializeGuard<InferenceService>> = Api::all(client.clone());
    let versions: Api<DeserializeGuard<ModelVersion>> = Api::all(client.clone());
    let ours = watcher::Config::default().labels(labels::INFERENCE_SERVICE);
    let controller = Controller::new(services, watcher::Config::default())
        .owns(Api::<ServiceAccount>::all(client.clone()), ours.clone())
        .owns(Api::<ConfigMap>::all(client.clone()), ours.clone())
        .owns(Api::<Deployment>::all(client.clone()), ours.clone())
        .owns(Api::<Service>::all(client.clone()), ours.clone())
        .owns(Api::<PodDisruptionBudget>::all(client.clone()), ours.clone())
        .watches(
            Api::<HorizontalPodAutoscaler>::all(client.clone()),
            ours.clone(),
            watches::autoscaler_mapper(),
        )
        // A pod that waits for an image or a node changes nothing on its Deployment.
        .watches(Api::<Pod>::all(client.clone()), ours, |pod| {
            watches::service_of(&pod.metadata)
        });
    let store = controller.store();
    let controller = controller.watches(versions, watcher::Config::default(), move |version| {
        watches::services_that_name(&store.state(), &version)
    });
    let settings = Settings {
        kind: "InferenceService",
        concurrency,
    };
    let monitoring = Arc::new(Monitoring::default());
    let reconcile = move |service, context| reconcile(service, context, monitoring.clone());
    drive(controller, settings, context, reconcile, shutdown).await;
}

async fn reconcile(
    service: Arc<InferenceService>,
    context: Arc<Context>,
    monitoring: Arc<Monitoring>,
) -> Result<Action, Error> {
    if service.metadata.deletion_timestamp.is_some() {
        // Everything that belongs to it lies inside the cluster: owner references clean up.
        return Ok(Action::await_change());
    }
    let mut progress = Progress::default();
    let result = match validate::validate(&service) {
        Ok(validated) => advance(&service, &validated, &context, &monitoring, &mut progress).await, // network
        Err(invalid) => {
            progress.invalid = Some(invalid.to_string());
            Ok(())
        }
    };
    let status = status::status(&service, &progress, result.as_ref().err(), Timestamp::now());
    crate::framework::status::write(
        &context,
        FIELD_MANAGER,
        &*service,
        service.status.as_ref(),
        &status,
    )
    .await?; // network
    result.map(|()| Action::requeue(status::look_again_after(&status)))
}

/// Brings the cluster to what the spec says; what was found out is noted in `progress`, also where an error ends it.
async fn advance(
    service: &InferenceService,
    validated: &ValidatedInferenceService,
    context: &Context,
    monitoring: &Monitoring,
    progress: &mut Progress,
) -> Result<(), Error> {
    let observed = dereference::dereference(validated, context, monitoring).await?; // network

    let served_before = service.status.as_ref().map(|status| status.models.as_slice());
    let resolution = resolve::resolve(
        &validated.models,
        &observed.versions,
        &observed.unreadable,
        served_before.unwrap_or_default(),
    );
    let models = resolution.models.clone();
    progress.resolution = Some(resolution);

    let applier = Applier::new(context, FIELD_MANAGER, service);
    if models.is_empty() {
        // Nothing was ever served, or its bytes were replaced: pods without a model would answer nothing.
        return apply::remove(validated, observed.has_service_monitors, &applier).await; // network
    }
    let plan = RenderedPlan::of(&models);
    let replicas = replicas::to_apply(&validated.scale, observed.deployment.as_ref());
    let children = build::build(
        validated,
        &plan,
        replicas,
        observed.has_service_monitors,
        &context.configuration,
    );
    let deployment = apply::apply(children, validated, &applier).await?; // network
    refresh::refresh(&observed.pods, &plan, validated, context).await?; // network
    let reports = observe::observe(&observed.pods, &context.http).await; // network
    progress.served = Some(Served {
        plan,
        models,
        deployment,
        pods: observed.pods,
        reports,
    });
    Ok(())
}
