//! The labels of children (docs/interfaces.md).

use std::collections::BTreeMap;

/// The label that names the owning Experiment.
pub const EXPERIMENT: &str = "aiops.dev/experiment";
/// The label that names the owning ModelVersion.
pub const MODEL_VERSION: &str = "aiops.dev/model-version";
/// The label that names the owning InferenceService.
pub const INFERENCE_SERVICE: &str = "aiops.dev/inference-service";
/// The label that every child has, for watches.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Its value.
pub const OPERATOR: &str = "aiops-operator";

/// The labels of a child: `component` is `trainer`, `publish` or `inference`; `owner_label` one of the constants above.
#[must_use]
pub fn labels(component: &str, owner_label: &str, owner: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", component),
        ("app.kubernetes.io/instance", owner),
        ("app.kubernetes.io/component", component),
        ("app.kubernetes.io/part-of", "aiops"),
        (MANAGED_BY, OPERATOR),
        (owner_label, owner),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .collect()
}

/// The labels that select the pods of an owner, the least that tells them apart.
#[must_use]
pub fn selector(component: &str, owner_label: &str, owner: &str) -> BTreeMap<String, String> {
    [("app.kubernetes.io/component", component), (owner_label, owner)]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}
