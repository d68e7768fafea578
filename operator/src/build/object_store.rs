//! How a container reaches the object store: variables and the CA's mount (docs/interfaces.md).

use k8s_openapi::api::core::v1::{
    EnvVar, EnvVarSource, KeyToPath, SecretKeySelector, SecretVolumeSource, Volume, VolumeMount,
};

use super::literal::variable;
use crate::configuration::Configuration;

const CA_FOLDER: &str = "/etc/aiops/object-store";
const CA_FILE: &str = "ca.crt";
const VOLUME: &str = "object-store-ca";

/// The variables of docs/interfaces.md.
#[must_use]
pub fn variables(configuration: &Configuration) -> Vec<EnvVar> {
    let store = &configuration.object_store;
    let mut variables = vec![
        credential(configuration, "AWS_ACCESS_KEY_ID"),
        credential(configuration, "AWS_SECRET_ACCESS_KEY"),
        variable("AWS_REGION", &store.region),
        variable("AIOPS_S3_PATH_STYLE", store.path_style.to_string()),
    ];
    if let Some(endpoint) = &store.endpoint {
        variables.push(variable("AWS_ENDPOINT_URL_S3", endpoint));
    }
    if store.custom_ca {
        variables.push(variable("AWS_CA_BUNDLE", format!("{CA_FOLDER}/{CA_FILE}")));
    }
    variables
}

fn credential(configuration: &Configuration, key: &str) -> EnvVar {
    let selector = SecretKeySelector {
        name: configuration.workload_secret.clone(),
        key: key.into(),
        optional: None,
    };
    let source = EnvVarSource {
        secret_key_ref: Some(selector),
        ..EnvVarSource::default()
    };
    EnvVar {
        name: key.into(),
        value: None,
        value_from: Some(source),
    }
}

/// The volume of the CA, where the store has one of its own. It is optional: a volume whose Secret is missing would keep the
/// pod in `ContainerCreating` without a word, while the credentials of the same Secret say exactly what is missing. Where the
/// Secret lacks nothing but `ca.crt`, the process says that `AWS_CA_BUNDLE` names no file.
#[must_use]
pub fn volumes(configuration: &Configuration) -> Vec<Volume> {
    if !configuration.object_store.custom_ca {
        return Vec::new();
    }
    let item = KeyToPath {
        key: CA_FILE.into(),
        path: CA_FILE.into(),
        mode: None,
    };
    let secret = SecretVolumeSource {
        secret_name: Some(configuration.workload_secret.clone()),
        items: Some(vec![item]),
        optional: Some(true),
        ..SecretVolumeSource::default()
    };
    vec![Volume {
        name: VOLUME.into(),
        secret: Some(secret),
        ..Volume::default()
    }]
}

/// The mount of that volume.
#[must_use]
pub fn mounts(configuration: &Configuration) -> Vec<VolumeMount> {
    if !configuration.object_store.custom_ca {
        return Vec::new();
    }
    vec![VolumeMount {
        name: VOLUME.into(),
        mount_path: CA_FOLDER.into(),
        read_only: Some(true),
        ..VolumeMount::default()
    }]
}
