//! The command line. Every option is an environment variable as well, which is how the chart sets them.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use k8s_openapi::api::core::v1::ResourceRequirements;
use serde_json::Value;

/// Runs the life of machine-learning models on Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "aiops-operator", version)]
pub struct Arguments {
    /// How log lines are written.
    #[arg(long, env = "AIOPS_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json, global = true)]
    pub log_format: LogFormat,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the controllers until the process is told to stop.
    Run(Box<RunArguments>),
    /// Create buckets in the object store, waiting for it where it is not there yet; those that exist are left alone.
    CreateBuckets(CreateBucketsArguments),
}

/// Options of `run`.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// Address of the MLflow server, as trainer pods reach it as well.
    #[arg(long, env = "MLFLOW_TRACKING_URI")]
    pub mlflow_tracking_uri: reqwest::Url,
    /// Bucket of the model repositories, one folder a namespace.
    #[arg(long, env = "AIOPS_MODELS_BUCKET", default_value = "models")]
    pub models_bucket: String,
    /// Image of trainer and converter.
    #[arg(long, env = "AIOPS_TRAINER_IMAGE")]
    pub trainer_image: String,
    /// Image of the inference pod and the publisher.
    #[arg(long, env = "AIOPS_INFERENCE_POD_IMAGE")]
    pub inference_pod_image: String,
    /// Pull policy of both images.
    #[arg(long, env = "AIOPS_IMAGE_PULL_POLICY", default_value = "IfNotPresent")]
    pub image_pull_policy: String,
    /// Names of the Secrets that pods pull both images with, in each workload namespace.
    #[arg(long, env = "AIOPS_IMAGE_PULL_SECRETS", value_delimiter = ',')]
    pub image_pull_secrets: Vec<String>,
    /// Resources of each container of a publish Job, as JSON of a Kubernetes `ResourceRequirements`.
    #[arg(long, env = "AIOPS_PUBLISH_RESOURCES", value_parser = resources, default_value = PUBLISH_RESOURCES)]
    pub publish_resources: ResourceRequirements,
    /// Name of the Secret with the object store's credentials in each workload namespace.
    #[arg(long, env = "AIOPS_WORKLOAD_SECRET", default_value = "aiops-object-store")]
    pub workload_secret: String,
    /// Address of `/healthz`, `/readyz` and `/metrics`.
    #[arg(long, env = "AIOPS_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    pub metrics_address: SocketAddr,
    /// How many objects of a kind are worked on at the same time.
    #[arg(long, env = "AIOPS_CONCURRENCY", default_value_t = 8)]
    pub concurrency: u16,
}

/// Enough for models of some hundred MiB.
const PUBLISH_RESOURCES: &str =
    r#"{"requests": {"cpu": "200m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}"#;

fn resources(text: &str) -> Result<ResourceRequirements, String> {
    let parsed = serde_json::from_str(text).map(quantities_as_text);
    parsed
        .and_then(serde_json::from_value)
        .map_err(|error| format!("{error}: write such as {PUBLISH_RESOURCES}"))
}

/// YAML makes a number of `cpu: 1`, and Kubernetes' own types take text only.
fn quantities_as_text(value: Value) -> Value {
    match value {
        Value::Number(number) => Value::String(number.to_string()),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, field)| (name, quantities_as_text(field)))
            .collect(),
        other => other,
    }
}

/// Options of `create-buckets`.
#[derive(Args, Debug)]
pub struct CreateBucketsArguments {
    /// The buckets.
    #[arg(required = true)]
    pub buckets: Vec<String>,
    /// Seconds to wait for the object store.
    #[arg(long, env = "AIOPS_OBJECT_STORE_TIMEOUT_SECONDS", default_value_t = 300)]
    pub timeout_seconds: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publish_resources(more: &[&str]) -> Result<ResourceRequirements, String> {
        let least = [
            "aiops-operator",
            "run",
            "--mlflow-tracking-uri=http://mlflow:5000",
            "--trainer-image=t",
            "--inference-pod-image=i",
        ];
        match Arguments::try_parse_from([&least[..], more].concat()) {
            Ok(Arguments {
                command: Command::Run(run),
                ..
            }) => Ok(run.publish_resources),
            Ok(other) => panic!("expected run, got {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_publish_job_gets_the_memory_that_it_is_given() {
        let memory = |resources: ResourceRequirements| resources.limits.unwrap()["memory"].0.clone();
        assert_eq!(memory(publish_resources(&[]).unwrap()), "2Gi");
        let given = publish_resources(&[r#"--publish-resources={"limits": {"memory": "8Gi"}}"#]).unwrap();
        assert_eq!(memory(given), "8Gi");
        let cpu = publish_resources(&[r#"--publish-resources={"limits": {"cpu": 1.5}}"#]).unwrap();
        assert_eq!(cpu.limits.unwrap()["cpu"].0, "1.5");
        let error = publish_resources(&["--publish-resources=8Gi"]).unwrap_err();
        assert!(error.contains(r#"write such as {"requests""#), "{error}");
    }
}
