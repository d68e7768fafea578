//! Tells a Prometheus Operator where the pods' metrics are.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use super::{METRICS, ValidatedInferenceService, metadata, selector};

/// The fields of a ServiceMonitor that are needed here.
#[derive(Clone, CustomResource, Debug, Deserialize, Serialize)]
#[kube(
    group = "monitoring.coreos.com",
    version = "v1",
    kind = "ServiceMonitor",
    namespaced,
    schema = "disabled"
)]
#[serde(rename_all = "camelCase")]
pub struct ServiceMonitorSpec {
    /// The Services to scrape.
    pub selector: LabelSelector,
    /// Their ports.
    pub endpoints: Vec<Endpoint>,
    /// Labels of the Service that its series get.
    pub target_labels: Vec<String>,
}

/// A port to scrape.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Endpoint {
    /// The port's name.
    pub port: String,
}

/// The ServiceMonitor. How often is scraped is Prometheus' own setting.
pub fn build(validated: &ValidatedInferenceService) -> ServiceMonitor {
    ServiceMonitor {
        metadata: metadata(validated, validated.child_name()),
        spec: ServiceMonitorSpec {
            selector: selector(validated),
            endpoints: vec![Endpoint {
                port: METRICS.name.into(),
            }],
            target_labels: vec![crate::build::labels::INFERENCE_SERVICE.into()],
        },
    }
}
