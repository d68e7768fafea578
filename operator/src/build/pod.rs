//! What all pods that the operator makes have in common.

use k8s_openapi::api::core::v1::{LocalObjectReference, PodSpec};

use super::security;
use crate::configuration::Configuration;

/// A pod without containers: it has no rights, no token, and the installation's Secrets to pull images with.
#[must_use]
pub fn spec(configuration: &Configuration) -> PodSpec {
    PodSpec {
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security::pod()),
        image_pull_secrets: pull_secrets(configuration),
        ..PodSpec::default()
    }
}

fn pull_secrets(configuration: &Configuration) -> Option<Vec<LocalObjectReference>> {
    let names = &configuration.image_pull_secrets;
    let references = names
        .iter()
        .map(|name| LocalObjectReference { name: name.clone() });
    (!names.is_empty()).then(|| references.collect())
}
