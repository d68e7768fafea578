//! What one reconcile found out about an InferenceService: the facts that its status is computed from.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;

use super::observe::PodReport;
use super::resolve::{Resolution, ResolvedModel};
use super::serving_plan::RenderedPlan;

/// The facts, as far as the reconcile got.
#[derive(Debug, Default)]
pub struct Progress {
    /// Why the spec cannot be carried out.
    pub invalid: Option<String>,
    /// Which versions the models mean.
    pub resolution: Option<Resolution>,
    /// How the children stand, once all of them are applied.
    pub served: Option<Served>,
}

/// How the children stand.
#[derive(Debug)]
pub struct Served {
    /// What the pods were told.
    pub plan: RenderedPlan,
    /// The same, by model.
    pub models: Vec<ResolvedModel>,
    /// The Deployment as it was just applied.
    pub deployment: Deployment,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// What the running ones among them say.
    pub reports: Vec<PodReport>,
}
