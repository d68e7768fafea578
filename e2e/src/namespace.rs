//! The namespace of a scenario: made with what the product needs in it, and gone without a trace at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::{RoleBinding, RoleRef, Subject};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};

use crate::cluster::{OBJECT_STORE_SECRET, RELEASE};
use crate::scenario::Context;
use crate::wait::{Seen, until};

/// Makes the namespace with the operator's rights and the object store's credentials in it, as the chart does for its
/// `workloadNamespaces`.
pub async fn create(context: &Context) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(context.cluster.client.clone());
    let labels = BTreeMap::from([("aiops.dev/e2e".to_owned(), "true".to_owned())]);
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(context.namespace.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .context("the scenario's namespace cannot be created")?;
    let rights = operator_rights(&context.cluster.release_namespace);
    context
        .api::<RoleBinding>()
        .create(&PostParams::default(), &rights)
        .await
        .context("the operator's rights cannot be given")?;
    copy_credentials(context).await
}

/// What the chart writes into a workload namespace for the operator of the release.
fn operator_rights(release_namespace: &str) -> RoleBinding {
    let name = format!("{RELEASE}-operator-workloads");
    RoleBinding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name,
        },
        subjects: Some(vec![Subject {
            kind: "ServiceAccount".into(),
            name: format!("{RELEASE}-operator"),
            namespace: Some(release_namespace.to_owned()),
            ..Subject::default()
        }]),
    }
}

async fn copy_credentials(context: &Context) -> Result<()> {
    let source = context
        .cluster
        .api::<Secret>(&context.cluster.release_namespace)
        .get(OBJECT_STORE_SECRET)
        .await;
    let copy = Secret {
        metadata: ObjectMeta {
            name: Some(OBJECT_STORE_SECRET.into()),
            ..ObjectMeta::default()
        },
        data: source
            .with_context(|| format!("Secret {OBJECT_STORE_SECRET} of the release cannot be read"))?
            .data,
        ..Secret::default()
    };
    context
        .api::<Secret>()
        .create(&PostParams::default(), &copy)
        .await
        .context("the Secret cannot be copied")?;
    Ok(())
}

/// Begins to delete the namespace; see [`until_gone`].
pub async fn delete(context: &Context) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(context.cluster.client.clone());
    let name = &context.namespace;
    match namespaces.delete(name, &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        deleted => deleted
            .map(|_| ())
            .with_context(|| format!("namespace {name} cannot be deleted")),
    }
}

/// Waits until the namespace is gone; what keeps it, such as a finalizer that nobody removes, is a failure.
pub async fn until_gone(context: &Context) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(context.cluster.client.clone());
    let name = &context.namespace;
    let what = format!("namespace {name} is gone");
    until(&context.progress, &what, Duration::from_secs(120), async || {
        Ok(match namespaces.get_opt(name).await? {
            None => Seen::Done(()),
            Some(namespace) => Seen::NotYet(what_is_left(namespace)),
        })
    })
    .await
}

fn what_is_left(namespace: Namespace) -> String {
    let conditions = namespace
        .status
        .and_then(|status| status.conditions)
        .unwrap_or_default();
    let left: Vec<_> = conditions
        .into_iter()
        .filter(|condition| condition.status == "True")
        .filter_map(|condition| condition.message)
        .collect();
    left.join("; ")
}
