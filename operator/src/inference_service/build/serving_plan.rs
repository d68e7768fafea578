//! The ConfigMap that tells the pods what to serve. It keeps its name: a new one would restart every pod.

use k8s_openapi::api::core::v1::ConfigMap;

use super::super::serving_plan::{FILE, RenderedPlan};
use super::{ValidatedInferenceService, metadata};

/// The ConfigMap.
pub fn build(validated: &ValidatedInferenceService, plan: &RenderedPlan) -> ConfigMap {
    ConfigMap {
        metadata: metadata(validated, validated.serving_plan_name()),
        data: Some([(FILE.to_owned(), plan.json.clone())].into()),
        ..ConfigMap::default()
    }
}
