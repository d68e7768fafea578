//! Removes a deleted version from MLflow and from the model repository, where its policy asks for that.

use aiops_crds::{DeletionPolicy, ModelVersion};
use aiops_mlflow_client::{Client, Filter, UID_TAG};
use aiops_model_repository::{Location, Repository};
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};

use super::dereference;
use super::progress::LOOK_AGAIN;
use super::registration::RegistryLocks;
use super::validate::{ValidatedModelVersion, validate};
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};
use crate::framework::finalizer;
use crate::framework::stop_job::stop_job;

/// The finalizer, held only where the policy is `Delete`.
const FINALIZER: &str = "aiops.dev/published-version";

/// Holds the finalizer where the policy asks for it, and lets go of it where it does not any more.
pub async fn follow_policy(
    version: &ModelVersion,
    policy: DeletionPolicy,
    context: &Context,
) -> Result<(), Error> {
    match policy {
        DeletionPolicy::Delete => finalizer::add(version, FINALIZER, context).await,
        DeletionPolicy::Retain => finalizer::remove(version, FINALIZER, context).await,
    }
}

/// Removes what the policy asks for, then lets the object go.
pub async fn remove(
    version: &ModelVersion,
    context: &Context,
    locks: &RegistryLocks,
) -> Result<Action, Error> {
    if !version
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        return Ok(Action::await_change());
    }
    let validated = validate(version);
    if validated.deletion_policy == DeletionPolicy::Delete && stop_publication(version, context).await? {
        return Ok(Action::requeue(LOOK_AGAIN));
    }
    if validated.deletion_policy == DeletionPolicy::Delete
        && let Some(number) = number(version, &validated, &context.mlflow).await?
    {
        match other_holder(&validated, &number, &versions(&validated, context).await?) {
            Some(other) => tracing::info!(
                version = number,
                other,
                "the version stays in MLflow and in the model repository: another ModelVersion has it too"
            ),
            None => remove_version(&validated, &number, context, locks).await?,
        }
    }
    finalizer::remove(version, FINALIZER, context).await?;
    Ok(Action::await_change())
}

async fn remove_version(
    validated: &ValidatedModelVersion,
    number: &str,
    context: &Context,
    locks: &RegistryLocks,
) -> Result<(), Error> {
    let uri = context.configuration.model_repository(&validated.namespace);
    let repository = Repository::open(uri.parse::<Location>()?)?;
    repository
        .delete_version(&validated.model, number.parse().unwrap_or_default())
        .await?;
    let last = repository.versions(&validated.model).await?.is_empty();
    let name = validated.registered_model();
    remove_registration(&name, number, last, &context.mlflow, locks).await?;
    Ok(())
}

/// All ModelVersions of the namespace, those too that this operator cannot read.
async fn versions(validated: &ValidatedModelVersion, context: &Context) -> Result<Vec<DynamicObject>, Error> {
    let (namespace, resource) = (&validated.namespace, ApiResource::erase::<ModelVersion>(&()));
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let list = api
        .list(&ListParams::default())
        .await
        .during(|| format!("list the ModelVersions of namespace {namespace}"))?;
    Ok(list.items)
}

/// The name of another object that has the same version, and stays.
fn other_holder(
    validated: &ValidatedModelVersion,
    number: &str,
    versions: &[DynamicObject],
) -> Option<String> {
    let text = |object: &DynamicObject, path: &str| {
        let found = object.data.pointer(path).and_then(serde_json::Value::as_str);
        found.map(str::to_owned)
    };
    let other = versions.iter().find(|other| {
        other.metadata.uid.as_deref() != Some(&validated.uid)
            && other.metadata.deletion_timestamp.is_none()
            && text(other, "/spec/model").as_deref() == Some(&validated.model)
            && text(other, "/status/version").as_deref() == Some(number)
    });
    other.map(kube::ResourceExt::name_any)
}

/// The version's number. One that was registered and never got into the status is found by the object's UID.
async fn number(
    version: &ModelVersion,
    validated: &ValidatedModelVersion,
    mlflow: &Client,
) -> Result<Option<String>, Error> {
    let known = version.status.as_ref().and_then(|status| status.version.clone());
    if known.is_some() {
        return Ok(known);
    }
    let name = validated.registered_model();
    let found = mlflow
        .find_model_version_by_tag(&name, UID_TAG, &validated.uid)
        .await?;
    Ok(found.map(|found| found.version))
}

/// Stops a publish Job that is at work and answers whether there was one. What it uploaded after the removal would stay for
/// ever, and stand in the way of the next version of that number. In the foreground the Job goes after its pods.
async fn stop_publication(version: &ModelVersion, context: &Context) -> Result<bool, Error> {
    let validated = validate(version);
    let Some(job) = dereference::job(&validated, context).await?.job else {
        return Ok(false);
    };
    stop_job(&job, context).await
}

/// Removes the version, and the registered model with the last of its versions. A registered model that is made anew
/// numbers its versions from 1 again: as long as the repository holds a version, that number must not be given twice.
pub async fn remove_registration(
    name: &str,
    number: &str,
    last_in_repository: bool,
    mlflow: &Client,
    locks: &RegistryLocks,
) -> Result<(), aiops_mlflow_client::Error> {
    let _alone = locks.lock(name).await;
    match mlflow.delete_model_version(name, number).await {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    let left = mlflow
        .search_model_versions(&Filter::new().attribute("name", name)?)
        .await?;
    if last_in_repository && left.is_empty() {
        match mlflow.delete_registered_model(name).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use aiops_mlflow_client::Config;
    use axum::routing::get;
    use axum::{Json, Router};
    use serde_json::json;

    use super::super::validate::tests as samples;
    use super::*;

    #[tokio::test]
    async fn a_registration_that_never_got_into_the_status_is_found() {
        let registered = json!({"model_versions": [{"name": "team.tumour", "version": "4",
            "tags": [{"key": UID_TAG, "value": "u-1"}]}]});
        let routes = Router::new().route(
            "/api/2.0/mlflow/model-versions/search",
            get(move || async move { Json(registered) }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let client = Client::new(Config::new(address.parse().unwrap())).unwrap();
        let numbered = async |uid: &str| {
            let version: ModelVersion = serde_json::from_value(json!({
                "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
                "metadata": {"name": "forest-1", "namespace": "team", "uid": uid},
                "spec": {"model": "tumour", "source": {"experiment": "forest"}},
            }))
            .unwrap();
            number(&version, &validate(&version), &client).await.unwrap()
        };
        assert_eq!(numbered("u-1").await.as_deref(), Some("4"));
        assert_eq!(numbered("u-2").await, None);
    }

    #[test]
    fn what_another_object_has_too_is_kept() {
        let validated = validate(&samples::version(json!({"deletionPolicy": "Delete"})));
        let object = |uid: &str, model: &str, version: &str| -> DynamicObject {
            // A stage of a later release does not matter here.
            serde_json::from_value(json!({
                "metadata": {"name": format!("of-{uid}"), "uid": uid},
                "spec": {"model": model, "stage": "Canary"}, "status": {"version": version},
            }))
            .unwrap()
        };
        let holder =
            |other: DynamicObject| other_holder(&validated, "3", &[object("u-1", "tumour", "3"), other]);
        assert_eq!(holder(object("u-2", "tumour", "3")).as_deref(), Some("of-u-2"));
        assert_eq!(holder(object("u-2", "tumour", "4")), None);
        assert_eq!(holder(object("u-2", "wine", "3")), None);
        let mut leaving = object("u-2", "tumour", "3");
        leaving.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ));
        assert_eq!(holder(leaving), None);
    }
}
