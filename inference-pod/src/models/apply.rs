//! One attempt to make what is served equal to what is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};

use super::LoadError;
use super::ensemble::is_staged_ensemble;
use super::holdings::Holdings;
use super::keeper::{Failure, Keeper, PlanState};
use super::registry::State;
use super::serving_plan::{ModelTarget, Target, VersionTarget};
use super::version::ModelVersion;

/// A version to be loaded, with its place in the target.
type Missing<'a> = (usize, &'a ModelTarget, &'a VersionTarget);

/// A version of a model that could not be loaded.
type Failed<'a> = (&'a str, u64, LoadError);

impl Keeper {
    /// One attempt. Versions are loaded side by side, as many as there are threads for, and a model is switched over as soon as
    /// all of its own are there, also when others cannot; an ensemble after the models that it is made of.
    pub(super) async fn apply(self: &Arc<Self>, target: &Target) -> Result<(), Failure> {
        let missing = self.stage_known(target).await;
        let errors = self.load_missing(missing).await;
        let mut holdings = self.holdings.lock().await;
        let failure = failure(errors, self.switch_all_ensembles(target, &mut holdings));
        if let Some(failure) = failure {
            // What fails may need the memory of what is not wanted any more.
            self.remove_unnamed(target);
            self.retire(&mut holdings);
            self.refresh_ensembles();
            drop(holdings);
            self.clean_cache().await;
            return Err(failure);
        }
        self.registry
            .retain_models(|name| target.models.iter().any(|model| model.name == name));
        self.registry.retain_states(|status| {
            status.state == State::Unloading || target.wants(&status.model, status.version)
        });
        self.retire(&mut holdings);
        self.refresh_ensembles();
        drop(holdings);
        self.set_status(&target.plan_sha256, PlanState::Applied, "");
        self.lifecycle.declared_models_serve();
        tracing::info!(
            plan_sha256 = target.plan_sha256,
            models = target.models.len(),
            "all wanted models serve"
        );
        self.clean_cache().await;
        Ok(())
    }

    /// Removes models that the target does not name, but for those that an ensemble is made of that goes on serving.
    fn remove_unnamed(&self, target: &Target) {
        let named = |name: &str| target.models.iter().any(|model| model.name == name);
        let needed = self.steps_of_those(named);
        let stays = |name: &str| named(name) || needed.contains(name);
        self.registry.retain_models(stays);
        self.registry
            .retain_states(|status| status.state == State::Unloading || stays(&status.model));
    }

    /// Loads versions and switches to the models of which they were the last; answers what could not be loaded, in the order of
    /// the target.
    async fn load_missing<'a>(self: &Arc<Self>, missing: Vec<Missing<'a>>) -> Vec<Failed<'a>> {
        let mut waiting = Vec::new();
        for (place, model, wanted) in missing {
            waiting.push(async move {
                let loaded = self.load_wanted(model, wanted).await;
                (place, model, wanted.version, loaded)
            });
        }
        let mut loads = stream::iter(waiting).buffer_unordered(self.loader.threads.count());
        let mut errors = BTreeMap::new();
        while let Some((place, model, version, loaded)) = loads.next().await {
            match loaded {
                Ok(loaded) => {
                    let mut holdings = self.holdings.lock().await;
                    holdings.stage((model.name.clone(), version), loaded);
                    self.switch_unless_ensemble(model, &mut holdings);
                    self.retire(&mut holdings);
                }
                Err(error) => {
                    errors.insert(place, (model.name.as_str(), version, error));
                }
            }
        }
        errors.into_values().collect()
    }

    fn switch_unless_ensemble(&self, model: &ModelTarget, holdings: &mut Holdings) {
        if !is_staged_ensemble(model, holdings) {
            self.switch(model, holdings);
        }
    }

    /// Answers why some could not be switched to.
    fn switch_all_ensembles(&self, target: &Target, holdings: &mut Holdings) -> Vec<(String, String)> {
        let models = target.models.iter();
        let ensembles = models
            .filter(|model| is_staged_ensemble(model, holdings))
            .collect();
        self.switch_ensembles(ensembles, holdings)
    }

    /// Stages what serves or is staged already and switches models of which that is all; answers the versions that have to be
    /// loaded, with their places in the target.
    async fn stage_known<'a>(self: &Arc<Self>, target: &'a Target) -> Vec<Missing<'a>> {
        let mut holdings = self.holdings.lock().await;
        holdings.want(target);
        let all = target.models.iter().flat_map(|model| {
            let versions = model.versions.iter();
            versions.map(move |wanted| (model, wanted))
        });
        let mut missing = Vec::new();
        for (place, (model, wanted)) in all.enumerate() {
            let key = (model.name.clone(), wanted.version);
            if !holdings.stage_known(&key, wanted) {
                self.set_state(&key, promised(wanted), State::Loading, "");
                missing.push((place, model, wanted));
            }
        }
        for model in &target.models {
            self.switch_unless_ensemble(model, &mut holdings);
        }
        self.retire(&mut holdings);
        missing
    }

    async fn load_wanted(
        &self,
        model: &ModelTarget,
        wanted: &VersionTarget,
    ) -> Result<ModelVersion, LoadError> {
        let (version, digest) = (wanted.version, wanted.digest.as_ref());
        let loaded = self.loader.load(&model.name, version, digest).await;
        loaded.inspect_err(|error| {
            let key = (model.name.clone(), version);
            self.set_state(&key, promised(wanted), State::Unavailable, &error.to_string());
        })
    }
}

/// The digest that a version has to have, for its state.
fn promised(wanted: &VersionTarget) -> String {
    let digest = wanted.digest.as_ref();
    digest.map(ToString::to_string).unwrap_or_default()
}

/// What the versions that could not be loaded and the ensembles that could not be switched to come to; nothing without any.
fn failure(versions: Vec<Failed<'_>>, ensembles: Vec<(String, String)>) -> Option<Failure> {
    if versions.is_empty() && ensembles.is_empty() {
        return None;
    }
    // An ensemble alone stays as it is; beside a version that failed it may be waiting for that one.
    let (mut transient, mut for_memory) = (!versions.is_empty(), !versions.is_empty());
    let (mut may_pass, mut some_for_memory) = (false, false);
    let mut messages = Vec::new();
    for (model, version, error) in versions {
        messages.push(format!(
            "version {version} of model {model} cannot be loaded: {error}"
        ));
        transient &= error.is_transient();
        for_memory &= error.is_for_memory();
        may_pass |= error.may_pass();
        some_for_memory |= error.is_for_memory();
    }
    let ensembles = ensembles.into_iter();
    messages.extend(ensembles.map(|(model, why)| format!("model {model} cannot be served: {why}")));
    Some(Failure {
        message: messages.join("; "),
        transient,
        may_pass,
        for_memory,
        some_for_memory,
    })
}
