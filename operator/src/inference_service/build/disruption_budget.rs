//! How many pods a drain may take away at a time.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{ValidatedInferenceService, metadata, selector};

/// The PodDisruptionBudget. One pod may go at a time, also where there is only one: a service of one pod must not keep a
/// node from being drained.
pub fn build(validated: &ValidatedInferenceService) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: metadata(validated, validated.child_name()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(selector(validated)),
            // A pod that never became ready protects nobody by staying on its node.
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        status: None,
    }
}
