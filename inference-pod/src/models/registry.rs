//! Which versions answer now. Readers never wait: the table is replaced as a whole.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

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
    weights: Vec<(u64, u64)>,
    turn: AtomicU64,
}

impl ServedModel {
    /// `weights` are shares of the requests that name no version; none at all mean the default version.
    pub fn new(
        default_version: u64,
        versions: BTreeMap<u64, Arc<ModelVersion>>,
        weights: Vec<(u64, u64)>,
    ) -> Self {
        let weights = weights.into_iter().filter(|(_, weight)| *weight > 0).collect();
        Self {
            default_version,
            versions,
            weights,
            turn: AtomicU64::new(0),
        }
    }

    /// All versions that answer, ascending.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<ModelVersion>> {
        self.versions.values()
    }

    /// Versions that may answer a request that names this version or, naming none, leaves it to the model.
    fn candidates(&self, version: Option<u64>) -> Vec<Arc<ModelVersion>> {
        let numbers: Vec<_> = match (version, self.weights.as_slice()) {
            (Some(number), _) => vec![number],
            (None, []) => vec![self.default_version],
            (None, weights) => weights.iter().map(|(number, _)| *number).collect(),
        };
        let found = numbers.iter().filter_map(|number| self.versions.get(number));
        found.cloned().collect()
    }

    fn default(&self) -> Option<Arc<ModelVersion>> {
        self.versions.get(&self.default_version).cloned()
    }

    /// The version for a request that names none.
    fn choose(&self) -> u64 {
        match self.weights.as_slice() {
            [] => self.default_version,
            [(only, _)] => *only,
            weights => choose_by_weight(weights, self.turn.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Spreads turns evenly: multiples of the golden ratio fill an interval without clumps, so shares hold over short spans.
fn choose_by_weight(weights: &[(u64, u64)], turn: u64) -> u64 {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let total: u64 = weights.iter().map(|(_, weight)| weight).sum();
    let point = (u128::from(turn.wrapping_mul(GOLDEN)) * u128::from(total)) >> 64;
    let mut passed = 0;
    for (version, weight) in weights {
        passed += u128::from(*weight);
        if point < passed {
            return *version;
        }
    }
    weights[weights.len() - 1].0
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
    /// The version that answers a request; without a number, the one whose turn it is.
    pub fn find(&self, model: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
        let table = self.table.load();
        let Some(served) = table.get(model) else {
            return Err(self.missing(model, version));
        };
        let number = version.unwrap_or_else(|| served.choose());
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

    /// The version that a model's name stands for. To ask takes no turn from the versions that share its requests.
    pub fn default_version(&self, model: &str) -> Result<Arc<ModelVersion>> {
        let found = self.table.load().get(model).and_then(|served| served.default());
        found.ok_or_else(|| self.missing(model, None))
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
    fn weights_are_kept_even_over_a_hundred_requests() {
        let count = |weights: &[(u64, u64)], version: u64, turns: u64| {
            (0..turns)
                .filter(|turn| choose_by_weight(weights, *turn) == version)
                .count()
        };
        let weights = [(1, 90), (2, 10)];
        assert!((9..=11).contains(&count(&weights, 2, 100)));
        assert!((999..=1001).contains(&count(&weights, 2, 10_000)));
        assert_eq!(count(&[(1, 100), (2, 0)], 2, 1000), 0);
    }

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
