//! Which versions answer now. Readers never wait: the table is replaced as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;

use super::shares::Shares;
use super::version::ModelVersion;
use crate::error::{InferenceError, Result};

/// State of a version, by the protocol's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Ready,
    /// It is being fetched, opened or warmed up.
    Loading,
    /// It could not be loaded.
    Unavailable,
    /// It finishes what it accepted.
    Unloading,
}

impl State {
    /// The protocol's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "READY",
            Self::Loading => "LOADING",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unloading => "UNLOADING",
        }
    }
}

/// A version that is known, whether it answers or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionStatus {
    /// Name of the model.
    pub model: String,
    /// Version number.
    pub version: u64,
    /// Digest, where it is known.
    pub digest: String,
    /// State.
    pub state: State,
    /// Why it is in this state; empty when it is ready.
    pub reason: String,
}

/// A model that answers, and how requests without a version are shared out.
pub struct ServedModel {
    default_version: u64,
    versions: BTreeMap<u64, Arc<ModelVersion>>,
    shares: Shares,
}

impl ServedModel {
    /// `shares` are those of the requests that name no version.
    pub(super) fn new(
        default_version: u64,
        versions: BTreeMap<u64, Arc<ModelVersion>>,
        shares: Shares,
    ) -> Self {
        Self {
            default_version,
            versions,
            shares,
        }
    }

    /// All versions that answer, ascending.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<ModelVersion>> {
        self.versions.values()
    }

    /// Versions that may answer a request that names this version or, naming none, leaves it to the model.
    fn candidates(&self, version: Option<u64>) -> Vec<Arc<ModelVersion>> {
        let mut numbers: Vec<_> = match version {
            Some(number) => vec![number],
            None => self.shares.versions().collect(),
        };
        if numbers.is_empty() {
            numbers.push(self.default_version);
        }
        let found = numbers.iter().filter_map(|number| self.versions.get(number));
        found.cloned().collect()
    }

    /// The version for a request that names none.
    fn choose(&self, model: &str, headers: &HeaderMap) -> u64 {
        let chosen = self.shares.choose(model, headers);
        chosen.unwrap_or(self.default_version)
    }
}

/// Why a version that was unloaded by call does not answer.
const UNLOADED: &str = "unloaded";

type Table = BTreeMap<String, Arc<ServedModel>>;

/// The table of models that answer, and the states of all that are known.
#[derive(Default)]
pub struct Registry {
    table: ArcSwap<Table>,
    states: Mutex<BTreeMap<(String, u64), VersionStatus>>,
    remembers: AtomicBool,
}

impl Registry {
    /// The version that answers a request with these headers; without a number, the one whose share it belongs to. To be
    /// called once for a request.
    pub fn choose(
        &self,
        model: &str,
        version: Option<u64>,
        headers: &HeaderMap,
    ) -> Result<Arc<ModelVersion>> {
        let table = self.table.load();
        let Some(served) = table.get(model) else {
            return Err(self.missing(model, version));
        };
        let number = version.unwrap_or_else(|| served.choose(model, headers));
        served
            .versions
            .get(&number)
            .cloned()
            .ok_or_else(|| self.missing(model, Some(number)))
    }

    /// Versions of a model that may answer a request for this version or, without a number, for any; none where it is missing.
    pub(super) fn candidates(&self, model: &str, version: Option<u64>) -> Vec<Arc<ModelVersion>> {
        let table = self.table.load();
        table
            .get(model)
            .map_or_else(Vec::new, |served| served.candidates(version))
    }

    /// The version of this number or, without one, the default: for those who only look, which takes no turn from the versions
    /// that share the requests.
    pub fn find(&self, model: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
        let table = self.table.load();
        let found = table.get(model).and_then(|served| {
            let number = version.unwrap_or(served.default_version);
            served.versions.get(&number).cloned()
        });
        found.ok_or_else(|| self.missing(model, version))
    }

    /// All versions of a model that answer.
    pub fn versions(&self, model: &str) -> Result<Vec<Arc<ModelVersion>>> {
        match self.table.load().get(model) {
            Some(served) => Ok(served.versions().cloned().collect()),
            None => Err(self.missing(model, None)),
        }
    }

