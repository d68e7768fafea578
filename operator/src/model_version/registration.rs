//! Registers a model in MLflow, once for each ModelVersion however often it is tried.

use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use aiops_crds::{MlflowVersionReference, ModelVersion, ModelVersionReason as Reason};
use aiops_mlflow_client::{Client, Error, NewModelVersion, Tag};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use kube::core::DynamicObject;
use tokio::sync::{Mutex, MutexGuard};

use super::dereference::text;
use super::progress::{Registered, SourceProblem};
use super::source::Origin;
use super::validate::ValidatedModelVersion;

/// Keeps a registration and the removal of a registered model apart: the removal takes all versions with it, also one that was made
/// after it had looked for any. Only one process of the operator writes, so that locks within it are enough.
#[derive(Debug)]
pub struct RegistryLocks([Mutex<()>; 64]);

impl Default for RegistryLocks {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Mutex::default()))
    }
}

impl RegistryLocks {
    /// Waits until nobody else is at work on the registered model. Two models may share a lock, and then wait for each other.
    pub async fn lock(&self, registered_model: &str) -> MutexGuard<'_, ()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(registered_model);
        let index = usize::try_from(hash % self.0.len() as u64).unwrap_or_default();
        self.0[index].lock().await
    }
}

/// Refuses a version of the registry that another ModelVersion has already. Both would show their stages on it, and with the
/// deletion of one the bytes that the other serves would go. Of two that ask for it the older one gets it. One that this operator cannot
/// read has what it has all the same.
pub fn refuse_taken(
    version: &ModelVersion,
    origin: Origin,
    others: &[DynamicObject],
) -> Result<Origin, SourceProblem> {
    let Origin::RegistryVersion {
        version: number,
        registered_by,
        ..
    } = &origin
    else {
        return Ok(origin);
    };
    let asked_for = Some(number.as_str());
    let age = |metadata: &ObjectMeta| {
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0);
        (created, metadata.uid.clone())
    };
    let has_it = |other: &&DynamicObject| {
        other.metadata.uid != version.metadata.uid
            && text(other, "/spec/model") == Some(version.spec.model.as_str())
            && (text(other, "/status/version") == asked_for
                || (registered_by.is_some() && other.metadata.uid == *registered_by)
                || (text(other, "/spec/source/mlflowVersion") == asked_for
                    && age(&other.metadata) < age(&version.metadata)))
    };
    let Some(holder) = others.iter().find(has_it) else {
        return Ok(origin);
    };
    let (reason, remedy) = if holder.metadata.deletion_timestamp.is_some() {
        (
            Reason::SourceNotReady,
            "it is being deleted, and waited for".to_owned(),
        )
    } else {
        let remedy = format!(
            "use that one, or delete it with deletionPolicy Retain: this one then takes version {number} over"
        );
        (Reason::SourceFailed, remedy)
    };
    let (name, model) = (holder.name_any(), &version.spec.model);
    Err(SourceProblem {
        reason,
        message: format!("version {number} of model {model} belongs to ModelVersion {name}: {remedy}"),
    })
}

