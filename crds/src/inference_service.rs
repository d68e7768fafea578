//! InferenceService: serves versions of models from inference pods.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, names};
use crate::resources::ComputeResources;
use crate::stage::Stage;

/// Serves models over the Open Inference Protocol (HTTP and gRPC) and REST.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "aiops.dev",
    version = "v1alpha1",
    kind = "InferenceService",
    doc = "Serves versions of models from inference pods over the Open Inference Protocol (HTTP and gRPC) and REST.",
    namespaced,
    shortname = "infsvc",
    category = "aiops",
    status = "InferenceServiceStatus",
    derive = "PartialEq",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 48")
        .message("metadata.name becomes part of a Service's name: use at most 48 lower-case letters, digits and '-', starting with a letter"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Models", type_ = "string", json_path = ".status.serving", description = "the versions that answer"),
    printcolumn(name = "Replicas", type_ = "string", json_path = ".status.replicasSummary", description = "ready pods of desired ones"),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.addresses.http"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))")
    .message("spec.replicas and spec.autoscaling contradict each other: keep replicas for a fixed number of pods, or autoscaling for a range"))]
pub struct InferenceServiceSpec {
    /// The models to serve, all by every pod.
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub models: Vec<ServedModel>,
    /// A fixed number of pods; `kubectl scale` sets it. Default: 1. Contradicts `autoscaling`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub replicas: Option<i32>,
    /// A range of pods, scaled by a HorizontalPodAutoscaler. Default: none, `replicas` counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// CPU, memory and devices of a pod. Default: requests of 250m CPU and 256Mi memory, memory limited to 1Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ComputeResources>,
}

/// One model to serve.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServedModel {
    /// The model's name, the same as `spec.model` of its ModelVersions; clients ask for it by this name.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub name: String,
    /// Which version answers.
    pub version: VersionSelector,
}

/// Which version of a model answers.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.stage) != has(self.ref)")
    .message("set exactly one of stage (such as Production, to follow promotions) and ref (the name of a ModelVersion, to pin it)"))]
#[x_kube(validation = Rule::new("!has(self.stage) || self.stage in ['Production', 'Staging']")
    .message("versions in stage None or Archived are not served: use Production or Staging, or name the ModelVersion with ref"))]
pub struct VersionSelector {
    /// Serve the version that holds this stage, `Production` or `Staging`, and follow it when another takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// Serve exactly this ModelVersion of the same namespace.
    #[serde(rename = "ref", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 54), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub reference: Option<String>,
}

/// A range of pods and what they are scaled by.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.minReplicas) || self.minReplicas <= self.maxReplicas")
    .message("minReplicas is greater than maxReplicas: lower minReplicas or raise maxReplicas"))]
pub struct Autoscaling {
    /// The least number of pods. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub min_replicas: Option<i32>,
    /// The greatest number of pods.
    #[schemars(range(min = 1, max = 1000))]
    pub max_replicas: i32,
    /// The average CPU use to keep, in percent of the pods' CPU request. Default: 70.
    #[serde(rename = "targetCPUUtilization", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub target_cpu_utilization: Option<i32>,
}

/// What the controller observed.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct InferenceServiceStatus {
    /// Observed aspects of the state; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where clients inside the cluster reach the service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addresses: Option<ServiceAddresses>,
    /// The versions that the pods were told to serve.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub models: Vec<ServedModelStatus>,
    /// The versions that answer from every ready pod, such as `tumour:2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 2560))]
    pub serving: Option<String>,
    /// The number of pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i32>,
    /// The number of pods that are ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i32>,
    /// Ready pods of desired ones, such as `1/2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub replicas_summary: Option<String>,
    /// The label selector of the pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub selector: Option<String>,
}

/// Where clients inside the cluster reach a service.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ServiceAddresses {
    /// Open Inference Protocol v2 over HTTP.
    #[schemars(length(max = 256))]
    pub http: String,
    /// Open Inference Protocol v2 over gRPC, as host and port.
    #[schemars(length(max = 256))]
    pub grpc: String,
    /// REST: rows in, predictions out.
    #[schemars(length(max = 256))]
    pub rest: String,
}

/// A version that the pods were told to serve.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ServedModelStatus {
    /// The model's name.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The ModelVersion that was resolved.
    #[schemars(length(max = 63))]
    pub model_version: String,
    /// Its version number.
    #[schemars(length(max = 10))]
    pub version: String,
    /// The digest of its bytes.
    #[schemars(length(max = 71))]
    pub digest: String,
}

names! {
    /// The condition types of an InferenceService.
    InferenceServiceCondition {
        /// Every declared model answers, from at least as many pods as are desired.
        Ready,
        /// Every model of the spec was resolved to a published version.
        ModelsResolved,
        /// Every ready pod serves what the serving plan says.
        PlanApplied,
        /// The Deployment has as many available pods as are desired.
        Available,
    }
}

names! {
    /// Why a condition of an InferenceService is what it is.
    InferenceServiceReason {
        /// Every declared model answers.
        Serving,
        /// Every model was resolved.
        Resolved,
        /// No ModelVersion holds the stage that a model asks for yet.
        WaitingForStage,
        /// The ModelVersion that a model names does not exist yet.
        WaitingForModelVersion,
        /// The ModelVersion that a model names is not published yet.
        WaitingForPublication,
        /// A ModelVersion has a value that this operator does not know; what was served before goes on.
        UnreadableVersion,
        /// The ModelVersion that is named belongs to another model.
        WrongModel,
        /// An earlier step has not succeeded, so that this one was not tried.
        Waiting,
        /// Every ready pod serves what the plan says.
        PlanApplied,
        /// Pods are loading what the plan says.
        Loading,
        /// A pod cannot load what the plan says.
        LoadFailed,
        /// Pods are starting.
        Progressing,
        /// As many pods are available as are desired.
        Available,
        /// A pod waits for a node, an image or a Secret, or fails to start.
        PodsNotStarting,
        /// `spec.replicas` is 0.
        ScaledToZero,
        /// The spec contradicts itself.
        InvalidSpec,
        /// The Kubernetes API refuses the request.
        ApiRefused,
        /// A child's name is taken by an object of another owner.
        NameTaken,
    }
}
