//! Reads what a ModelVersion's state depends on inside the cluster.

use aiops_crds::{Experiment, ModelVersion};
use kube::api::ListParams;
use kube::core::{ApiResource, DeserializeGuard, DynamicObject};
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource as _, ResourceExt as _};

use super::Versions;
use super::stage::Rival;
use super::validate::{ValidatedModelVersion, job_name};
use crate::framework::context::Context;
use crate::framework::error::{DuringAction as _, Error};
use crate::framework::observed_job::{ObservedJob, observe_job};

/// Reads the publish Job and its pods.
pub async fn job(validated: &ValidatedModelVersion, context: &Context) -> Result<ObservedJob, Error> {
    observe_job(
        &validated.namespace,
        &job_name(&validated.name),
        &validated.uid,
        context,
    )
    .await
}

/// The other versions of the same model in the same namespace, those that are being deleted among them.
fn others(store: &Versions, version: &ModelVersion) -> Vec<ModelVersion> {
    let guards = store.state();
    let readable = guards.iter().filter_map(|guard| guard.0.as_ref().ok());
    // Only what is meant is copied: the store has the versions of all namespaces.
    readable
        .filter(|other| {
            other.metadata.namespace == version.metadata.namespace
                && other.metadata.name != version.metadata.name
                && other.spec.model == version.spec.model
        })
        .cloned()
        .collect()
}

/// All ModelVersions of the namespace as the API server has them, those too that this operator cannot read.
pub async fn live_versions(
    validated: &ValidatedModelVersion,
    client: &kube::Client,
) -> Result<Vec<DynamicObject>, Error> {
    let (namespace, resource) = (&validated.namespace, ApiResource::erase::<ModelVersion>(&()));
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let list = api
        .list(&ListParams::default())
        .await
        .during(|| format!("list the ModelVersions of namespace {namespace}"))?;
    Ok(list.items)
}

/// A text in an object that this operator may not be able to read as a whole.
pub fn text<'object>(object: &'object DynamicObject, path: &str) -> Option<&'object str> {
    object.data.pointer(path).and_then(serde_json::Value::as_str)
}

/// The rivals of a version: among the others of its model, and among the objects that this operator cannot read.
pub async fn rivals(
    store: &Versions,
    version: &ModelVersion,
    client: &kube::Client,
) -> Result<Vec<Rival>, Error> {
    let namespace = version.metadata.namespace.as_deref().unwrap_or_default();
    let mut rivals: Vec<Rival> = others(store, version)
        .iter()
        .filter(|other| other.metadata.deletion_timestamp.is_none())
        .filter_map(Rival::of)
        .collect();
    for guard in store.state() {
        if guard.0.is_err() && guard.namespace().as_deref() == Some(namespace) {
            rivals.extend(live_rival(&guard.name_any(), namespace, &version.spec.model, client).await?);
        }
    }
    Ok(rivals)
}

async fn live_rival(
    name: &str,
    namespace: &str,
    model: &str,
    client: &kube::Client,
) -> Result<Option<Rival>, Error> {
    let resource = ApiResource::erase::<ModelVersion>(&());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let live = api
        .get_opt(name)
        .await
        .during(|| format!("read ModelVersion {namespace}/{name}"))?;
    Ok(live.and_then(|live| Rival::of_live(&live, model)))
}

/// The other versions of the model of one that changed, as the controller's queue names them. Of one that cannot be read nobody
/// knows the model: every version of its namespace is looked at.
pub fn references_to_peers(
    store: &Versions,
    changed: &DeserializeGuard<ModelVersion>,
) -> Vec<ObjectRef<DeserializeGuard<ModelVersion>>> {
    let concerned = |other: &ModelVersion| {
        other.metadata.namespace == changed.meta().namespace
            && other.metadata.name != changed.meta().name
            && changed
                .0
                .as_ref()
                .map_or(true, |version| version.spec.model == other.spec.model)
    };
    let guards = store.state().into_iter();
    guards
        .filter(|guard| guard.0.as_ref().is_ok_and(concerned))
        .map(|guard| ObjectRef::from_obj(guard.as_ref()))
        .collect()
}

