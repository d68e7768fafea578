//! Ensembles among the models that are kept: switched to after the models of their steps, loaded and unloaded with them
//! where a call asks for it, and told from their states when a model of their steps went away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aiops_model_repository::{Repository, RepositoryError};
use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};
use tokio::sync::OwnedMutexGuard;

use super::check::{check, circular};
use crate::configuration::EnsembleStep;
use crate::error::{InferenceError, Result};
use crate::models::holdings::Holdings;
use crate::models::keeper::Keeper;
use crate::models::registry::State;
use crate::models::scan;
use crate::models::serving_plan::ModelTarget;
use crate::models::version::ModelVersion;

/// Names of the models of an ensemble's steps; none for anything else.
fn steps_of(model: &ModelVersion) -> impl Iterator<Item = &EnsembleStep> {
    model.config.ensemble.iter().flat_map(|ensemble| &ensemble.steps)
}

/// Versions that steps ask for, by model.
type Steps = BTreeMap<String, Vec<Option<u64>>>;

fn steps_by_model<'a>(models: impl IntoIterator<Item = &'a ModelVersion>) -> Steps {
    let mut steps = Steps::new();
    for step in models.into_iter().flat_map(steps_of) {
        steps.entry(step.model.clone()).or_default().push(step.version);
    }
    steps
}

/// The models of the steps of a model's staged versions.
fn staged_steps(target: &ModelTarget, holdings: &Holdings) -> Steps {
    let wanted = target.versions.iter();
    let staged = wanted.filter_map(|wanted| holdings.staged(&(target.name.clone(), wanted.version)));
    steps_by_model(staged.map(Arc::as_ref))
}

/// Whether a staged version of a model is an ensemble.
pub(in crate::models) fn is_staged_ensemble(target: &ModelTarget, holdings: &Holdings) -> bool {
    !staged_steps(target, holdings).is_empty()
}

impl Keeper {
    /// Switches to staged ensembles, each after those that it is made of; answers why some could not be.
    pub(in crate::models) fn switch_ensembles(
        &self,
        mut waiting: Vec<&ModelTarget>,
        holdings: &mut Holdings,
    ) -> Vec<(String, String)> {
        let mut failed = Vec::new();
        while !waiting.is_empty() {
            let steps: Vec<_> = waiting
                .iter()
                .map(|target| staged_steps(target, holdings))
                .collect();
            let needs_none = |steps: &Steps| waiting.iter().all(|other| !steps.contains_key(&other.name));
            let Some(next) = steps.iter().position(needs_none) else {
                for target in waiting {
                    let why = self.in_a_circle(target, holdings);
                    self.tell_unfit(target, &why);
                    failed.push((target.name.clone(), why));
                }
                return failed;
            };
            let target = waiting.swap_remove(next);
            match self.check_staged(target, holdings) {
                Ok(()) => self.switch(target, holdings),
                Err(why) => {
                    self.tell_unfit(target, &why);
                    failed.push((target.name.clone(), why));
                }
            }
        }
        failed
    }

    /// Why an ensemble is still waiting when no other can be switched to.
    fn in_a_circle(&self, target: &ModelTarget, holdings: &Holdings) -> String {
        let name = &target.name;
        let mut seen = BTreeSet::new();
        let mut ahead = vec![name.clone()];
        while let Some(from) = ahead.pop() {
            for step in holdings.staged_of(&from).flat_map(|version| steps_of(version)) {
                if step.model == *name {
                    return circular(name, &from);
                }
                if seen.insert(step.model.clone()) {
                    ahead.push(step.model.clone());
                }
            }
        }
        format!("ensemble {name} depends on ensembles that are made of each other")
    }

