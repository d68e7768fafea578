//! Tells the owner of an object that this operator cannot read, in the object's own status: its controller never sees it.

use aiops_crds::{Condition, ConditionStatus, set_condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::error_boundary::InvalidObject;
use serde_json::json;

use super::error::{DuringAction as _, Error};

/// A manager of its own: under the controller's, an apply of one condition would take all other fields of the status away.
const FIELD_MANAGER: &str = "aiops-unreadable";

/// Writes the condition `Ready` that says so, unless it stands there already.
///
/// # Errors
/// The API's own.
pub async fn tell(
    invalid: &InvalidObject,
    resource: &ApiResource,
    client: &kube::Client,
) -> Result<(), Error> {
    let (namespace, name) = (
        invalid.metadata.namespace.as_deref().unwrap_or_default(),
        invalid.metadata.name.as_deref().unwrap_or_default(),
    );
    let what = format!("{} {namespace}/{name}", resource.kind);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, resource);
    let Some(live) = api.get_opt(name).await.during(|| format!("read {what}"))? else {
        return Ok(());
    };
    let existing = live.data.pointer("/status/conditions").cloned();
    // What cannot be read may be the conditions themselves.
    let mut conditions: Vec<Condition> = existing
        .and_then(|existing| serde_json::from_value(existing).ok())
        .unwrap_or_default();
    conditions.retain(|condition| condition.type_ == "Ready");
    let before = conditions.clone();
    set_condition(&mut conditions, ready(&invalid.error, live.metadata.generation));
    if conditions == before {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": name, "namespace": namespace, "uid": live.metadata.uid},
        "status": {"conditions": conditions},
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(name, &parameters, &Patch::Apply(&patch)).await {
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => Ok(()),
        result => result
            .map(|_| ())
            .during(|| format!("write the status of {what}")),
    }
}

fn ready(error: &str, generation: Option<i64>) -> Condition {
    Condition {
        type_: "Ready".into(),
        status: ConditionStatus::False,
        reason: "InvalidSpec".into(),
        message: format!(
            "{}; correct that value, or install the release of the operator that knows it",
            Error::InvalidObject(error.into())
        ),
        observed_generation: generation.unwrap_or_default(),
        last_transition_time: Time(Timestamp::now()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex};

    use aiops_crds::ModelVersion;
    use axum::extract::Query;
    use axum::http::HeaderMap;
    use axum::http::header::CONTENT_TYPE;
    use axum::routing::{get, patch};
    use axum::{Json, Router};
    use kube::core::DeserializeGuard;
    use serde_json::Value;

    use super::*;

    /// A write of the status, as the API server got it.
    struct Write {
        parameters: HashMap<String, String>,
        content_type: String,
        patch: Value,
    }

    /// An API server with one ModelVersion, whose conditions it lets anybody write.
    async fn api_server(stored: Arc<Mutex<(Value, Vec<Write>)>>) -> kube::Client {
        let (read, written) = (stored.clone(), stored);
        let path = "/apis/aiops.dev/v1alpha1/namespaces/team/modelversions/forest-1";
        let write = async move |Query(parameters): Query<HashMap<String, String>>,
                                headers: HeaderMap,
                                body: String| {
            let patch: Value = serde_json::from_str(&body).unwrap();
            let mut stored = written.lock().unwrap();
            stored.0["status"]["conditions"] = patch["status"]["conditions"].clone();
            stored.1.push(Write {
                parameters,
                content_type: headers[CONTENT_TYPE].to_str().unwrap().to_owned(),
                patch,
            });
            Json(stored.0.clone())
        };
        let routes = Router::new()
            .route(path, get(async move || Json(read.lock().unwrap().0.clone())))
            .route(&format!("{path}/status"), patch(write));
        crate::framework::scripted_api_server::client_of(routes).await
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_says_so_once_and_keeps_the_rest_of_its_status() {
        let object = json!({
            "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
            "metadata": {"name": "forest-1", "namespace": "team", "uid": "u", "generation": 2},
            "spec": {"model": "tumour", "source": {"experiment": "forest"}, "stage": "Canary"},
            "status": {"version": "3", "conditions": [{"type": "Registered", "status": "True", "reason": "Registered",
                "message": "", "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:00Z"}]},
        });
        let guard: DeserializeGuard<ModelVersion> = serde_json::from_value(object.clone()).unwrap();
        let invalid = guard.0.unwrap_err();
        let stored = Arc::new(Mutex::new((object, Vec::new())));
        let client = api_server(stored.clone()).await;
        let resource = ApiResource::erase::<ModelVersion>(&());
        for _ in 0..2 {
            tell(&invalid, &resource, &client).await.unwrap();
        }
        let stored = stored.lock().unwrap();
        let [write] = stored.1.as_slice() else {
            panic!("a write is a change, which would bring it here again");
        };
        // Under another manager's name, or without "apply", what it leaves out would be taken away or it would own more than `Ready`.
        assert_eq!(write.content_type, "application/apply-patch+yaml");
        assert_eq!(write.parameters["fieldManager"], "aiops-unreadable");
        assert_eq!(write.parameters["force"], "true");
        assert_eq!(write.patch["metadata"]["uid"], "u");
        let status = write.patch["status"].as_object().unwrap();
        assert_eq!(status.keys().collect::<Vec<_>>(), ["conditions"]);
        let [ready] = write.patch["status"]["conditions"].as_array().unwrap().as_slice() else {
            panic!("it writes `Ready` alone: {}", write.patch);
        };
        assert_eq!(
            (&ready["type"], &ready["reason"], &ready["observedGeneration"]),
            (&json!("Ready"), &json!("InvalidSpec"), &json!(2))
        );
        assert!(ready["message"].as_str().unwrap().contains("Canary"), "{ready}");
    }
}
