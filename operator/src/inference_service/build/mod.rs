//! Builds the children of an InferenceService, one file each. Deterministic: no clock, no randomness, no I/O.

mod autoscaler;
mod deployment;
mod disruption_budget;
mod service;
mod service_account;
mod service_monitor;
mod serving_plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

pub use self::service::addresses;
pub use self::service_monitor::ServiceMonitor;
use super::serving_plan::RenderedPlan;
use super::validate::{Scale, ValidatedInferenceService};
use crate::build::labels;
use crate::configuration::Configuration;

const COMPONENT: &str = "inference";

/// A port of the pod and of the Service.
#[derive(Clone, Copy, Debug)]
pub struct Port {
    /// Its name in both.
    pub name: &'static str,
    /// Its number in both.
    pub number: u16,
    /// What is spoken there, for meshes and gateways.
    pub app_protocol: &'static str,
}

/// Open Inference Protocol v2 over HTTP.
pub const HTTP: Port = Port {
    name: "http",
    number: 8000,
    app_protocol: "http",
};
/// Open Inference Protocol v2 over gRPC.
pub const GRPC: Port = Port {
    name: "grpc",
    number: 8001,
    app_protocol: "kubernetes.io/h2c",
};
/// Prometheus metrics, and what became of the serving plan.
pub const METRICS: Port = Port {
    name: "metrics",
    number: 8002,
    app_protocol: "http",
};
/// REST: rows in, predictions out.
pub const REST: Port = Port {
    name: "rest",
    number: 8080,
    app_protocol: "http",
};

/// Everything that belongs to a service that serves something.
#[derive(Clone, Debug)]
pub struct Children {
    /// The identity of the pods, without rights.
    pub service_account: ServiceAccount,
    /// What to load.
    pub serving_plan: ConfigMap,
    /// The pods.
    pub deployment: Deployment,
    /// Their address.
    pub service: Service,
    /// Their number, where it follows the load.
    pub autoscaler: Option<HorizontalPodAutoscaler>,
    /// How many of them may be away at a time.
    pub disruption_budget: PodDisruptionBudget,
    /// Where Prometheus finds their metrics, in a cluster that has this API.
    pub service_monitor: Option<ServiceMonitor>,
}

/// Builds the children; `replicas` is what [`super::replicas::to_apply`] says.
pub fn build(
    validated: &ValidatedInferenceService,
    plan: &RenderedPlan,
    replicas: Option<i32>,
    has_service_monitors: bool,
    configuration: &Configuration,
) -> Children {
    Children {
        service_account: service_account::build(validated),
        serving_plan: serving_plan::build(validated, plan),
        deployment: deployment::build(validated, replicas, configuration),
        service: service::build(validated),
        autoscaler: match validated.scale {
            Scale::Fixed(_) => None,
            Scale::Automatic {
                min_replicas,
                max_replicas,
                target_cpu_utilization,
            } => Some(autoscaler::build(
                validated,
                min_replicas,
                max_replicas,
                target_cpu_utilization,
            )),
        },
        disruption_budget: disruption_budget::build(validated),
        service_monitor: has_service_monitors.then(|| service_monitor::build(validated)),
    }
}

/// The selector of the pods as text, for list calls and the scale subresource.
pub fn label_selector(validated: &ValidatedInferenceService) -> String {
    let pairs = pod_labels(validated);
    let pairs: Vec<String> = pairs
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}

/// The least labels that tell the service's pods from all others.
fn pod_labels(validated: &ValidatedInferenceService) -> BTreeMap<String, String> {
    labels::selector(COMPONENT, labels::INFERENCE_SERVICE, &validated.name)
}

fn selector(validated: &ValidatedInferenceService) -> LabelSelector {
    LabelSelector {
        match_labels: Some(pod_labels(validated)),
        match_expressions: None,
    }
}

fn labels(validated: &ValidatedInferenceService) -> BTreeMap<String, String> {
    labels::labels(COMPONENT, labels::INFERENCE_SERVICE, &validated.name)
}

fn metadata(validated: &ValidatedInferenceService, name: String) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: Some(validated.namespace.clone()),
        labels: Some(labels(validated)),
        ..ObjectMeta::default()
    }
}
