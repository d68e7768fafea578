//! The keeper: makes what is served equal to what is wanted. New versions are loaded beside the old ones, a model is
//! switched over when all of its versions can answer, and old ones end when they have answered what they accepted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use super::holdings::{Holdings, Key};
use super::loader::Loader;
use super::registry::{Registry, ServedModel, State, VersionStatus};
use super::scan::scan;
use super::serving_plan::{ModelTarget, Target, VersionTarget, plan_sha256};
use super::turns::Turns;
use crate::error::InferenceError;
use crate::lifecycle::Lifecycle;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// What does not fit the memory is tried again when a model is unloaded, and now and then, as requests take memory, too.
const MEMORY_PAUSE: Duration = Duration::from_secs(60);
/// What fails for its own sake does so again until somebody mends it, and each attempt hashes and opens it.
const LONGEST_PAUSE_OF_BROKEN: Duration = Duration::from_secs(300);
const PLAN_PERIOD: Duration = Duration::from_secs(1);

/// How far a plan is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanState {
    /// Every version it names answers and no other does.
    Applied,
    /// It is being carried out.
    Loading,
    /// It could not be carried out; it is tried again.
    Failed,
}

/// What `GET /serving-plan` tells besides the versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStatus {
    /// SHA-256 of the plan last read; empty before there is one.
    pub plan_sha256: String,
    /// How far it is carried out.
    pub state: PlanState,
    /// Why it is not, if it failed.
    pub message: String,
}

/// Why a target could not be reached.
#[derive(Debug)]
pub struct Failure {
    /// One sentence for each version that could not be loaded.
    pub message: String,
    /// Whether it may go away by itself.
    pub transient: bool,
    /// Whether a part of it may go away without a new plan.
    pub(super) may_pass: bool,
    /// Whether it is for memory alone.
    pub(super) for_memory: bool,
    /// Whether a part of it is for memory.
    pub(super) some_for_memory: bool,
}

impl Failure {
    /// The pause before the next attempt, after one of so much.
    fn longer_pause(&self, pause: Duration) -> Duration {
        let longest = if self.may_pass {
            LONGEST_PAUSE
        } else {
            LONGEST_PAUSE_OF_BROKEN
        };
        (pause * 2).min(longest)
    }
}

/// The keeper. One at a time follows a plan or a repository.
pub struct Keeper {
    pub(super) loader: Loader,
    pub(super) registry: Arc<Registry>,
    pub(super) lifecycle: Arc<Lifecycle>,
    status: Mutex<PlanStatus>,
    /// Told instead of it while the plan that was read last is not valid and the one before is carried out.
    refused: Mutex<Option<PlanStatus>>,
    pub(super) holdings: tokio::sync::Mutex<Holdings>,
    /// Of calls that load and unload.
    pub(super) turns: Turns,
    /// A version was unloaded.
    pub(super) memory_is_back: Notify,
    /// Whether what the server starts with was loaded, or could not be.
    started: AtomicBool,
}

impl Keeper {
    /// Starts with nothing loaded.
    pub fn new(loader: Loader, registry: Arc<Registry>, lifecycle: Arc<Lifecycle>) -> Self {
        let status = PlanStatus {
            plan_sha256: String::new(),
            state: PlanState::Loading,
            message: "nothing is loaded yet".to_owned(),
        };
        Self {
            loader,
            registry,
            lifecycle,
            status: Mutex::new(status),
            refused: Mutex::new(None),
            holdings: tokio::sync::Mutex::default(),
            turns: Turns::default(),
            memory_is_back: Notify::new(),
            started: AtomicBool::new(false),
        }
    }

