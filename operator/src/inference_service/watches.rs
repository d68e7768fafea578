//! Which InferenceServices a change of another object concerns. Pure, but for what the autoscaler's mapper remembers.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};

use aiops_crds::{InferenceService, ModelVersion};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use serde::Serialize;

use crate::build::labels;

type Guarded = DeserializeGuard<InferenceService>;

/// The InferenceService that a child's label names.
pub fn service_of(child: &ObjectMeta) -> Option<ObjectRef<Guarded>> {
    let name = child.labels.as_ref()?.get(labels::INFERENCE_SERVICE)?;
    Some(ObjectRef::new(name).within(child.namespace.as_deref()?))
}

/// The InferenceServices of the version's namespace that serve its model or name the version itself.
pub fn services_that_name(
    services: &[Arc<Guarded>],
    version: &DeserializeGuard<ModelVersion>,
) -> Vec<ObjectRef<Guarded>> {
    // One that cannot be read may have been served before: every service of its namespace looks again.
    let (namespace, name, model) = match &version.0 {
        Ok(version) => (
            &version.metadata.namespace,
            &version.metadata.name,
            Some(&version.spec.model),
        ),
        Err(unreadable) => (&unreadable.metadata.namespace, &unreadable.metadata.name, None),
    };
    let concerned = |service: &InferenceService| {
        service.metadata.namespace == *namespace
            && service.spec.models.iter().any(|served| {
                model.is_none_or(|model| *model == served.name) || served.version.reference == *name
            })
    };
    services
        .iter()
        .filter(|guard| guard.0.as_ref().is_ok_and(concerned))
        .map(|guard| ObjectRef::from_obj(guard.as_ref()))
        .collect()
}

/// Maps an autoscaler to its InferenceService, except where nothing but its status changed: that happens every 15 s as long
/// as the load changes, and concerns nobody here, since the Deployment tells the number of pods.
pub fn autoscaler_mapper()
-> impl Fn(HorizontalPodAutoscaler) -> Option<ObjectRef<Guarded>> + Send + Sync + 'static {
    let seen: Mutex<HashMap<String, Fingerprint>> = Mutex::default();
    move |autoscaler| {
        let uid = autoscaler.metadata.uid.clone().unwrap_or_default();
        let now = Fingerprint::of(&autoscaler);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(&uid) {
            Some(before) if before.desired == now.desired && before.status != now.status => {
                seen.insert(uid, now);
                return None;
            }
            // Nothing changed at all: it was deleted, or the watch started anew. Either way it may be forgotten.
            Some(before) if before.desired == now.desired => {
                seen.remove(&uid);
            }
            _ => {
                seen.insert(uid, now);
            }
        }
        service_of(&autoscaler.metadata)
    }
}

struct Fingerprint {
    desired: u64,
    status: u64,
}

impl Fingerprint {
    fn of(autoscaler: &HorizontalPodAutoscaler) -> Self {
        let metadata = &autoscaler.metadata;
        Self {
            desired: hash(&(
                &autoscaler.spec,
                &metadata.labels,
                &metadata.owner_references,
                &metadata.deletion_timestamp,
            )),
            status: hash(&autoscaler.status),
        }
    }
}

fn hash(value: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(value)
        .expect("Kubernetes objects have text keys only")
        .hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::resolve::tests::version;
    use super::super::validate::tests::service;
    use super::*;

    fn guarded(name: &str, namespace: &str, spec: serde_json::Value) -> Arc<Guarded> {
        let mut service = service(spec);
        service.metadata.name = Some(name.into());
        service.metadata.namespace = Some(namespace.into());
        Arc::new(DeserializeGuard(Ok(service)))
    }

    fn names(found: &[ObjectRef<Guarded>]) -> Vec<&str> {
        found.iter().map(|reference| reference.name.as_str()).collect()
    }

    #[test]
    fn a_version_concerns_the_services_of_its_namespace_that_name_its_model_or_itself() {
        let stage = serde_json::json!({"models": [{"name": "tumour", "version": {"stage": "Production"}}]});
        let reference = serde_json::json!({"models": [{"name": "wine", "version": {"ref": "tumour-2"}}]});
        let other = serde_json::json!({"models": [{"name": "wine", "version": {"stage": "Production"}}]});
        let services = [
            guarded("by-model", "team", stage.clone()),
            guarded("by-name", "team", reference),
            guarded("other-model", "team", other),
            guarded("other-namespace", "elsewhere", stage),
        ];
        let version = DeserializeGuard(Ok(version("tumour-2", "tumour", serde_json::json!({}))));
        assert_eq!(
            names(&services_that_name(&services, &version)),
            ["by-model", "by-name"]
        );
    }

    #[test]
    fn an_autoscaler_concerns_its_service_unless_only_its_status_changed() {
        let autoscaler = |maximum: i32, current: i32| -> HorizontalPodAutoscaler {
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": "a", "namespace": "team", "uid": "u", "labels": {labels::INFERENCE_SERVICE: "tumour"}},
                "spec": {"maxReplicas": maximum, "scaleTargetRef": {"kind": "Deployment", "name": "a"}},
                "status": {"desiredReplicas": current, "currentMetrics": null},
            }))
            .unwrap()
        };
        let mapper = autoscaler_mapper();
        assert!(mapper(autoscaler(5, 1)).is_some(), "first seen");
        assert!(mapper(autoscaler(5, 2)).is_none(), "status alone");
        assert!(mapper(autoscaler(6, 2)).is_some(), "somebody changed the spec");
        assert!(mapper(autoscaler(6, 3)).is_none(), "status alone");
        assert!(
            mapper(autoscaler(6, 3)).is_some(),
            "deleted: the last state comes again"
        );
        assert!(mapper(autoscaler(6, 3)).is_some(), "first seen again");
    }
}
