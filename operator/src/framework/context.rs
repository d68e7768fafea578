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
