//! When a Job's pod is tried again.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};

use crate::framework::job_outcome::EXIT_FINAL;

/// A node that goes away does not count as a failure; an error that would repeat itself is not tried again.
#[must_use]
pub fn failure_policy() -> PodFailurePolicy {
    let disruption = PodFailurePolicyRule {
        action: "Ignore".into(),
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".into(),
            ..PodFailurePolicyOnPodConditionsPattern::default()
        }]),
        ..PodFailurePolicyRule::default()
    };
    let last = PodFailurePolicyRule {
        action: "FailJob".into(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: None,
            operator: "In".into(),
            values: vec![EXIT_FINAL],
        }),
        ..PodFailurePolicyRule::default()
    };
    PodFailurePolicy {
        rules: vec![disruption, last],
    }
}
