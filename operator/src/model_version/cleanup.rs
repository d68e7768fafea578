//! Removes a deleted version from MLflow and from the model repository, where its policy asks for that.

use aiops_crds::{DeletionPolicy, ModelVersion};
use aiops_mlflow_client::{Client, Filter, UID_TAG};
use aiops_model_repository::{Location, Repository};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;

use super::dereference::{self, text};
use super::progress::LOOK_AGAIN;
use super::registration::RegistryLocks;
use super::status;
use super::validate::{ValidatedModelVersion, job_name, validate};
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

/// Removes what the policy asks for, then lets the object go. What holds that up is written to its status.
pub async fn finish(
    version: &ModelVersion,
    context: &Context,
    locks: &RegistryLocks,
) -> Result<Action, Error> {
    let result = remove(version, context, locks).await; // network
    let why = match &result {
        Ok(Cleanup::Done) => return Ok(Action::await_change()),
        Ok(Cleanup::HeldUp(why)) => why.clone(),
        Err(error) => format!("{error}; tried again"),
    };
    let status = status::held_up(version, &why, Timestamp::now());
    super::write_status(version, &status, context).await?; // network
    result.map(|_| Action::requeue(LOOK_AGAIN))
}

/// How far a deletion got.
enum Cleanup {
    /// Nothing is left to do.
    Done,
    /// Something has to end first.
    HeldUp(String),
}

async fn remove(version: &ModelVersion, context: &Context, locks: &RegistryLocks) -> Result<Cleanup, Error> {
    if !version
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == FINALIZER)
    {
        return Ok(Cleanup::Done);
    }
    let validated = validate(version);
    if validated.deletion_policy == DeletionPolicy::Delete && stop_publication(version, context).await? {
        let (job, namespace) = (job_name(&validated.name), &validated.namespace);
        return Ok(Cleanup::HeldUp(format!(
            "waits until the publisher has stopped: Job {job} and its pod are being deleted; where that takes long, \
             kubectl describe pods -n {namespace} -l batch.kubernetes.io/job-name={job} says why"
        )));
    }
    if validated.deletion_policy == DeletionPolicy::Delete
        && let Some(number) = number(version, &validated, &context.mlflow).await?
    {
        let versions = dereference::live_versions(&validated, &context.client).await?;
        match other_holder(&validated, &number, &versions) {
            Some(other) => tracing::info!(
                version = number,
                other,
                "the version stays in MLflow and in the model repository: another ModelVersion has it too"
            ),
            None => remove_version(&validated, &number, context, locks).await?,
        }
    }
    finalizer::remove(version, FINALIZER, context).await?;
    Ok(Cleanup::Done)
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

/// The name of another object that has the same version, and stays.
fn other_holder(
    validated: &ValidatedModelVersion,
    number: &str,
    versions: &[DynamicObject],
) -> Option<String> {
    let other = versions.iter().find(|other| {
        other.metadata.uid.as_deref() != Some(&validated.uid)
            && other.metadata.deletion_timestamp.is_none()
            && text(other, "/spec/model") == Some(validated.model.as_str())
            && text(other, "/status/version") == Some(number)
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
    use std::sync::{Arc, Mutex};

    use aiops_mlflow_client::Config;
    use axum::routing::{get, patch};
    use axum::{Json, Router};
    use serde_json::{Value, json};

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

    /// What is written to a ModelVersion's status.
    type Written = Arc<Mutex<Vec<Value>>>;

    /// An API server that has the version `object`, and its publish Job at work, which takes a while to go.
    async fn api_server(object: ModelVersion, written: Written) -> kube::Client {
        let job = json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "forest-1-publish", "uid": "j",
            "namespace": "team", "ownerReferences": [{"apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
                "name": "forest-1", "uid": "u-1"}]}});
        let deleted = job.clone();
        let pods = json!({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": []});
        let write = move |body: String| async move {
            let patch: Value = serde_json::from_str(&body).unwrap();
            written.lock().unwrap().push(patch["status"].clone());
            Json(object)
        };
        let routes = Router::new()
            .route(
                "/apis/batch/v1/namespaces/team/jobs/forest-1-publish",
                get(move || async move { Json(job) }).delete(move || async move { Json(deleted) }),
            )
            .route(
                "/api/v1/namespaces/team/pods",
                get(move || async move { Json(pods) }),
            )
            .route(
                "/apis/aiops.dev/v1alpha1/namespaces/team/modelversions/forest-1/status",
                patch(write),
            );
        crate::framework::scripted_api_server::client_of(routes).await
    }

    #[tokio::test]
    async fn a_deletion_that_waits_for_its_publisher_says_so() {
        let mut version = samples::version(json!({"deletionPolicy": "Delete"}));
        version.metadata.finalizers = Some(vec![FINALIZER.into()]);
        let written = Written::default();
        let client = api_server(version.clone(), written.clone()).await;
        let context = Context::sample(client);
        finish(&version, &context, &RegistryLocks::default())
            .await
            .unwrap();
        let written = written.lock().unwrap();
        let ready = &written[0]["conditions"][0];
        assert_eq!(
            (&ready["type"], &ready["reason"]),
            (&json!("Ready"), &json!("Deleting"))
        );
        let message = ready["message"].as_str().unwrap();
        assert!(
            message.contains("batch.kubernetes.io/job-name=forest-1-publish")
                && message.contains(r#"{"deletionPolicy":"Retain"}"#),
            "{message}"
        );
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
