//! Who says how many pods the Deployment has: the spec, or the autoscaler (pure).

use k8s_openapi::api::apps::v1::Deployment;

use super::FIELD_MANAGER;
use super::validate::Scale;

/// What to apply as the Deployment's `spec.replicas`; `None` leaves the field to the autoscaler.
///
/// Server-side apply removes a field that its manager applied before and no longer sends, and the API server then fills in
/// the default, 1. So on the way from a fixed number to autoscaling, leaving the field out at once would throw a service of
/// ten pods back to one. The number that stands there is sent on instead, until the autoscaler has changed it: that makes
/// the autoscaler its owner and takes it from us, after which leaving it out changes nothing.
/// <https://kubernetes.io/docs/reference/using-api/server-side-apply/#transferring-ownership>
pub fn to_apply(scale: &Scale, existing: Option<&Deployment>) -> Option<i32> {
    let (min_replicas, max_replicas) = match scale {
        Scale::Fixed(replicas) => return Some(*replicas),
        Scale::Automatic {
            min_replicas,
            max_replicas,
            ..
        } => (*min_replicas, *max_replicas),
    };
    let Some(existing) = existing else {
        // A new service starts with the least number rather than with one pod and the autoscaler's first correction.
        return Some(min_replicas);
    };
    // An autoscaler takes a Deployment with 0 replicas as switched off and never starts it.
    match existing.spec.as_ref().and_then(|spec| spec.replicas) {
        Some(0) => Some(min_replicas),
        Some(current) if is_ours(existing) => Some(current.clamp(min_replicas, max_replicas)),
        _ => None,
    }
}

/// Whether this controller's last apply set `spec.replicas` and nobody changed it since.
fn is_ours(deployment: &Deployment) -> bool {
    deployment
        .metadata
        .managed_fields
        .iter()
        .flatten()
        .filter(|entry| {
            entry.manager.as_deref() == Some(FIELD_MANAGER)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.as_deref().unwrap_or_default().is_empty()
        })
        .filter_map(|entry| entry.fields_v1.as_ref())
        .any(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RANGE: Scale = Scale::Automatic {
        min_replicas: 2,
        max_replicas: 8,
        target_cpu_utilization: 70,
    };

    fn deployment(replicas: i32, owner: &str) -> Deployment {
        let entry = |manager: &str, fields: serde_json::Value| serde_json::json!({"manager": manager, "operation": "Apply", "fieldsType": "FieldsV1", "fieldsV1": fields});
        serde_json::from_value(serde_json::json!({
            "metadata": {"managedFields": [
                entry(FIELD_MANAGER, serde_json::json!({"f:spec": {"f:template": {}}})),
                entry(owner, serde_json::json!({"f:spec": {"f:replicas": {}}})),
            ]},
            "spec": {"replicas": replicas, "selector": {}, "template": {}},
        }))
        .unwrap()
    }

    #[test]
    fn a_fixed_number_is_always_applied() {
        assert_eq!(
            to_apply(&Scale::Fixed(3), Some(&deployment(7, "kube-controller-manager"))),
            Some(3)
        );
        assert_eq!(to_apply(&Scale::Fixed(0), None), Some(0));
    }

    #[test]
    fn the_autoscalers_number_is_left_alone() {
        assert_eq!(
            to_apply(&RANGE, Some(&deployment(7, "kube-controller-manager"))),
            None
        );
    }

    #[test]
    fn on_the_way_to_autoscaling_the_present_number_is_kept_within_the_range() {
        assert_eq!(to_apply(&RANGE, Some(&deployment(7, FIELD_MANAGER))), Some(7));
        assert_eq!(to_apply(&RANGE, Some(&deployment(1, FIELD_MANAGER))), Some(2));
        assert_eq!(to_apply(&RANGE, Some(&deployment(10, FIELD_MANAGER))), Some(8));
    }

    #[test]
    fn a_new_service_and_one_scaled_to_zero_start_with_the_least_number() {
        assert_eq!(to_apply(&RANGE, None), Some(2));
        assert_eq!(
            to_apply(&RANGE, Some(&deployment(0, "kube-controller-manager"))),
            Some(2)
        );
    }
}
