//! The number of pods by their CPU use.

use k8s_openapi::api::autoscaling::v2::{
    CrossVersionObjectReference, HorizontalPodAutoscaler, HorizontalPodAutoscalerSpec, MetricSpec,
    MetricTarget, ResourceMetricSource,
};

use super::{ValidatedInferenceService, metadata};

/// The HorizontalPodAutoscaler; `target_cpu_utilization` is in percent of the pods' CPU request.
pub fn build(
    validated: &ValidatedInferenceService,
    min_replicas: i32,
    max_replicas: i32,
    target_cpu_utilization: i32,
) -> HorizontalPodAutoscaler {
    let cpu = MetricSpec {
        type_: "Resource".into(),
        resource: Some(ResourceMetricSource {
            name: "cpu".into(),
            target: MetricTarget {
                type_: "Utilization".into(),
                average_utilization: Some(target_cpu_utilization),
                ..MetricTarget::default()
            },
        }),
        ..MetricSpec::default()
    };
    HorizontalPodAutoscaler {
        metadata: metadata(validated, validated.child_name()),
        spec: Some(HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some("apps/v1".into()),
                kind: "Deployment".into(),
                name: validated.child_name(),
            },
            min_replicas: Some(min_replicas),
            max_replicas,
            metrics: Some(vec![cpu]),
            behavior: None,
        }),
        status: None,
    }
}
