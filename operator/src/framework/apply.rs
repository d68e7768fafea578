//! Applies children by server-side apply, never over an object that belongs to somebody else.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::error::{DuringAction as _, Error};

/// Applies children of one owner under one field manager.
pub struct Applier<'context> {
    context: &'context Context,
    field_manager: &'static str,
    namespace: String,
    owner: OwnerReference,
}

impl<'context> Applier<'context> {
    /// For children of `owner`, which must have a namespace and a UID: it came from the API server.
    pub fn new<Owner>(context: &'context Context, field_manager: &'static str, owner: &Owner) -> Self
    where
        Owner: Resource<DynamicType = ()>,
    {
        let owner_reference = owner
            .controller_owner_ref(&())
            .expect("an object from the API server has a name and a UID");
        Self {
            context,
            field_manager,
            namespace: owner.namespace().unwrap_or_default(),
            owner: owner_reference,
        }
    }

    fn api<Child>(&self) -> Api<Child>
    where
        Child: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.context.client.clone(), &self.namespace)
    }

    /// Applies `child` as it should be; the controller's owner reference is added.
    ///
    /// # Errors
    /// [`Error::NameTaken`] where an object of that name has another controller or none, and the API's own.
    pub async fn apply<Child>(&self, mut child: Child) -> Result<Child, Error>
    where
        Child: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Serialize,
    {
        let name = child.name_any();
        self.refuse_foreign::<Child>(&name).await?;
        child.meta_mut().owner_references = Some(vec![self.owner.clone()]);
        let parameters = PatchParams::apply(self.field_manager).force();
        self.api::<Child>()
            .patch(&name, &parameters, &Patch::Apply(&child))
            .await
            .during(|| format!("apply {} {}/{name}", Child::kind(&()), self.namespace))
    }

    /// Deletes a child that is no longer wanted, if it is there and ours.
    ///
    /// # Errors
    /// The API's own.
    pub async fn delete<Child>(&self, name: &str) -> Result<(), Error>
    where
        Child: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let action = || format!("delete {} {}/{name}", Child::kind(&()), self.namespace);
        let Some(existing) = self.api::<Child>().get_metadata_opt(name).await.during(action)? else {
            return Ok(());
        };
        if !self.owns(existing.metadata.owner_references.as_deref())
            || existing.metadata.deletion_timestamp.is_some()
        {
            return Ok(());
        }
        match self
            .api::<Child>()
            .delete(name, &DeleteParams::background())
            .await
        {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            result => result.map(|_| ()).during(action),
        }
    }

    async fn refuse_foreign<Child>(&self, name: &str) -> Result<(), Error>
    where
        Child: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    {
        let existing = self
            .api::<Child>()
            .get_metadata_opt(name)
            .await
            .during(|| format!("read {} {}/{name}", Child::kind(&()), self.namespace))?;
        match existing {
            Some(existing) if !self.owns(existing.metadata.owner_references.as_deref()) => {
                Err(Error::NameTaken {
                    kind: Child::kind(&()).into_owned(),
                    namespace: self.namespace.clone(),
                    name: name.to_owned(),
                    holder: holder(existing.metadata.owner_references.as_deref()),
                })
            }
            _ => Ok(()),
        }
    }

    fn owns(&self, owners: Option<&[OwnerReference]>) -> bool {
        owners
            .unwrap_or_default()
            .iter()
            .any(|owner| owner.uid == self.owner.uid)
    }
}

fn holder(owners: Option<&[OwnerReference]>) -> String {
    owners
        .unwrap_or_default()
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map_or_else(
            || "nobody this operator knows".into(),
            |owner| format!("{} {}", owner.kind, owner.name),
        )
}