/// The version in MLflow's registry, made where there is none.
pub async fn ensure(
    validated: &ValidatedModelVersion,
    origin: &Origin,
    mlflow: &Client,
    locks: &RegistryLocks,
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
            ..
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
    let _alone = locks.lock(&name).await;
    mlflow
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
    let version = mlflow.ensure_model_version(&validated.uid, version).await?;
    Ok(Registered {
        version: version.version,
        reference,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex as StdMutex};
    use std::time::Duration;

    use aiops_crds::DeletionPolicy;
    use aiops_mlflow_client::Config;
    use axum::extract::State;
    use axum::routing::{delete, get, post};
    use axum::{Json, Router};
    use serde_json::{Value, json};

    use super::super::cleanup::remove_registration;
    use super::super::validate::{tests as samples, validate};
    use super::*;

    fn version(name: &str, created: i64, more: Value) -> ModelVersion {
        let mut version = samples::version(json!({"source": {"mlflowVersion": "3"}}));
        let time = k8s_openapi::jiff::Timestamp::from_second(created).unwrap();
        version.metadata.name = Some(name.into());
        version.metadata.uid = Some(format!("uid-{name}"));
        version.metadata.creation_timestamp =
            Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
        version.status = serde_json::from_value(more).unwrap();
        version
    }

    /// The object as the API server has it.
    fn live(version: &ModelVersion) -> DynamicObject {
        serde_json::from_value(serde_json::to_value(version).unwrap()).unwrap()
    }

    #[test]
    fn a_holder_with_a_value_of_a_later_release_keeps_its_version() {
        let us = version("us", 5, Value::Null);
        let refused = |holder: &ModelVersion| {
            let mut holder = live(holder);
            holder.data["spec"]["stage"] = json!("Canary");
            assert!(serde_json::from_value::<ModelVersion>(serde_json::to_value(&holder).unwrap()).is_err());
            refuse_taken(&us, origin(None), &[live(&us), holder]).is_err()
        };
        assert!(refused(&version("them", 9, json!({"version": "3"}))));
        assert!(refused(&version("them", 4, Value::Null)));
        assert!(!refused(&version("them", 9, json!({"version": "4"}))));
        let mut of_another_model = version("them", 4, json!({"version": "3"}));
        of_another_model.spec.model = "wine".into();
        assert!(!refused(&of_another_model));
    }

    fn origin(registered_by: Option<&str>) -> Origin {
        Origin::RegistryVersion {
            version: "3".into(),
            run_id: "r".into(),
            model_id: "m-1".into(),
            registered_by: registered_by.map(str::to_owned),
        }
    }

    #[test]
    fn a_version_of_the_registry_belongs_to_one_object() {
        let us = version("us", 5, Value::Null);
        let refused = |registered_by: Option<&str>, other: ModelVersion| {
            let refused = refuse_taken(&us, origin(registered_by), &[live(&other)]);
            refused.err().map(|problem| problem.reason)
        };
        let mut unrelated = version("them", 9, json!({"version": "4"}));
        unrelated.spec.source = aiops_crds::Source::default();
        assert_eq!(refused(None, unrelated.clone()), None);
        assert_eq!(refused(Some("uid-of-a-deleted-object"), unrelated.clone()), None);
        assert_eq!(refused(Some("uid-them"), unrelated), Some(Reason::SourceFailed));
        let registered = version("them", 9, json!({"version": "3"}));
        assert_eq!(refused(None, registered), Some(Reason::SourceFailed));
        let (older, younger) = (version("them", 4, Value::Null), version("them", 6, Value::Null));
        assert_eq!(refused(None, older.clone()), Some(Reason::SourceFailed));
        assert_eq!(refused(None, younger), None, "it is refused itself");
        let mut leaving = older;
        leaving.metadata.deletion_timestamp = leaving.metadata.creation_timestamp.clone();
        assert_eq!(refused(None, leaving), Some(Reason::SourceNotReady));
    }

    #[test]
    fn an_object_that_is_refused_names_the_one_that_has_the_version() {
        let other = version("them", 4, json!({"version": "3"}));
        let problem =
            refuse_taken(&version("us", 5, Value::Null), origin(None), &[live(&other)]).unwrap_err();
        assert!(
            problem
                .message
                .contains("version 3 of model tumour belongs to ModelVersion them"),
            "{}",
            problem.message
        );
    }

    /// What a registry with one model has.
    #[derive(Default)]
    struct Stored {
        /// How many versions; `None` where the model itself is gone.
        versions: Option<u32>,
        searches: u32,
    }

    type Registry = Arc<StdMutex<Stored>>;

    /// An MLflow whose first answer to the question for versions takes long on its way.
    async fn mlflow(registry: Registry) -> Client {
        let missing = || {
            let body = json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"});
            (axum::http::StatusCode::NOT_FOUND, Json(body))
        };
        let model = json!({"registered_model": {"name": "team.tumour"}});
        let created = model.clone();
        let search = async |State(registry): State<Registry>| {
            let (count, searches) = {
                let mut stored = registry.lock().unwrap();
                stored.searches += 1;
                (stored.versions.unwrap_or_default(), stored.searches)
            };
            if searches == 1 {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let versions: Vec<Value> = (0..count)
                .map(|_| {
                    json!({"name": "team.tumour", "version": "1", "tags": [{"key": "aiops.dev/uid", "value": "u-1"}]})
                })
                .collect();
            Json(json!({"model_versions": versions}))
        };
        let routes = Router::new()
            .route(
                "/api/2.0/mlflow/registered-models/get",
                get(
                    async move |State(registry): State<Registry>| match registry.lock().unwrap().versions {
                        Some(_) => Ok(Json(model)),
                        None => Err(missing()),
                    },
                ),
            )
            .route(
                "/api/2.0/mlflow/registered-models/create",
                post(async |State(registry): State<Registry>| {
                    registry.lock().unwrap().versions = Some(0);
                    Json(created)
                }),
            )
            .route(
                "/api/2.0/mlflow/registered-models/delete",
                delete(async |State(registry): State<Registry>| {
                    registry.lock().unwrap().versions = None;
                    Json(json!({}))
                }),
            )
            .route(
                "/api/2.0/mlflow/model-versions/create",
                post(async |State(registry): State<Registry>| {
                    registry.lock().unwrap().versions = Some(1);
                    Json(json!({"model_version": {"name": "team.tumour", "version": "1"}}))
                }),
            )
            .route("/api/2.0/mlflow/model-versions/search", get(search))
            .route(
                "/api/2.0/mlflow/model-versions/delete",
                delete(async || Json(json!({}))),
            )
            .with_state(registry);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        Client::new(Config::new(address.parse().unwrap())).unwrap()
    }

    #[tokio::test]
    async fn a_version_that_is_registered_while_the_models_last_one_goes_stays() {
        let registry = Registry::default();
        registry.lock().unwrap().versions = Some(0);
        let (client, locks) = (mlflow(registry.clone()).await, RegistryLocks::default());
        let validated = validate(&samples::version(
            json!({"source": {"uri": "s3://datasets/m.onnx"}}),
        ));
        assert_eq!(validated.deletion_policy, DeletionPolicy::Retain);
        let uri = "s3://datasets/m.onnx".to_owned();
        let origin = Origin::Onnx { uri };
        let removal = remove_registration("team.tumour", "7", true, &client, &locks);
        // Begun once the removal has asked which versions are left.
        let registration = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ensure(&validated, &origin, &client, &locks).await
        };
        let (removed, registered) = tokio::join!(removal, registration);
        removed.unwrap();
        registered.unwrap();
        assert_eq!(registry.lock().unwrap().versions, Some(1));
    }
}
