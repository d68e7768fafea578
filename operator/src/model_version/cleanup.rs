//! Removes a deleted version from MLflow and from the model repository, where its policy asks for that.

use aiops_crds::{DeletionPolicy, ModelVersion};
use aiops_mlflow_client::Filter;
use aiops_model_repository::{Location, Repository};
use kube::ResourceExt as _;
use kube::runtime::controller::Action;

use super::validate::validate;
use crate::framework::context::Context;
use crate::framework::error::Error;
use crate::framework::finalizer;

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
    let number = version
        .status
        .as_ref()
        .and_then(|status| status.version.as_deref());
    if let (DeletionPolicy::Delete, Some(number)) = (validated.deletion_policy, number) {
        let uri = context.configuration.model_repository(&validated.namespace);
        let repository = Repository::open(uri.parse::<Location>()?)?;
        repository
            .delete_version(&validated.model, number.parse().unwrap_or_default())
            .await?;
        let last = repository.versions(&validated.model).await?.is_empty();
        remove_registration(&validated.registered_model(), number, last, context).await?;
    }
    finalizer::remove(version, FINALIZER, context).await?;
    Ok(Action::await_change())
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
