//! Adds and removes a finalizer, against changes by others at the same time.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::context::Context;
use super::error::{DuringAction as _, Error};

/// Adds `finalizer` where the object does not have it.
///
/// # Errors
/// The API's own, among them a conflict with a deletion, and that the object is gone: nobody would hold what is made next.
pub async fn add<Object>(object: &Object, finalizer: &str, context: &Context) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    add_to(object, finalizer, &context.client).await
}

async fn add_to<Object>(object: &Object, finalizer: &str, client: &kube::Client) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if object.finalizers().iter().any(|existing| existing == finalizer) {
        return Ok(());
    }
    change(object, client, |finalizers| {
        if !finalizers.iter().any(|existing| existing == finalizer) {
            finalizers.push(finalizer.into());
        }
    })
    .await
}

/// Removes `finalizer` where the object has it.
///
/// # Errors
/// As for [`add`], but for an object that is gone.
pub async fn remove<Object>(object: &Object, finalizer: &str, context: &Context) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    remove_from(object, finalizer, &context.client).await
}

async fn remove_from<Object>(object: &Object, finalizer: &str, client: &kube::Client) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if !object.finalizers().iter().any(|existing| existing == finalizer) {
        return Ok(());
    }
    let removed = change(object, client, |finalizers| {
        finalizers.retain(|existing| existing != finalizer);
    })
    .await;
    match removed {
        Err(error) if error.is_not_found() => Ok(()),
        removed => removed,
    }
}

/// How often a change is tried again on what somebody else made of the object meanwhile.
const CONFLICTS: u32 = 3;

/// Writes what `edit` makes of the finalizers.
async fn change<Object>(
    object: &Object,
    client: &kube::Client,
    edit: impl Fn(&mut Vec<String>) + Send,
) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let action = || format!("set the finalizers of {} {namespace}/{name}", Object::kind(&()));
    let api: Api<Object> = Api::namespaced(client.clone(), &namespace);
    let mut current = object.meta().clone();
    for attempt in 1.. {
        let mut finalizers = current.finalizers.clone().unwrap_or_default();
        edit(&mut finalizers);
        // The resource version makes the API server refuse the list if another finalizer came or went meanwhile.
        let patch = serde_json::json!({
            "metadata": {"finalizers": finalizers, "resourceVersion": current.resource_version},
        });
        let patched = api
            .patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await;
        match patched {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.is_conflict() && attempt < CONFLICTS => {
                let live = api.get_metadata(&name).await.during(action)?.metadata;
                let same = live.uid == current.uid && live.deletion_timestamp == current.deletion_timestamp;
                if !same {
                    return Err(kube::Error::Api(status)).during(action);
                }
                current = live;
            }
            Err(error) => return Err(error).during(action),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use aiops_crds::Experiment;
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::*;

    /// An API server whose Experiment `team/forest` has version 2 and the finalizer of somebody else.
    async fn api_server(stored: Arc<Mutex<Value>>) -> kube::Client {
        let read = stored.clone();
        let write = move |Json(patch): Json<Value>| async move {
            let mut stored = stored.lock().unwrap();
            if patch["metadata"]["resourceVersion"] != stored["metadata"]["resourceVersion"] {
                let conflict = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "message": "modified", "reason": "Conflict", "code": 409});
                return (StatusCode::CONFLICT, Json(conflict));
            }
            stored["metadata"]["finalizers"] = patch["metadata"]["finalizers"].clone();
            (StatusCode::OK, Json(stored.clone()))
        };
        let routes = Router::new().route(
            "/apis/aiops.dev/v1alpha1/namespaces/team/experiments/forest",
            get(move || async move { Json(read.lock().unwrap().clone()) }).patch(write),
        );
        client_of(routes).await
    }

    async fn client_of(routes: Router) -> kube::Client {
        let not_found = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
            "message": "not found", "reason": "NotFound", "code": 404});
        let routes = routes.fallback(move || async move { (StatusCode::NOT_FOUND, Json(not_found)) });
        crate::framework::scripted_api_server::client_of(routes).await
    }

    fn stored(metadata: Value) -> Arc<Mutex<Value>> {
        let mut whole = json!({"name": "forest", "namespace": "team", "uid": "u", "resourceVersion": "2",
            "finalizers": ["other"]});
        whole
            .as_object_mut()
            .unwrap()
            .extend(metadata.as_object().unwrap().clone());
        Arc::new(Mutex::new(
            json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": whole}),
        ))
    }

    /// The Experiment as a store has it that has not seen version 2.
    fn remembered() -> Experiment {
        let mut experiment = crate::experiment::sample();
        experiment.metadata.resource_version = Some("1".into());
        experiment.metadata.uid = Some("u".into());
        experiment
    }

    async fn add_ours(stored: &Arc<Mutex<Value>>) -> Result<(), Error> {
        let client = api_server(stored.clone()).await;
        add_to(&remembered(), "ours", &client).await
    }

    #[tokio::test]
    async fn a_change_by_somebody_else_meanwhile_is_kept_and_no_error() {
        let stored = stored(json!({}));
        add_ours(&stored).await.unwrap();
        assert_eq!(
            stored.lock().unwrap()["metadata"]["finalizers"],
            json!(["other", "ours"])
        );
    }

    #[tokio::test]
    async fn an_object_that_is_gone_cannot_be_held_and_needs_no_letting_go() {
        let routes = Router::new();
        let client = client_of(routes).await;
        let mut held = remembered();
        held.metadata.finalizers = Some(vec!["ours".into()]);
        assert!(
            add_to(&remembered(), "ours", &client)
                .await
                .unwrap_err()
                .is_not_found()
        );
        remove_from(&held, "ours", &client).await.unwrap();
    }

    #[tokio::test]
    async fn a_finalizer_that_the_object_got_meanwhile_is_there_once() {
        let stored = stored(json!({"finalizers": ["ours"]}));
        let client = api_server(stored.clone()).await;
        add_to(&remembered(), "ours", &client).await.unwrap();
        assert_eq!(stored.lock().unwrap()["metadata"]["finalizers"], json!(["ours"]));
    }

    #[tokio::test]
    async fn nothing_is_added_to_an_object_that_is_being_deleted_or_another_of_its_name() {
        for difference in [
            json!({"deletionTimestamp": "1970-01-01T00:00:00Z"}),
            json!({"uid": "v"}),
        ] {
            let stored = stored(difference);
            assert!(add_ours(&stored).await.is_err());
            assert_eq!(stored.lock().unwrap()["metadata"]["finalizers"], json!(["other"]));
        }
    }
}
