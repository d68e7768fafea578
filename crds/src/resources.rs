//! Compute resources of a container, with quantities as Kubernetes takes them (text or whole number).

use std::borrow::Cow;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A resource's name is a domain, `/` and a label at most.
const RESOURCE_NAME: &str =
    "the name of a resource has at most 317 characters: use one such as cpu, memory or nvidia.com/gpu";

/// A Kubernetes quantity: `500m`, `1Gi` or a whole number such as `1`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub struct ResourceQuantity(pub IntOrString);

impl JsonSchema for ResourceQuantity {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResourceQuantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The pattern that Kubernetes' own CRD generator emits for a quantity.
        json_schema!({
            "x-kubernetes-int-or-string": true,
            "maxLength": 32,
            "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
        })
    }
}

impl From<&ResourceQuantity> for Quantity {
    fn from(quantity: &ResourceQuantity) -> Self {
        match &quantity.0 {
            IntOrString::Int(number) => Self(number.to_string()),
            IntOrString::String(text) => Self(text.clone()),
        }
    }
}

/// CPU, memory and devices of a container.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.requests) || !has(self.limits) || self.requests.all(name, \
    !(name in self.limits) || quantity(string(self.requests[name])).compareTo(quantity(string(self.limits[name]))) <= 0)")
    .message("a request is above the limit of the same resource, which no pod may have: lower it in requests, or raise it in limits"))]
pub struct ComputeResources {
    /// What the scheduler reserves, by resource name: `cpu` in cores (`500m` is half a core), `memory` in bytes (`256Mi`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 317)").message(RESOURCE_NAME))]
    pub requests: BTreeMap<String, ResourceQuantity>,
    /// What the container may use at most, by resource name. Devices such as `nvidia.com/gpu` are whole numbers and belong here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 317)").message(RESOURCE_NAME))]
    pub limits: BTreeMap<String, ResourceQuantity>,
}

impl From<&ComputeResources> for ResourceRequirements {
    fn from(resources: &ComputeResources) -> Self {
        let quantities = |map: &BTreeMap<String, ResourceQuantity>| {
            (!map.is_empty()).then(|| {
                map.iter()
                    .map(|(name, quantity)| (name.clone(), Quantity::from(quantity)))
                    .collect()
            })
        };
        Self {
            requests: quantities(&resources.requests),
            limits: quantities(&resources.limits),
            claims: None,
        }
    }
}
