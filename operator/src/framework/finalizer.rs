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
/// The API's own, a conflict among them: the next reconcile sees the change that it conflicts with.
pub async fn add<Object>(object: &Object, finalizer: &str, context: &Context) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if object.finalizers().iter().any(|existing| existing == finalizer) {
        return Ok(());
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(finalizer.into());
    set(object, finalizers, context).await
}

/// Removes `finalizer` where the object has it.
///
/// # Errors
/// As for [`add`].
pub async fn remove<Object>(object: &Object, finalizer: &str, context: &Context) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    if !object.finalizers().iter().any(|existing| existing == finalizer) {
        return Ok(());
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.retain(|existing| existing != finalizer);
    set(object, finalizers, context).await
}

async fn set<Object>(object: &Object, finalizers: Vec<String>, context: &Context) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let api: Api<Object> = Api::namespaced(context.client.clone(), &namespace);
    // The resource version makes the API server refuse the list if another finalizer came or went meanwhile.
    let patch = serde_json::json!({
        "metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()},
    });
    match api
        .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
        .await
    {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => result
            .map(|_| ())
            .during(|| format!("set the finalizers of {} {namespace}/{name}", Object::kind(&()))),
    }
}
