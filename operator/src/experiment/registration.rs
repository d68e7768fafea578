//! Creates the ModelVersion of an Experiment that passed its validation.

use aiops_crds::ModelVersion;
use kube::Api;
use kube::api::PostParams;

use super::FIELD_MANAGER;
use super::build;
use super::progress::Registered;
use super::validate::{ValidatedExperiment, ValidatedRegistration};
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};

/// Creates the ModelVersion where there is none. One that exists is left as it is: its spec belongs to its users.
pub async fn ensure(
    registration: &ValidatedRegistration,
    validated: &ValidatedExperiment,
    context: &Context,
) -> Result<Registered, Error> {
    let (namespace, name) = (&validated.namespace, &registration.name);
    let versions: Api<ModelVersion> = Api::namespaced(context.client.clone(), namespace);
    let read = || format!("read ModelVersion {namespace}/{name}");
    let existing = match versions.get_opt(name).await.during(read)? {
        Some(existing) => existing,
        None => {
            let parameters = PostParams {
                field_manager: Some(FIELD_MANAGER.into()),
                ..PostParams::default()
            };
            let version = build::model_version(registration, validated);
            match versions.create(&parameters, &version).await {
                // Somebody, perhaps an earlier run of this, was faster.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {
                    versions.get(name).await.during(read)?
                }
                result => result.during(|| format!("create ModelVersion {namespace}/{name}"))?,
            }
        }
    };
    let ours = existing.spec.model == registration.model
        && existing.spec.source.experiment.as_deref() == Some(&validated.name);
    let name = name.clone();
    Ok(if ours {
        Registered::Exists { name }
    } else {
        Registered::NameTaken { name }
    })
}
