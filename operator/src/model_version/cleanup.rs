//! Removes a deleted version from MLflow and from the model repository, where its policy asks for that.

use aiops_crds::{DeletionPolicy, ModelVersion};
use aiops_mlflow_client::{Client, Filter, UID_TAG};
use aiops_model_repository::{Location, Repository};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::validate::{ValidatedModelVersion, validate};
use super::{LOOK_AGAIN, dereference};
use crate::framework::context::Context;
use crate::framework::error::Error;
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
pub async fn remove(version: &ModelVersion, context: &Context) -> Result<Action, Error> {
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
        let uri = context.configuration.model_repository(&validated.namespace);
        let repository = Repository::open(uri.parse::<Location>()?)?;
        repository
            .delete_version(&validated.model, number.parse().unwrap_or_default())
            .await?;
        let last = repository.versions(&validated.model).await?.is_empty();
        remove_registration(&validated.registered_model(), &number, last, context).await?;
    }
    finalizer::remove(version, FINALIZER, context).await?;
    Ok(Action::await_change())
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
async fn remove_registration(
    name: &str,
    number: &str,
    last_in_repository: bool,
    context: &Context,
) -> Result<(), Error> {
    let mlflow = &context.mlflow;
    match mlflow.delete_model_version(name, number).await {
        Err(error) if !error.is_not_found() => return Err(error.into()),
        _ => {}
    }
    let left = mlflow
        .search_model_versions(&Filter::new().attribute("name", name)?)
        .await?;
    if last_in_repository && left.is_empty() {
        match mlflow.delete_registered_model(name).await {
            Err(error) if !error.is_not_found() => return Err(error.into()),
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
}
