//! The keeper: makes what is served equal to what is wanted. New versions are loaded beside the old ones, a model is
//! switched over when all of its versions can answer, and old ones end when they have answered what they accepted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::ensemble::is_staged_ensemble;
use super::holdings::{Holdings, Key};
use super::loader::Loader;
use super::registry::{Registry, ServedModel, State, VersionStatus};
use super::scan::scan;
use super::serving_plan::{ModelTarget, Target, VersionTarget, plan_sha256};
use super::unload::unload;
use crate::error::InferenceError;
use crate::lifecycle::Lifecycle;

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
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
}

/// The keeper. One at a time follows a plan or a repository.
pub struct Keeper {
    pub(super) loader: Loader,
    pub(super) registry: Arc<Registry>,
    lifecycle: Arc<Lifecycle>,
    status: Mutex<PlanStatus>,
    pub(super) holdings: Arc<tokio::sync::Mutex<Holdings>>,
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
        let holdings = Holdings::new(loader.cache_folder());
        Self {
            loader,
            registry,
            lifecycle,
            status: Mutex::new(status),
            holdings: Arc::new(tokio::sync::Mutex::new(holdings)),
            started: AtomicBool::new(false),
        }
    }

    /// How far the plan is carried out.
    pub fn status(&self) -> PlanStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Follows the plan in a file for ever. A change replaces what is under way.
    pub async fn follow_plan(self: Arc<Self>, path: PathBuf) {
        let mut last_text: Option<Vec<u8>> = None;
        let mut work: Option<AbortOnDropHandle<()>> = None;
        let mut ticks = tokio::time::interval(PLAN_PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match tokio::fs::read(&path).await {
                Ok(text) if last_text.as_ref() == Some(&text) => {}
                Ok(text) => {
                    // Waited for, as an aborted task still runs to its next pause, and may tell the old plan's state there.
                    if let Some(old) = work.take() {
                        old.abort();
                        let _ = old.await;
                    }
                    work = self.accept(&text).map(|target| {
                        let keeper = Arc::clone(&self);
                        AbortOnDropHandle::new(tokio::spawn(async move { keeper.reach(target).await }))
                    });
                    last_text = Some(text);
                }
                Err(error) if last_text.is_none() => {
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
    pub async fn serve_repository(&self, chosen: Option<&[String]>) -> Result<(), Failure> {
        let served = self.try_to_serve(chosen).await;
        self.started.store(true, Ordering::SeqCst);
        served
    }

    async fn try_to_serve(&self, chosen: Option<&[String]>) -> Result<(), Failure> {
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

    fn accept(&self, text: &[u8]) -> Option<Target> {
        match Target::parse(text) {
            Ok(target) => {
                tracing::info!(
                    plan_sha256 = target.plan_sha256,
                    models = target.models.len(),
                    "a serving plan is there"
                );
                self.set_status(&target.plan_sha256, PlanState::Loading, "");
                Some(target)
            }
            Err(message) => {
                tracing::error!(
                    error = message,
                    "the serving plan is not valid; what served before stays"
                );
                self.set_status(&plan_sha256(text), PlanState::Failed, &message);
                None
            }
        }
    }

    /// Applies a plan, again and again with growing pauses, until it is carried out.
    async fn reach(&self, target: Target) {
        let mut pause = FIRST_PAUSE;
        loop {
            let Err(failure) = self.apply(&target).await else {
                return;
            };
            self.set_status(&target.plan_sha256, PlanState::Failed, &failure.message);
            tracing::error!(
                error = failure.message,
                retry_in_seconds = pause.as_secs(),
                "the serving plan cannot be carried out; what served before stays"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One attempt. Models that can be switched over are, also when others cannot.
    async fn apply(&self, target: &Target) -> Result<(), Failure> {
        let mut holdings = self.holdings.lock().await;
        holdings.want(target);
        let mut errors = Vec::new();
        let mut transient = true;
        let mut ensembles = Vec::new();
        for model in &target.models {
            for wanted in &model.versions {
                if let Err(error) = self.stage(model, wanted, &mut holdings).await {
                    let number = wanted.version;
                    errors.push(format!(
                        "version {number} of model {} cannot be loaded: {error}",
                        model.name
                    ));
                    transient &= error.is_transient();
                }
            }
            if is_staged_ensemble(model, &holdings) {
                ensembles.push(model);
            } else {
                self.switch(model, &mut holdings);
            }
        }
        let may_pass = !errors.is_empty() && transient;
        for (model, why) in self.switch_ensembles(ensembles, &mut holdings) {
            // It may wait for a model that could not be loaded yet.
            transient = may_pass;
            errors.push(format!("model {model} cannot be served: {why}"));
        }
        if !errors.is_empty() {
            self.retire(&mut holdings);
            self.refresh_ensembles();
            holdings.clean_cache().await;
            return Err(Failure {
                message: errors.join("; "),
                transient,
            });
        }
        self.registry
            .retain_models(|name| target.models.iter().any(|model| model.name == name));
        self.registry.retain_states(|status| {
            status.state == State::Unloading || target.wants(&status.model, status.version)
        });
        self.retire(&mut holdings);
        self.set_status(&target.plan_sha256, PlanState::Applied, "");
        self.lifecycle.declared_models_serve();
        tracing::info!(
            plan_sha256 = target.plan_sha256,
            models = target.models.len(),
            "all wanted models serve"
        );
        holdings.clean_cache().await;
        Ok(())
    }

    /// Loads a version unless it serves or is staged already.
    async fn stage(
        &self,
        model: &ModelTarget,
        wanted: &VersionTarget,
        holdings: &mut Holdings,
    ) -> Result<(), super::LoadError> {
        let key = (model.name.clone(), wanted.version);
        if holdings.stage_known(&key, wanted) {
            return Ok(());
        }
        let promised = wanted
            .digest
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default();
        self.set_state(&key, promised.clone(), State::Loading, "");
        match self
            .loader
            .load(&model.name, wanted.version, wanted.digest.as_ref())
            .await
        {
            Ok(loaded) => {
                holdings.stage(key, loaded);
                Ok(())
            }
            Err(error) => {
                self.set_state(&key, promised, State::Unavailable, &error.to_string());
                Err(error)
            }
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
        let weights = model
            .versions
            .iter()
            .map(|wanted| (wanted.version, wanted.weight))
            .collect();
        self.registry.set_model(
            &model.name,
            ServedModel::new(model.default_version, versions, weights),
        );
    }

    /// Unloads what served before and does so no more, once its last request is answered.
    pub(super) fn retire(&self, holdings: &mut Holdings) {
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
            let (registry, holdings) = (Arc::clone(&self.registry), Arc::clone(&self.holdings));
            tokio::spawn(unload(old, registry, holdings));
        }
    }

    fn set_status(&self, plan_sha256: &str, state: PlanState, message: &str) {
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
