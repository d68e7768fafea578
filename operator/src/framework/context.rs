//! What every reconcile gets: clients, configuration, metrics, the event recorder.

use std::sync::Arc;

use kube::Client;
use kube::runtime::events::Recorder;

use super::metrics::Metrics;
use crate::configuration::Configuration;

/// Shared by all controllers; cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The Kubernetes API.
    pub client: Client,
    /// MLflow.
    pub mlflow: aiops_mlflow_client::Client,
    /// Plain HTTP to inference pods.
    pub http: reqwest::Client,
    /// What builders need to know.
    pub configuration: Arc<Configuration>,
    /// One recorder for all events, so that repeats are counted instead of added.
    pub recorder: Recorder,
    /// The operator's own metrics.
    pub metrics: Arc<Metrics>,
}

#[cfg(test)]
impl Context {
    /// With the client of a test's API server, and an MLflow that is not there.
    pub fn sample(client: Client) -> Self {
        let mlflow = aiops_mlflow_client::Config::new("http://127.0.0.1:9".parse().expect("an address"));
        Self {
            recorder: Recorder::new(client.clone(), "aiops-operator".into()),
            client,
            mlflow: aiops_mlflow_client::Client::new(mlflow).expect("a client"),
            http: reqwest::Client::new(),
            configuration: Arc::new(Configuration::sample()),
            metrics: Arc::new(Metrics::default()),
        }
    }
}
