//! What the operator was told at its start, in the types that builders use.

use k8s_openapi::api::core::v1::ResourceRequirements;

use crate::arguments::RunArguments;

/// What builders need to know about the installation.
#[derive(Clone, Debug)]
pub struct Configuration {
    /// Address of MLflow, for trainer pods.
    pub mlflow_tracking_uri: String,
    /// Bucket of the model repositories.
    pub models_bucket: String,
    /// Image of trainer and converter.
    pub trainer_image: String,
    /// Image of the inference pod and the publisher.
    pub inference_pod_image: String,
    /// Pull policy of both.
    pub image_pull_policy: String,
    /// Names of the Secrets that pods pull both with, in each workload namespace.
    pub image_pull_secrets: Vec<String>,
    /// Resources of each container of a publish Job.
    pub publish_resources: ResourceRequirements,
    /// Name of the Secret with the object store's credentials in each workload namespace.
    pub workload_secret: String,
    /// How pods reach the object store.
    pub object_store: ObjectStore,
}

/// How pods reach the object store, credentials aside.
#[derive(Clone, Debug, Default)]
pub struct ObjectStore {
    /// Endpoint; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// Region.
    pub region: String,
    /// Whether the bucket is part of the path (MinIO) or of the host name.
    pub path_style: bool,
    /// Whether the store's certificate is signed by a CA that the workload Secret holds as `ca.crt`.
    pub custom_ca: bool,
}

impl Configuration {
    /// From the arguments and, for the object store, the variables of docs/interfaces.md.
    #[must_use]
    pub fn new(arguments: &RunArguments) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            mlflow_tracking_uri: arguments
                .mlflow_tracking_uri
                .as_str()
                .trim_end_matches('/')
                .to_owned(),
            models_bucket: arguments.models_bucket.clone(),
            trainer_image: arguments.trainer_image.clone(),
            inference_pod_image: arguments.inference_pod_image.clone(),
            image_pull_policy: arguments.image_pull_policy.clone(),
            image_pull_secrets: arguments.image_pull_secrets.clone(),
            publish_resources: arguments.publish_resources.clone(),
            workload_secret: arguments.workload_secret.clone(),
            object_store: ObjectStore {
                endpoint: variable("AWS_ENDPOINT_URL_S3"),
                region: variable("AWS_REGION").unwrap_or_else(|| "us-east-1".into()),
                path_style: variable("AIOPS_S3_PATH_STYLE").is_some_and(|value| value == "true"),
                custom_ca: variable("AWS_CA_BUNDLE").is_some(),
            },
        }
    }

    /// The model repository of a namespace.
    #[must_use]
    pub fn model_repository(&self, namespace: &str) -> String {
        format!("s3://{}/{namespace}", self.models_bucket)
    }
}

#[cfg(test)]
impl Configuration {
    /// An installation with defaults and a store of AWS, for tests.
    pub fn sample() -> Self {
        Self {
            mlflow_tracking_uri: "http://mlflow:5000".into(),
            models_bucket: "models".into(),
            trainer_image: "registry.example/aiops/trainer:1.0.0".into(),
            inference_pod_image: "registry.example/aiops/inference-pod:1.0.0".into(),
            image_pull_policy: "IfNotPresent".into(),
            image_pull_secrets: Vec::new(),
            publish_resources: ResourceRequirements::default(),
            workload_secret: "aiops-object-store".into(),
            object_store: ObjectStore::default(),
        }
    }
}
