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
    run_id: &str,
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
    let name = name.clone();
    Ok(if is_of(&existing, registration, validated, run_id) {
        Registered::Exists { name }
    } else {
        Registered::NameTaken { name }
    })
}

/// Whether the ModelVersion holds, or will hold, what this Experiment trained. A ModelVersion outlives its Experiment, so that
/// one of the right name may hold the model of an earlier Experiment that was deleted: its run tells.
fn is_of(
    existing: &ModelVersion,
    registration: &ValidatedRegistration,
    validated: &ValidatedExperiment,
    run_id: &str,
) -> bool {
    let registered = existing
        .status
        .as_ref()
        .and_then(|status| status.mlflow.as_ref()?.run_id.as_deref());
    existing.spec.model == registration.model
        && existing.spec.source.experiment.as_deref() == Some(&validated.name)
        && registered.is_none_or(|registered| registered == run_id)
}

#[cfg(test)]
mod tests {
    use super::super::validate::tests::{experiment, sample};
    use super::super::validate::validate;
    use super::*;

    fn is_of_run(version: &ModelVersion, run_id: &str) -> bool {
        let validated = validate(&experiment(sample())).unwrap();
        is_of(
            version,
            validated.registration.as_ref().unwrap(),
            &validated,
            run_id,
        )
    }

    fn version(model: &str, run_id: Option<&str>) -> ModelVersion {
        let status = run_id.map(|run_id| {
            serde_json::json!({"version": "1", "mlflow": {"registeredModel": "team.tumour", "runId": run_id}})
        });
        serde_json::from_value(serde_json::json!({
            "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion", "metadata": {"name": "forest-1"},
            "spec": {"model": model, "source": {"experiment": "forest"}}, "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn the_version_of_an_earlier_experiment_of_the_same_name_is_not_this_ones() {
        assert!(is_of_run(&version("tumour", Some("run-2")), "run-2"));
        assert!(!is_of_run(&version("tumour", Some("run-1")), "run-2"));
    }

    #[test]
    fn a_version_that_waits_for_the_experiment_will_hold_its_model() {
        assert!(is_of_run(&version("tumour", None), "run-2"));
        assert!(!is_of_run(&version("wine", None), "run-2"));
    }
}
