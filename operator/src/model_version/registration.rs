//! Registers a model in MLflow, once for each ModelVersion however often it is tried.

use aiops_crds::MlflowVersionReference;
use aiops_mlflow_client::{NewModelVersion, Tag};

use super::progress::Registered;
use super::source::Origin;
use super::validate::ValidatedModelVersion;
use crate::framework::context::Context;
use crate::framework::error::Error;

/// The version in MLflow's registry, made where there is none.
pub async fn ensure(
    validated: &ValidatedModelVersion,
    origin: &Origin,
    context: &Context,
) -> Result<Registered, Error> {
    let name = validated.registered_model();
    let reference = |run_id: Option<&str>, model_id: Option<&str>| MlflowVersionReference {
        registered_model: name.clone(),
        run_id: run_id.map(str::to_owned),
        model_id: model_id.map(str::to_owned),
    };
    let (reference, source) = match origin {
        Origin::RegistryVersion {
            version,
            run_id,
            model_id,
        } => {
            let reference = reference(Some(run_id), Some(model_id));
            return Ok(Registered {
                version: version.clone(),
                reference,
            });
        }
        Origin::LoggedModel {
            run_id,
            model_id,
            artifact_uri,
        } => (reference(Some(run_id), Some(model_id)), artifact_uri.clone()),
        Origin::Onnx { uri } => (reference(None, None), uri.clone()),
    };
    let tags = [Tag::new("aiops.dev/namespace", &validated.namespace)];
    let description = format!("Model {} of namespace {}", validated.model, validated.namespace);
    context
        .mlflow
        .get_or_create_registered_model(&name, &tags, &description)
        .await?;
    let version = NewModelVersion {
        name: name.clone(),
        source,
        run_id: reference.run_id.clone(),
        model_id: reference.model_id.clone(),
        tags: vec![Tag::new(
            "aiops.dev/model-version",
            format!("{}/{}", validated.namespace, validated.name),
        )],
        description: format!("ModelVersion {}/{}", validated.namespace, validated.name),
    };
    let version = context
        .mlflow
        .ensure_model_version(&validated.uid, version)
        .await?;
    Ok(Registered {
        version: version.version,
        reference,
    })
}
