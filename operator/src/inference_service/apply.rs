//! Applies the children, and removes those that are turned off. The only place that does.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use super::build::{Children, ServiceMonitor};
use super::validate::ValidatedInferenceService;
use crate::framework::apply::Applier;
use crate::framework::error::Error;

/// Applies all children, in an order in which each finds what it needs; returns the Deployment as the API server has it.
pub async fn apply(
    children: Children,
    validated: &ValidatedInferenceService,
    applier: &Applier<'_>,
) -> Result<Deployment, Error> {
    // Without `..`: a child that is built and forgotten here does not compile.
    let Children {
        service_account,
        serving_plan,
        deployment,
        service,
        autoscaler,
        disruption_budget,
        service_monitor,
    } = children;
    // What pods mount and run as, before there are pods.
    applier.apply(service_account).await?;
    applier.apply(serving_plan).await?;
    applier.apply(disruption_budget).await?;
    // The address comes before the pods too: a name that is taken is found before anything is started.
    applier.apply(service).await?;
    if autoscaler.is_none() {
        // Before the Deployment gets its fixed number, or the autoscaler would change it once more.
        applier
            .delete::<HorizontalPodAutoscaler>(&validated.child_name())
            .await?;
    }
    let deployment = applier.apply(deployment).await?;
    if let Some(autoscaler) = autoscaler {
        applier.apply(autoscaler).await?;
    }
    if let Some(service_monitor) = service_monitor {
        applier.apply(service_monitor).await?;
    }
    Ok(deployment)
}

/// Removes all children, those that send requests and change the number of pods first.
pub async fn remove(
    validated: &ValidatedInferenceService,
    has_service_monitors: bool,
    applier: &Applier<'_>,
) -> Result<(), Error> {
    let name = validated.child_name();
    applier.delete::<HorizontalPodAutoscaler>(&name).await?;
    applier.delete::<Service>(&name).await?;
    applier.delete::<Deployment>(&name).await?;
    if has_service_monitors {
        applier.delete::<ServiceMonitor>(&name).await?;
    }
    applier.delete::<PodDisruptionBudget>(&name).await?;
    applier
        .delete::<ConfigMap>(&validated.serving_plan_name())
        .await?;
    applier.delete::<ServiceAccount>(&name).await
}
