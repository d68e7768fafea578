//! Turns a ModelVersion's spec into what the rest works with. No client: the same object gives the same answer.

use aiops_crds::{DeletionPolicy, ModelVersion, Source, Stage};
use kube::ResourceExt as _;

/// A ModelVersion with its defaults filled in.
#[derive(Clone, Debug)]
pub struct ValidatedModelVersion {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object's UID, which MLflow's version is found by.
    pub uid: String,
    /// The model's name.
    pub model: String,
    /// Where the model comes from.
    pub source: Source,
    /// The stage to bring the version to.
    pub desired: Stage,
    /// The digest that was approved.
    pub approved_digest: Option<String>,
    /// What happens to the version outside the cluster when the object is deleted.
    pub deletion_policy: DeletionPolicy,
}

/// The name of the publish Job.
#[must_use]
pub fn job_name(name: &str) -> String {
    format!("{name}-publish")
}

impl ValidatedModelVersion {
    /// The name of the model in MLflow's registry. A namespace has no dot, so that no two models get the same name.
    #[must_use]
    pub fn registered_model(&self) -> String {
        format!("{}.{}", self.namespace, self.model)
    }
}

/// Fills in the defaults. Every rule of this kind that one object can tell is a CEL rule of its CRD.
pub fn validate(version: &ModelVersion) -> ValidatedModelVersion {
    let spec = &version.spec;
    ValidatedModelVersion {
        namespace: version.namespace().unwrap_or_default(),
        name: version.name_any(),
        uid: version.uid().unwrap_or_default(),
        model: spec.model.clone(),
        source: spec.source.clone(),
        desired: spec.stage.unwrap_or_default(),
        approved_digest: spec.approval.as_ref().map(|approval| approval.digest.clone()),
        deletion_policy: spec.deletion_policy.unwrap_or_default(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// ModelVersion `team/forest-1` of model `tumour`, as `spec` has it besides.
    pub fn version(spec: serde_json::Value) -> ModelVersion {
        let mut whole = serde_json::json!({"model": "tumour", "source": {"experiment": "forest"}});
        whole
            .as_object_mut()
            .unwrap()
            .extend(spec.as_object().unwrap().clone());
        serde_json::from_value(serde_json::json!({
            "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": "forest-1", "namespace": "team", "uid": "u-1", "generation": 1}, "spec": whole,
        }))
        .unwrap()
    }
}
