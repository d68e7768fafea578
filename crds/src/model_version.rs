//! ModelVersion: one version of a model, from its registration over its publication to a stage.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, names};
use crate::stage::Stage;

/// One version of a model: registered in MLflow, published to the model repository, brought to a stage.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "aiops.dev",
    version = "v1alpha1",
    kind = "ModelVersion",
    doc = "One version of a model: registered in MLflow, converted to ONNX, published to the model repository and brought to a stage.",
    namespaced,
    shortname = "mv",
    category = "aiops",
    status = "ModelVersionStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 54")
        .message("metadata.name becomes part of the name of a Job: use at most 54 lower-case letters, digits and '-', starting with a letter"),
    printcolumn(name = "Model", type_ = "string", json_path = ".spec.model"),
    printcolumn(name = "Version", type_ = "string", json_path = ".status.version"),
    printcolumn(name = "Stage", type_ = "string", json_path = ".status.stage"),
    printcolumn(name = "Desired", type_ = "string", json_path = ".spec.stage"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Digest", type_ = "string", json_path = ".status.published.digest", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.stage) || self.stage != 'Archived' || !has(self.approval)")
    .message("spec.approval asks for Production while spec.stage is Archived: remove spec.approval, or set spec.stage to Production"))]
pub struct ModelVersionSpec {
    /// The model's name: clients ask for it by this name, and MLflow's registry holds it as `<namespace>.<model>`. Immutable.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "spec.model is immutable, since the version is registered and published under it: create another ModelVersion instead"))]
    pub model: String,
    /// Where the model comes from. Immutable.
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "spec.source is immutable, since a version's bytes never change: create another ModelVersion instead"))]
    pub source: Source,
    /// The stage to bring this version to: `None`, `Staging`, `Production` or `Archived`. Where several versions of a model ask
    /// for Production, the highest version holds it. Default: None.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The approval that Production needs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// What happens to the version in MLflow and to its files in the model repository when this object is deleted:
    /// `Retain` keeps both, `Delete` removes both. Default: Retain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
}

/// Where a model comes from.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.experiment), has(self.mlflowRun), has(self.mlflowVersion), has(self.uri)].filter(x, x).size() == 1")
    .message("set exactly one of experiment, mlflowRun, mlflowVersion and uri"))]
pub struct Source {
    /// The name of an Experiment in the same namespace whose run logged the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 52), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub experiment: Option<String>,
    /// The identifier of an MLflow run that logged the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), regex(pattern = r"^[0-9a-f]+$"))]
    pub mlflow_run: Option<String>,
    /// A version number that MLflow's registry already has for `<namespace>.<model>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 10), regex(pattern = r"^[1-9][0-9]*$"))]
    pub mlflow_version: Option<String>,
    /// An ONNX file in the object store, such as `s3://datasets/model.onnx`; it is published as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^s3://[^/]+/.+\.onnx$"))]
    #[x_kube(validation = Rule::new("self.matches('^s3://[a-z0-9][a-z0-9.-]+/')").message(
        "uri must be s3://bucket/path: a bucket is lower-case letters, digits, '.' and '-', and it lies in the object store of this installation, so that no host and port can be named"))]
    pub uri: Option<String>,
}

/// An approval, bound to the bytes that were approved.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Approval {
    /// The digest of the approved version, as `status.published.digest` shows it; an approval of other bytes counts for nothing.
    #[schemars(length(max = 71), regex(pattern = r"^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
}

/// What happens to the version outside the cluster when its object is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(inline, transform = crate::schema::leave_description_to_the_field)]
pub enum DeletionPolicy {
    /// The version stays in MLflow and in the model repository.
    #[default]
    Retain,
    /// The version is removed from MLflow and from the model repository.
    Delete,
}

/// What the controller observed.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelVersionStatus {
    /// Observed aspects of the state; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version number, the same in MLflow and in the model repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 10))]
    pub version: Option<String>,
    /// The version in MLflow's registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowVersionReference>,
    /// The name of the publish Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,
    /// What was published, once it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub published: Option<PublishedModel>,
    /// The stage that the version has now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// The last ten changes of the stage, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub history: Vec<StageTransition>,
}

/// A version in MLflow's registry.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct MlflowVersionReference {
    /// The registered model's name, `<namespace>.<model>`.
    #[schemars(length(max = 127))]
    pub registered_model: String,
    /// The run that logged the model, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub run_id: Option<String>,
    /// The logged model, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub model_id: Option<String>,
}

/// What was published to the model repository.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PublishedModel {
    /// SHA-256 over the version's files; names exactly these bytes.
    #[schemars(length(max = 71))]
    pub digest: String,
    /// Size of the ONNX file in bytes.
    pub size_bytes: i64,
    /// Where the version lies in the model repository.
    #[schemars(length(max = 2048))]
    pub uri: String,
    /// The tensors that the model takes.
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub inputs: Vec<TensorSignature>,
    /// The tensors that the model answers.
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub outputs: Vec<TensorSignature>,
    /// The opset of the default ONNX domain.
    pub opset: i64,
    /// How close the published model is to the original, absent where the source is ONNX already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
}