    /// How far the plan is carried out.
    pub fn status(&self) -> PlanStatus {
        let refused = self
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        refused.unwrap_or_else(|| self.status.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Follows the plan in a file for ever. A valid change replaces what is under way.
    pub async fn follow_plan(self: Arc<Self>, path: PathBuf) {
        let mut last_text: Option<Vec<u8>> = None;
        let mut work: Option<AbortOnDropHandle<()>> = None;
        let mut told_missing = false;
        let mut ticks = tokio::time::interval(PLAN_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match tokio::fs::read(&path).await {
                Ok(text) if last_text.as_ref() == Some(&text) => {}
                Ok(text) => {
                    if let Some(target) = self.parse(&text) {
                        // Waited for, as an aborted task still runs to its next pause, and may tell the old plan's state
                        // there.
                        if let Some(old) = work.take() {
                            old.abort();
                            let _ = old.await;
                        }
                        self.accept(&target);
                        let keeper = Arc::clone(&self);
                        let reaching = tokio::spawn(async move { keeper.reach(target).await });
                        work = Some(AbortOnDropHandle::new(reaching));
                    }
                    last_text = Some(text);
                }
                Err(error) if last_text.is_none() => {
                    if !std::mem::replace(&mut told_missing, true) {
                        tracing::warn!(
                            path = %path.display(),
                            %error,
                            "the serving plan (--serving-plan) cannot be read; the server waits for it and is not ready"
                        );
                    }
                    self.set_status(
                        "",
                        PlanState::Loading,
                        &format!("waiting for {}: {error}", path.display()),
                    );
                }
                // A mounted volume may be between two contents; what was read last stays in force.
                Err(error) => {
                    tracing::warn!(path = %path.display(), %error, "the serving plan cannot be read");
                }
            }
        }
    }

    /// Refuses calls that would cross what the server starts with.
    pub(super) fn check_started(&self) -> Result<(), InferenceError> {
        if self.started.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(InferenceError::unavailable(
            "Server not ready: it is loading the models that it starts with",
        ))
    }

    /// Serves what the repository holds, all of it or the models that are chosen, as each model's version policy says. Fails
    /// only for what will not pass.
    pub async fn serve_repository(self: &Arc<Self>, chosen: Option<&[String]>) -> Result<(), Failure> {
        let served = self.try_to_serve(chosen).await;
        self.started.store(true, Ordering::SeqCst);
        served
    }

    async fn try_to_serve(self: &Arc<Self>, chosen: Option<&[String]>) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        loop {
            self.set_status("", PlanState::Loading, "");
            let failure = match scan(&self.loader.repository, chosen).await {
                Ok(target) => match self.apply(&target).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                },
                Err(error) => Failure {
                    transient: error.is_transient(),
                    may_pass: error.is_transient(),
                    for_memory: false,
                    some_for_memory: false,
                    message: error.to_string(),
                },
            };
            self.set_status("", PlanState::Failed, &failure.message);
            if !failure.transient {
                return Err(failure);
            }
            tracing::warn!(
                error = failure.message,
                retry_in_seconds = pause.as_secs(),
                "models cannot be loaded yet"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads a plan. One that is not valid changes nothing of what is under way.
    fn parse(&self, text: &[u8]) -> Option<Target> {
        let message = match Target::parse(text) {
            Ok(target) => return Some(target),
            Err(message) => message,
        };
        tracing::error!(
            error = message,
            "the serving plan is not valid; the one before stays in force"
        );
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = Some(PlanStatus {
            plan_sha256: plan_sha256(text),
            state: PlanState::Failed,
            message,
        });
        None
    }

    fn accept(&self, target: &Target) {
        tracing::info!(
            plan_sha256 = target.plan_sha256,
            models = target.models.len(),
            "a serving plan is there"
        );
        self.set_status(&target.plan_sha256, PlanState::Loading, "");
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Applies a plan, again and again with growing pauses, until it is carried out.
    async fn reach(self: Arc<Self>, target: Target) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(failure) = self.apply(&target).await else {
                return;
            };
            self.set_status(&target.plan_sha256, PlanState::Failed, &failure.message);
            let next = if failure.for_memory { MEMORY_PAUSE } else { pause };
            tracing::error!(
                error = failure.message,
                retry_in_seconds = next.as_secs(),
                "the serving plan cannot be carried out; what served before stays"
            );
            if failure.some_for_memory {
                let _ = tokio::time::timeout(next, self.memory_is_back.notified()).await;
            } else {
                tokio::time::sleep(next).await;
            }
            pause = failure.longer_pause(pause);
        }
    }

    /// Lets a model's staged versions answer, if all that are wanted are there.
    pub(super) fn switch(&self, model: &ModelTarget, holdings: &mut Holdings) {
        let key = |wanted: &VersionTarget| (model.name.clone(), wanted.version);
        if !model
            .versions
            .iter()
            .all(|wanted| holdings.is_staged(&key(wanted)))
        {
            return;
        }
        let mut versions = BTreeMap::new();
        for wanted in &model.versions {
            if let Some(loaded) = holdings.take_staged(&key(wanted)) {
                self.set_state(&key(wanted), loaded.digest.to_string(), State::Ready, "");
                versions.insert(wanted.version, loaded);
            }
        }
        self.registry.set_model(
            &model.name,
            ServedModel::new(model.default_version, versions, model.shares()),
        );
    }

    /// Unloads what served before and does so no more, once its last request is answered.
    pub(super) fn retire(self: &Arc<Self>, holdings: &mut Holdings) {
        let now = self.registry.all();
        for old in holdings.take_retired(&now) {
            let replaced = now
                .iter()
                .any(|serving| serving.name == old.name && serving.version == old.version);
            if !replaced {
                self.set_state(
                    &(old.name.clone(), old.version),
                    old.digest.to_string(),
                    State::Unloading,
                    "it finishes what it accepted",
                );
            }
            tokio::spawn(Arc::clone(self).unload(old));
        }
    }

    /// Removes files of versions that nobody needs: retired, never loadable, or an earlier process's.
    pub(super) async fn clean_cache(&self) {
        if let Some(cache) = self.loader.fetched() {
            let wanted = self.holdings.lock().await.wanted();
            cache.clean(wanted).await;
        }
    }

    pub(super) fn set_status(&self, plan_sha256: &str, state: PlanState, message: &str) {
        let status = PlanStatus {
            plan_sha256: plan_sha256.to_owned(),
            state,
            message: message.to_owned(),
        };
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
    }

    pub(super) fn set_state(&self, (model, version): &Key, digest: String, state: State, reason: &str) {
        self.registry.set_state(VersionStatus {
            model: model.clone(),
            version: *version,
            digest,
            state,
            reason: reason.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_broken_is_tried_less_and_less_and_what_may_come_is_looked_for() {
        for (may_pass, seconds) in [(true, 10), (false, 300)] {
            let failure = Failure {
                message: String::new(),
                transient: false,
                may_pass,
                for_memory: false,
                some_for_memory: false,
            };
            let pauses = std::iter::successors(Some(FIRST_PAUSE), |pause| Some(failure.longer_pause(*pause)));
            assert_eq!(pauses.take(20).last(), Some(Duration::from_secs(seconds)));
        }
    }
}
