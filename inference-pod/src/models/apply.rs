//! One attempt to make what is served equal to what is wanted.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt as _, stream};

use super::LoadError;
use super::keeper::{Failure, Keeper, PlanState};
use super::registry::State;
use super::serving_plan::{ModelTarget, Target, VersionTarget};
use super::version::ModelVersion;

impl Keeper {
    /// One attempt. Versions are loaded side by side, as many as there are threads for, and a model is switched over as soon as
    /// all of its own are there, also when others cannot.
    pub(super) async fn apply(self: &Arc<Self>, target: &Target) -> Result<(), Failure> {
        let missing = self.stage_known(target).await;
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
                    self.switch(model, &mut holdings);
                    self.retire(&mut holdings);
                }
                Err(error) => {
                    errors.insert(place, (&model.name, version, error));
                }
            }
        }
        if !errors.is_empty() {
            self.clean_cache().await;
            return Err(failure(errors.into_values()));
        }
        self.registry
            .retain_models(|name| target.models.iter().any(|model| model.name == name));
        self.registry.retain_states(|status| {
            status.state == State::Unloading || target.wants(&status.model, status.version)
        });
        self.retire(&mut *self.holdings.lock().await);
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

    /// Stages what serves or is staged already and switches models of which that is all; answers the versions that have to be
    /// loaded, with their places in the target.
    async fn stage_known<'a>(
        self: &Arc<Self>,
        target: &'a Target,
    ) -> Vec<(usize, &'a ModelTarget, &'a VersionTarget)> {
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
            self.switch(model, &mut holdings);
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

fn failure<'a>(errors: impl Iterator<Item = (&'a String, u64, LoadError)>) -> Failure {
    let mut messages = Vec::new();
    let (mut transient, mut for_memory) = (true, true);
    for (model, version, error) in errors {
        messages.push(format!(
            "version {version} of model {model} cannot be loaded: {error}"
        ));
        transient &= error.is_transient();
        for_memory &= error.is_for_memory();
    }
    Failure {
        message: messages.join("; "),
        transient,
        for_memory,
    }
}