/// A tensor of a model's interface.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TensorSignature {
    /// The tensor's name.
    #[schemars(length(max = 4096))]
    pub name: String,
    /// The datatype as the Open Inference Protocol names it, such as `FP32`.
    #[schemars(length(max = 16))]
    pub datatype: String,
    /// The extent of each dimension, -1 where it is variable.
    #[schemars(length(max = 2048))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub shape: Vec<i64>,
}

/// How close the published model's answers are to the original's.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Parity {
    /// How many rows were compared, each in batches of 1, 2 and 33.
    pub rows: i64,
    /// The fraction of rows with the same label, as a decimal number; absent for regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub label_agreement: Option<String>,
    /// The largest absolute difference of a probability or predicted number.
    #[schemars(length(max = 32))]
    pub max_absolute_difference: String,
    /// The largest relative difference of a probability or predicted number.
    #[schemars(length(max = 32))]
    pub max_relative_difference: String,
}

/// One change of the stage.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct StageTransition {
    /// The stage before.
    pub from: Stage,
    /// The stage after.
    pub to: Stage,
    /// When it changed.
    pub time: Time,
    /// Why it changed.
    #[schemars(length(max = 256))]
    pub reason: String,
    /// The digest of the version that changed its stage.
    #[schemars(length(max = 71))]
    pub digest: String,
}

names! {
    /// The condition types of a ModelVersion.
    ModelVersionCondition {
        /// The version is published and has the stage that it asks for.
        Ready,
        /// MLflow's registry has the version.
        Registered,
        /// The model repository has the version.
        Published,
        /// `spec.approval` names the published digest.
        Approved,
        /// The version has the stage that `spec.stage` asks for.
        Promoted,
        /// MLflow's registry shows the version's stage. Serving does not depend on it.
        Mirrored,
    }
}

names! {
    /// Why a condition of a ModelVersion is what it is.
    ModelVersionReason {
        /// The version has the stage that it asks for.
        StageReached,
        /// MLflow's registry has the version.
        Registered,
        /// The model repository has the version.
        Published,
        /// `spec.approval` names the published digest.
        Approved,
        /// Production waits for `spec.approval`.
        AwaitingApproval,
        /// `spec.approval` names another digest.
        ApprovalOfOtherBytes,
        /// Not needed for the stage that is asked for.
        NotRequired,
        /// A higher version holds Production.
        Superseded,
        /// MLflow's registry shows the stage, by its own stage and by its alias.
        Mirrored,
        /// Somebody deleted the version in MLflow's registry, where it is shown no more.
        NotInRegistry,
        /// An earlier step has not succeeded, so that this one was not tried.
        Waiting,
        /// The source does not exist yet, or has not finished.
        SourceNotReady,
        /// The source failed, has no model, or belongs to another ModelVersion.
        SourceFailed,
        /// The publish Job's pod is waiting for a node, an image or a Secret, or the Job for its next try.
        Pending,
        /// The publish Job is at work.
        Publishing,
        /// The object is being deleted.
        Deleting,
        /// The spec contradicts itself.
        InvalidSpec,
        /// MLflow does not answer; tried again.
        MLflowUnavailable,
        /// MLflow refuses the request.
        MLflowRefused,
        /// The object store does not answer; tried again.
        RepositoryUnavailable,
        /// The Kubernetes API refuses the request.
        ApiRefused,
        /// A child's name is taken by an object of another owner.
        NameTaken,
        /// MLflow does not answer the converter.
        MLflowUnreachable,
        /// The run has no logged model.
        ModelNotFound,
        /// The model's flavor has no converter.
        UnsupportedFlavor,
        /// The converter does not know an operator of the model.
        UnsupportedOperator,
        /// The conversion to ONNX ended with an error.
        ConversionFailed,
        /// The run logged no held-out rows to compare on.
        SamplesMissing,
        /// The object store has no file at `spec.source.uri`.
        SourceNotFound,
        /// The object store does not let the publisher read `spec.source.uri`.
        SourceForbidden,
        /// The file is not an ONNX model.
        InvalidModel,
        /// The model's opset is newer than the runtime's.
        UnsupportedOpset,
        /// The model has an interface that cannot be served.
        UnsupportedModel,
        /// The published model's answers differ from the original's.
        ParityFailed,
        /// The repository holds other bytes under this version.
        VersionConflict,
        /// The object store has no bucket for the model repository.
        RepositoryNotFound,
        /// The object store does not let the publisher write the model repository.
        RepositoryForbidden,
        /// The object store cannot hold a model repository, or what is in it cannot be read.
        RepositoryUnusable,
        /// The object store does not answer the publisher.
        RepositoryUnreachable,
        /// The publisher's image has no ONNX Runtime that starts on the node.
        RuntimeUnavailable,
        /// The publish Job ended without saying why.
        PublishFailed,
        /// A container was killed at its memory limit.
        OutOfMemory,
        /// The publish Job took too long.
        DeadlineExceeded,
    }
}
