//! What the keeper holds: versions that answer or wait. Each keeps its own files in the cache.
//!
//! It outlives the plan that is carried out: what a plan that was replaced halfway had done is known to the next.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::sync::Arc;

use super::serving_plan::{Target, VersionTarget};
use super::version::ModelVersion;

/// Name and number of a version.
pub(super) type Key = (String, u64);

/// Changed by one at a time.
#[derive(Default)]
pub(super) struct Holdings {
    /// Names of cache folders that the target needs, loaded or not.
    wanted: HashSet<OsString>,
    /// Versions that are loaded but whose model cannot be switched over yet.
    staged: HashMap<Key, Arc<ModelVersion>>,
    /// Versions that were switched to and not retired yet.
    served: Vec<Arc<ModelVersion>>,
}

impl Holdings {
    /// From now on this target counts; what waits for another is dropped.
    pub(super) fn want(&mut self, target: &Target) {
        self.staged
            .retain(|(model, version), _| target.wants(model, *version));
        let digests = target.models.iter().flat_map(|model| &model.versions);
        self.wanted = digests
            .filter_map(|version| Some(version.digest.as_ref()?.folder_name().into()))
            .collect();
    }

    /// Stages a version that is loaded already, if there is one.
    pub(super) fn stage_known(&mut self, key: &Key, wanted: &VersionTarget) -> bool {
        let has_its_bytes = |loaded: &Arc<ModelVersion>| {
            wanted
                .digest
                .as_ref()
                .is_none_or(|digest| *digest == loaded.digest)
        };
        if self.staged.get(key).is_some_and(has_its_bytes) {
            return true;
        }
        let served = self
            .served
            .iter()
            .find(|served| served.name == key.0 && served.version == key.1 && has_its_bytes(served));
        let Some(served) = served else { return false };
        self.staged.insert(key.clone(), Arc::clone(served));
        true
    }

    pub(super) fn stage(&mut self, key: Key, loaded: ModelVersion) {
        self.staged.insert(key, Arc::new(loaded));
    }

    /// Drops what is staged of a model.
    pub(super) fn unstage(&mut self, model: &str) {
        self.staged.retain(|(name, _), _| name != model);
    }

    pub(super) fn staged(&self, key: &Key) -> Option<&Arc<ModelVersion>> {
        self.staged.get(key)
    }

    /// All staged versions of a model.
    pub(super) fn staged_of(&self, model: &str) -> impl Iterator<Item = &Arc<ModelVersion>> {
        let staged = self.staged.iter();
        staged.filter_map(move |((name, _), version)| (name == model).then_some(version))
    }

    pub(super) fn is_staged(&self, key: &Key) -> bool {
        self.staged.contains_key(key)
    }

    /// A staged version, to be switched to.
    pub(super) fn take_staged(&mut self, key: &Key) -> Option<Arc<ModelVersion>> {
        let staged = self.staged.remove(key)?;
        if !self.served.iter().any(|served| Arc::ptr_eq(served, &staged)) {
            self.served.push(Arc::clone(&staged));
        }
        Some(staged)
    }

    /// Versions that served before and are not among those that do now, to be unloaded.
    pub(super) fn take_retired(&mut self, now: &[Arc<ModelVersion>]) -> Vec<Arc<ModelVersion>> {
        let serves = |old: &Arc<ModelVersion>| now.iter().any(|serving| Arc::ptr_eq(serving, old));
        self.served.extract_if(.., |old| !serves(old)).collect()
    }

    /// Nothing is wanted any more; answers the versions that served.
    pub(super) fn end(&mut self) -> Vec<Arc<ModelVersion>> {
        self.wanted.clear();
        self.staged.clear();
        std::mem::take(&mut self.served)
    }

    /// Names of cache folders to keep although nothing that is loaded needs them: what could not be loaded yet is not fetched
    /// again for every attempt.
    pub(super) fn wanted(&self) -> HashSet<OsString> {
        self.wanted.clone()
    }
}