/// The rivals, with those that `unconfirmed` names as the API server has them. The store is fed by another watch than the one
/// that told of a change: without this, a version could go on waiting for a holder that is gone.
pub async fn confirmed(
    mut rivals: Vec<Rival>,
    unconfirmed: impl Fn(&[Rival]) -> Option<String>,
    validated: &ValidatedModelVersion,
    client: &kube::Client,
) -> Result<Vec<Rival>, Error> {
    // Each round confirms one rival or leaves it out.
    while let Some(name) = unconfirmed(&rivals) {
        rivals.retain(|rival| rival.name != name);
        rivals.extend(live_rival(&name, &validated.namespace, &validated.model, client).await?);
    }
    Ok(rivals)
}

/// The versions whose source is an Experiment.
pub fn versions_of_experiment(
    store: &Versions,
    experiment: &DeserializeGuard<Experiment>,
) -> Vec<ObjectRef<DeserializeGuard<ModelVersion>>> {
    let name = experiment.name_any();
    let guards = store.state().into_iter().filter(|guard| {
        guard.namespace() == experiment.namespace()
            && guard
                .0
                .as_ref()
                .is_ok_and(|version| version.spec.source.experiment.as_deref() == Some(&name))
    });
    guards.map(|guard| ObjectRef::from_obj(guard.as_ref())).collect()
}

#[cfg(test)]
mod tests {
    use aiops_crds::{DeletionPolicy, Source, Stage};
    use axum::extract::Path;
    use axum::http::StatusCode;
    use axum::routing::get;
    use axum::{Json, Router};

    use super::super::stage::{holder_above, unconfirmed_holder};
    use super::*;

    /// An API server that has `forest-2`, in Production and approved, and nothing else.
    async fn api_server() -> kube::Client {
        let answer = |Path(name): Path<String>| async move {
            if name != "forest-2" {
                let status = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "message": "not found", "reason": "NotFound", "code": 404});
                return (StatusCode::NOT_FOUND, Json(status));
            }
            let digest = format!("sha256:{:064x}", 2);
            let found = serde_json::json!({
                "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
                "metadata": {"name": name, "namespace": "team"},
                "spec": {"model": "tumour", "source": {"experiment": "forest"}, "stage": "Production",
                    "approval": {"digest": digest}},
                "status": {"version": "2", "stage": "Production", "published": {"digest": digest, "sizeBytes": 1,
                    "uri": "s3://models/team/tumour/2", "inputs": [], "outputs": [], "opset": 17}},
            });
            (StatusCode::OK, Json(found))
        };
        let path = "/apis/aiops.dev/v1alpha1/namespaces/team/modelversions/{name}";
        let routes = Router::new().route(path, get(answer));
        crate::framework::scripted_api_server::client_of(routes).await
    }

    /// A rival as a store has it that lags behind.
    fn remembered(version: u64) -> Rival {
        Rival {
            name: format!("forest-{version}"),
            version,
            claims_production: true,
            stage: Stage::Staging,
            confirmed: false,
        }
    }

    #[tokio::test]
    async fn a_holder_that_is_gone_holds_nothing_and_the_next_one_is_as_the_api_server_has_it() {
        let validated = ValidatedModelVersion {
            namespace: "team".into(),
            name: "forest-1".into(),
            uid: "u".into(),
            model: "tumour".into(),
            source: Source::default(),
            desired: Stage::Production,
            approved_digest: None,
            deletion_policy: DeletionPolicy::Retain,
        };
        let client = api_server().await;
        let rivals = vec![remembered(2), remembered(3)];
        let confirm = async |rivals: Vec<Rival>| {
            confirmed(
                rivals,
                |rivals| unconfirmed_holder(1, rivals).map(Rival::name),
                &validated,
                &client,
            )
            .await
            .unwrap()
        };
        let both = confirm(rivals).await;
        let holder = holder_above(1, &both).unwrap();
        assert_eq!((holder.version, holder.stage), (2, Stage::Production));
        let gone = confirm(vec![remembered(3)]).await;
        assert!(gone.is_empty());
    }
}
