//! The three custom resources of `aiops.dev/v1alpha1`: their specs, statuses, conditions, CEL rules and columns.
//!
//! Nothing here talks to a cluster. `crds/manifests/` and `charts/aiops-crds` are generated from [`all_crds`].

mod condition;
mod experiment;
mod inference_service;
mod model_version;
mod resources;
mod schema;
mod stage;

pub use condition::{Condition, ConditionStatus, set_condition};
pub use experiment::{
    Dataset, Estimator, Experiment, ExperimentCondition, ExperimentReason, ExperimentSpec, ExperimentStatus,
    MetricValue, MlflowRunReference, Registration, Trainer, TrainerType, ValidationRule, ValidationVerdict,
};
pub use inference_service::{
    Autoscaling, InferenceService, InferenceServiceCondition, InferenceServiceReason, InferenceServiceSpec,
    InferenceServiceStatus, ServedModel, ServedModelStatus, ServiceAddresses, VersionSelector,
};
pub use model_version::{
    Approval, DeletionPolicy, MlflowVersionReference, ModelVersion, ModelVersionCondition,
    ModelVersionReason, ModelVersionSpec, ModelVersionStatus, Parity, PublishedModel, Source,
    StageTransition, TensorSignature,
};
pub use resources::{ComputeResources, ResourceQuantity};
pub use stage::Stage;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

/// The API group of all three kinds.
pub const GROUP: &str = "aiops.dev";
/// The served and stored version.
pub const VERSION: &str = "v1alpha1";

/// The CustomResourceDefinitions as they are installed, in the order in which a user meets them.
#[must_use]
pub fn all_crds() -> Vec<CustomResourceDefinition> {
    [Experiment::crd(), ModelVersion::crd(), InferenceService::crd()]
        .into_iter()
        .map(schema::finish)
        .collect()
}
