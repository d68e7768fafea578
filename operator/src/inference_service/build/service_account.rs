//! The identity of the pods: one without rights or a token, since they never call the Kubernetes API.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::{ValidatedInferenceService, metadata};

/// The ServiceAccount.
pub fn build(validated: &ValidatedInferenceService) -> ServiceAccount {
    ServiceAccount {
        metadata: metadata(validated, validated.child_name()),
        automount_service_account_token: Some(false),
        ..ServiceAccount::default()
    }
}