    fn check_staged(&self, target: &ModelTarget, holdings: &Holdings) -> std::result::Result<(), String> {
        for wanted in &target.versions {
            if let Some(staged) = holdings.staged(&(target.name.clone(), wanted.version)) {
                check(staged, &self.registry).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn tell_unfit(&self, target: &ModelTarget, why: &str) {
        for wanted in &target.versions {
            let digest = wanted.digest.as_ref().map(ToString::to_string);
            let key = (target.name.clone(), wanted.version);
            self.set_state(&key, digest.unwrap_or_default(), State::Unavailable, why);
        }
    }

    /// Tells of every ensemble that is served whether it can answer.
    pub(in crate::models) fn refresh_ensembles(&self) {
        for ensemble in self.registry.all() {
            if ensemble.config.ensemble.is_none() {
                continue;
            }
            let (state, why) = match check(&ensemble, &self.registry) {
                Ok(()) => (State::Ready, String::new()),
                Err(error) => (State::Unavailable, error.to_string()),
            };
            if state == State::Unavailable {
                tracing::warn!(
                    model = ensemble.name,
                    version = ensemble.version,
                    error = why,
                    "an ensemble that is served cannot answer"
                );
            }
            let key = (ensemble.name.clone(), ensemble.version);
            self.set_state(&key, ensemble.digest.to_string(), state, &why);
        }
    }

    /// Loads all versions of a model that a call asks for and, of an ensemble, the models of its steps that are not there,
    /// as Triton does; then switches to it. `above` are the ensembles that it is loaded for, `turn` is its own.
    pub(in crate::models) fn load_target<'a>(
        self: &'a Arc<Self>,
        source: &'a Repository,
        target: &'a ModelTarget,
        config: Option<&'a str>,
        above: &'a [String],
        turn: OwnedMutexGuard<()>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            let versions = self.load_all(source, target, config).await?;
            let steps = steps_by_model(&versions);
            let _turn = if steps.iter().all(|(model, versions)| self.has(model, versions)) {
                turn
            } else {
                // Who waits for others' turns has none: calls for ensembles of each other would wait for ever.
                drop(turn);
                let loaded = self.load_steps(target, &steps, above).await;
                loaded.map_err(|error| self.not_loaded(target, target.default_version, error))?;
                self.turns.wait(&target.name).await
            };
            let mut holdings = self.holdings.lock().await;
            for version in versions {
                holdings.stage((version.name.clone(), version.version), version);
            }
            if let Err(why) = self.check_staged(target, &holdings) {
                holdings.unstage(&target.name);
                let error = InferenceError::invalid(why);
                return Err(self.not_loaded(target, target.default_version, error));
            }
            self.switch(target, &mut holdings);
            self.retire(&mut holdings);
            Ok(())
        }
        .boxed()
    }

    fn has(&self, model: &str, versions: &[Option<u64>]) -> bool {
        let is_there = |version: &Option<u64>| !self.registry.candidates(model, *version).is_empty();
        versions.iter().all(is_there)
    }

    /// Side by side. All are waited for, also when one fails.
    async fn load_steps(
        self: &Arc<Self>,
        target: &ModelTarget,
        steps: &Steps,
        above: &[String],
    ) -> Result<()> {
        let above = [above, std::slice::from_ref(&target.name)].concat();
        let mut waiting = Vec::new();
        for (model, versions) in steps {
            if self.has(model, versions) {
                continue;
            }
            if above.contains(model) {
                return Err(InferenceError::invalid(circular(model, &target.name)));
            }
            waiting.push(self.load_step(model, versions, &above));
        }
        join_all(waiting).await.into_iter().collect()
    }

    async fn load_step(
        self: &Arc<Self>,
        model: &str,
        versions: &[Option<u64>],
        above: &[String],
    ) -> Result<()> {
        let turn = self.turns.wait(model).await;
        // Whoever had the turn before may have loaded it.
        if self.has(model, versions) {
            return Ok(());
        }
        let repository = &self.loader.repository;
        match scan::model(repository, model, None).await {
            Ok(Some(step)) => self.load_target(repository, &step, None, above, turn).await,
            Err(error @ RepositoryError::Unreachable { .. }) => {
                Err(InferenceError::unavailable(format!("model {model}: {error}")))
            }
            // What is not in the repository is told of with all else that is missing.
            Ok(None) | Err(_) => Ok(()),
        }
    }

    /// The models that what stays is made of.
    pub(in crate::models) fn steps_of_those(&self, stays: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let all = self.registry.all();
        let mut ahead: Vec<_> = all.iter().filter(|model| stays(&model.name)).collect();
        let mut needed = BTreeSet::new();
        while let Some(ensemble) = ahead.pop() {
            for step in steps_of(ensemble) {
                if needed.insert(step.model.clone()) {
                    ahead.extend(all.iter().filter(|model| model.name == step.model));
                }
            }
        }
        needed
    }

    /// The models that are unloaded together with an ensemble: those of its steps, and of theirs, but for what another
    /// ensemble that stays is made of.
    pub(in crate::models) fn with_dependents(&self, name: &str) -> BTreeSet<String> {
        let all = self.registry.all();
        let steps = |name: &str| -> Vec<String> {
            let versions = all.iter().filter(|model| model.name == name);
            versions
                .flat_map(|model| steps_of(model))
                .map(|step| step.model.clone())
                .collect()
        };
        let mut leaving = BTreeSet::from([name.to_owned()]);
        let mut ahead = steps(name);
        while let Some(model) = ahead.pop() {
            if leaving.insert(model.clone()) {
                ahead.extend(steps(&model));
            }
        }
        loop {
            let needed: Vec<_> = all
                .iter()
                .filter(|model| !leaving.contains(&model.name))
                .flat_map(|model| steps_of(model))
                .map(|step| step.model.clone())
                .filter(|model| model != name && leaving.contains(model))
                .collect();
            if needed.is_empty() {
                return leaving;
            }
            leaving.retain(|model| !needed.contains(model));
        }
    }
}