    /// Every version that answers, by model and number.
    pub fn all(&self) -> Vec<Arc<ModelVersion>> {
        self.table
            .load()
            .values()
            .flat_map(|served| served.versions().cloned().collect::<Vec<_>>())
            .collect()
    }

    /// Replaces a model; requests that come in from now on get its new versions.
    pub fn set_model(&self, name: &str, served: ServedModel) {
        let mut table = Table::clone(&self.table.load());
        table.insert(name.to_owned(), Arc::new(served));
        self.table.store(Arc::new(table));
    }

    /// Removes models for which `keep` is false.
    pub fn retain_models(&self, keep: impl Fn(&str) -> bool) {
        let mut table = Table::clone(&self.table.load());
        table.retain(|name, _| keep(name));
        self.table.store(Arc::new(table));
    }

    /// States of all known versions.
    pub fn states(&self) -> Vec<VersionStatus> {
        self.lock().values().cloned().collect()
    }

    /// Notes the state of a version.
    pub fn set_state(&self, status: VersionStatus) {
        self.lock().insert((status.model.clone(), status.version), status);
    }

    /// Forgets versions for which `keep` is false.
    pub fn retain_states(&self, keep: impl Fn(&VersionStatus) -> bool) {
        self.lock().retain(|_, status| keep(status));
    }

    /// A version that was unloading is gone: it is listed as unloaded, or forgotten where the server forgets.
    pub(super) fn unloaded(&self, model: &str, version: u64) {
        let mut states = self.lock();
        let key = (model.to_owned(), version);
        let Some(status) = states
            .get_mut(&key)
            .filter(|status| status.state == State::Unloading)
        else {
            return;
        };
        if self.remembers.load(Ordering::Relaxed) {
            status.state = State::Unavailable;
            UNLOADED.clone_into(&mut status.reason);
        } else {
            states.remove(&key);
        }
    }

    /// From now on versions that are unloaded stay in the index, as Triton lists them.
    pub fn remember_unloaded(&self) {
        self.remembers.store(true, Ordering::Relaxed);
    }

    fn missing(&self, model: &str, version: Option<u64>) -> InferenceError {
        let states = self.lock();
        let mut known = states.values().filter(|status| status.model == model);
        let leaves = |status: &VersionStatus| {
            status.state == State::Unloading
                || (status.state == State::Unavailable && status.reason == UNLOADED)
        };
        match version {
            None if known.clone().next().is_some() => {
                let message = format!("Request for unknown model: '{model}' has no available versions");
                // To come again helps only where one may be there then.
                if known.all(leaves) {
                    InferenceError::not_found(message)
                } else {
                    InferenceError::unavailable(message)
                }
            }
            None => InferenceError::not_found(format!("Request for unknown model: '{model}' is not found")),
            Some(number) if known.any(|status| status.version == number) => InferenceError::unavailable(
                format!("Request for unknown model: '{model}' version {number} is not at ready state"),
            ),
            Some(number) if states.values().any(|status| status.model == model) => InferenceError::not_found(
                format!("Request for unknown model: '{model}' version {number} is not found"),
            ),
            Some(_) => {
                InferenceError::not_found(format!("Request for unknown model: '{model}' is not found"))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(String, u64), VersionStatus>> {
        // A map whose writers insert and remove whole entries is whole even after a panic.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_as_triton_names_it() {
        let registry = Registry::default();
        let message = |version| registry.find("m", version).map(|_| ()).unwrap_err().message;
        assert_eq!(message(None), "Request for unknown model: 'm' is not found");
        assert_eq!(message(Some(1)), "Request for unknown model: 'm' is not found");
        registry.set_state(VersionStatus {
            model: "m".into(),
            version: 1,
            digest: String::new(),
            state: State::Loading,
            reason: String::new(),
        });
        assert_eq!(
            message(None),
            "Request for unknown model: 'm' has no available versions"
        );
        assert_eq!(
            message(Some(1)),
            "Request for unknown model: 'm' version 1 is not at ready state"
        );
        assert_eq!(
            message(Some(2)),
            "Request for unknown model: 'm' version 2 is not found"
        );
    }
}
