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
                let owners = existing.metadata.owner_references.as_deref();
                let (holder, remedy) = holder_and_remedy(owners, &self.owner);
                Err(Error::NameTaken {
                    kind: Child::kind(&()).into_owned(),
                    namespace: self.namespace.clone(),
                    name: name.to_owned(),
                    holder,
                    remedy,
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

/// Who holds a name that `owner` needs, and what to do about it.
fn holder_and_remedy(owners: Option<&[OwnerReference]>, owner: &OwnerReference) -> (String, &'static str) {
    const RENAME: &str = "delete or rename it, or choose another name for this object";
    let controller = owners
        .unwrap_or_default()
        .iter()
        .find(|holder| holder.controller == Some(true));
    match controller {
        None => ("nobody this operator knows".into(), RENAME),
        // Deleted and made again, before the garbage collector has got to its children.
        Some(holder) if holder.kind == owner.kind && holder.name == owner.name => (
            format!("an earlier {} {}", holder.kind, holder.name),
            "nothing to do; it is removed with that one, and tried again until then",
        ),
        Some(holder) => (format!("{} {}", holder.kind, holder.name), RENAME),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(kind: &str, name: &str, uid: &str) -> OwnerReference {
        OwnerReference {
            kind: kind.into(),
            name: name.into(),
            uid: uid.into(),
            controller: Some(true),
            ..OwnerReference::default()
        }
    }

    #[test]
    fn a_child_of_an_earlier_object_of_the_same_name_needs_nobody_to_rename_anything() {
        let us = owner("Experiment", "forest", "2");
        let (holder, remedy) = holder_and_remedy(Some(&[owner("Experiment", "forest", "1")]), &us);
        assert_eq!(holder, "an earlier Experiment forest");
        assert!(remedy.starts_with("nothing to do"), "{remedy}");
        for others in [
            vec![owner("Experiment", "tree", "3")],
            vec![owner("CronJob", "forest", "4")],
            vec![],
        ] {
            let (_, remedy) = holder_and_remedy(Some(&others), &us);
            assert!(remedy.starts_with("delete or rename it"), "{remedy}");
        }
    }
}
