//! Reads the conditions of the three kinds.

use aiops_crds::{Condition, ConditionStatus, Experiment, InferenceService, ModelVersion};
use kube::Resource;
use kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One of the three kinds.
pub trait Conditioned:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
{
    /// The conditions, empty where the status is not written yet.
    fn conditions(&self) -> &[Condition];

    /// The condition of this type, if it was computed from the spec as it is now.
    fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions().iter().find(|condition| {
            condition.type_ == type_ && Some(condition.observed_generation) == self.meta().generation
        })
    }
}

macro_rules! conditioned {
    ($($kind:ty),+) => {
        $(impl Conditioned for $kind {
            fn conditions(&self) -> &[Condition] {
                self.status.as_ref().map_or(&[], |status| &status.conditions)
            }
        })+
    };
}
conditioned!(Experiment, ModelVersion, InferenceService);

/// A condition in one line.
pub fn describe(condition: &Condition) -> String {
    let status = match condition.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    };
    format!(
        "{}={status} {}: {}",
        condition.type_, condition.reason, condition.message
    )
}

/// Reasons that only a change of the spec, or another object, mends: to wait longer is in vain.
const FINAL: [&str; 27] = [
    "InvalidSpec",
    "NameTaken",
    "ThresholdNotMet",
    "MetricMissing",
    "UnknownDataset",
    "DatasetNotFound",
    "DatasetForbidden",
    "DatasetEmpty",
    "UnknownTargetColumn",
    "NonNumericColumn",
    "InvalidParameter",
    "TrainingFailed",
    "TrainerCrashed",
    "OutOfMemory",
    "DeadlineExceeded",
    "SourceNotFound",
    "SourceForbidden",
    "RepositoryNotFound",
    "RepositoryForbidden",
    "RepositoryUnusable",
    "InvalidModel",
    "UnsupportedOpset",
    "UnsupportedModel",
    "ConversionFailed",
    "ParityFailed",
    "VersionConflict",
    "PublishFailed",
];

/// Whether the condition will not become true by itself.
pub fn is_final(condition: &Condition) -> bool {
    condition.status == ConditionStatus::False && FINAL.contains(&condition.reason.as_str())
}
