//! Models that are loaded and unloaded by call: the model repository extension.

use std::path::{Component, Path};
use std::sync::Arc;

use aiops_model_repository::{Cache, Given, Location, Repository, RepositoryError};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::LoadError;
use super::keeper::Keeper;
use super::registry::State;
use super::scan;
use super::serving_plan::ModelTarget;
use super::version::ModelVersion;
use crate::error::{InferenceError, Result};

/// What a call gives in the place of what the repository holds.
#[derive(Debug, Default)]
pub struct Override {
    /// The configuration, as the text of `config.pbtxt`.
    pub config: Option<String>,
    /// Files by their paths in the model's folder. With any, they are all that the model has.
    pub files: Vec<(String, Bytes)>,
}

impl Override {
    /// A repository of the given files; nothing where there are none. It is gone when the folder is dropped.
    fn repository(&self, model: &str, cache: &Cache) -> std::io::Result<Option<Given>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let folder = cache.given()?;
        for (path, content) in &self.files {
            let file = folder.path().join(model).join(path);
            std::fs::create_dir_all(file.parent().unwrap_or(folder.path()))?;
            std::fs::write(file, content)?;
        }
        Ok(Some(folder))
    }

    fn check(&self, model: &str) -> Result<()> {
        if !self.files.is_empty() && self.config.is_none() {
            return Err(InferenceError::invalid(format!(
                "failed to load '{model}': 'file:' contents need the parameter 'config' with the model's configuration"
            )));
        }
        let stays_inside = |path: &str| {
            let parts = || Path::new(path).components();
            parts().next().is_some() && parts().all(|part| matches!(part, Component::Normal(_)))
        };
        // A path says the same with a slash or a dot behind it, a name does not.
        if !stays_inside(model) || model.contains(['/', '\\', '\0']) {
            return Err(InferenceError::invalid(format!(
                "failed to load '{model}': the name of a model is that of one folder"
            )));
        }
        match self.files.iter().find(|(path, _)| !stays_inside(path)) {
            Some((path, _)) => Err(InferenceError::invalid(format!(
                "failed to load '{model}': 'file:{path}' must be a path inside the model's folder, such as 'file:1/model.onnx'"
            ))),
            None => Ok(()),
        }
    }
}

impl Keeper {
    /// Names of all models that the repository holds.
    pub async fn repository_models(&self) -> Result<Vec<String>> {
        let models = self.loader.repository.models().await;
        models.map_err(|error| InferenceError::unavailable(format!("the repository cannot be read: {error}")))
    }

    /// Loads a model, or loads it anew: what served goes on until all versions of the new one can answer, and stays when one
    /// of them cannot.
    pub async fn load_model(self: &Arc<Self>, name: &str, given: Override) -> Result<()> {
        self.check_started()?;
        given.check(name)?;
        let turn = self.turns.wait(name).await;
        let cache = self.loader.cache.clone();
        let (model, written) = (name.to_owned(), tokio::task::spawn_blocking);
        let (given, folder) = written(move || {
            let folder = given.repository(&model, &cache);
            (given.config, folder)
        })
        .await
        .map_err(|panic| InferenceError::internal(panic.to_string()))?;
        let folder = folder.map_err(|error| {
            InferenceError::internal(format!(
                "failed to load '{name}': its files cannot be written: {error}"
            ))
        })?;
        let not_polled = |why: String| {
            InferenceError::internal(format!(
                "failed to load '{name}', failed to poll from model repository: {why}"
            ))
        };
        let source = match &folder {
            Some(folder) => Repository::open(Location::Folder(folder.path().to_owned())),
            None => Ok(self.loader.repository.clone()),
        };
        let source = source.map_err(|error| not_polled(error.to_string()))?;
        let listing = scan::model(&source, name, given.as_deref());
        let Some(polled) = self.turns.unless_called_off(name, listing).await else {
            return Err(called_off(&format!("failed to load '{name}'")));
        };
        let target = match polled {
            Ok(Some(target)) => target,
            Ok(None) => {
                return Err(not_polled(format!(
                    "it has no version that its version_policy chooses; a version is a folder such as {name}/1"
                )));
            }
            Err(error @ RepositoryError::Unreachable { .. }) => {
                return Err(InferenceError::unavailable(format!(
                    "failed to load '{name}': {error}"
                )));
            }
            Err(error) => return Err(not_polled(error.to_string())),
        };
        let loaded = self
            .load_target(&source, &target, given.as_deref(), &[], turn)
            .await;
        let holdings = self.holdings.lock().await;
        self.refresh_ensembles();
        drop(holdings);
        self.clean_cache().await;
        loaded
    }

    /// Loads all versions of a model side by side. Where one fails, what served is what is known again.
    pub(super) async fn load_all(
        &self,
        source: &Repository,
        target: &ModelTarget,
        config: Option<&str>,
    ) -> Result<Vec<ModelVersion>> {
        let name = &target.name;
        for wanted in &target.versions {
            self.set_state(&(name.clone(), wanted.version), String::new(), State::Loading, "");
        }
        let mut waiting = Vec::new();
        for version in target.versions.iter().map(|wanted| wanted.version) {
            waiting.push(async move {
                let loaded = self.loader.load_from(source, name, version, None, config).await;
                loaded.map_err(|error| (version, error))
            });
        }
        let loads = stream::iter(waiting).buffer_unordered(self.loader.threads.count());
        let loaded = self.turns.unless_called_off(name, loads.try_collect()).await;
        let Some(loaded): Option<Result<_, (u64, LoadError)>> = loaded else {
            let error = called_off("given up");
            return Err(self.not_loaded(target, target.default_version, error));
        };
        loaded.map_err(|(version, error)| {
            let why = error.to_string();
            let error = if error.is_transient() || error.is_for_memory() {
                InferenceError::unavailable(why)
            } else {
                InferenceError::invalid(why)
            };
            self.not_loaded(target, version, error)
        })
    }

    /// Tells of a model that cannot be loaded; what served goes on.
    pub(super) fn not_loaded(
        &self,
        target: &ModelTarget,
        version: u64,
        error: InferenceError,
    ) -> InferenceError {
        for wanted in &target.versions {
            let key = (target.name.clone(), wanted.version);
            match self.registry.find(&key.0, Some(key.1)) {
                Ok(serving) => self.set_state(&key, serving.digest.to_string(), State::Ready, ""),
                Err(_) => self.set_state(&key, String::new(), State::Unavailable, &error.message),
            }
        }
        InferenceError {
            message: format!(
                "load failed for model '{}': version {version} is at UNAVAILABLE state: {};",
                target.name, error.message
            ),
            ..error
        }
    }

    /// Unloads a model, once its last request is answered; with its dependents, an ensemble and the models of its steps. One
    /// that is not loaded is left as it is, and one that is being loaded is given up: its store may hang.
    pub async fn unload_model(self: &Arc<Self>, name: &str, with_dependents: bool) -> Result<()> {
        self.check_started()?;
        self.turns.call_off(name);
        let _turn = self.turns.wait(name).await;
        let mut holdings = self.holdings.lock().await;
        let leaving = if with_dependents {
            self.with_dependents(name)
        } else {
            [name.to_owned()].into()
        };
        self.registry.retain_models(|model| !leaving.contains(model));
        self.retire(&mut holdings);
        self.refresh_ensembles();
        Ok(())
    }
}

fn called_off(what: &str) -> InferenceError {
    InferenceError::unavailable(format!(
        "{what}: the model was unloaded while it was being loaded"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_in_the_folder_of_their_model_and_come_with_a_configuration() {
        let files = |path: &str, config: Option<&str>| Override {
            config: config.map(str::to_owned),
            files: vec![(path.to_owned(), Bytes::from_static(b"x"))],
        };
        files("1/model.onnx", Some("")).check("m").unwrap();
        for (model, given, part) in [
            ("m", files("1/model.onnx", None), "need the parameter 'config'"),
            (
                "m",
                files("../n/1/model.onnx", Some("")),
                "inside the model's folder",
            ),
            ("m", files("/etc/passwd", Some("")), "inside the model's folder"),
            ("m", files("", Some("")), "inside the model's folder"),
            ("../m", Override::default(), "one folder"),
            ("a/b", Override::default(), "one folder"),
            ("a/", Override::default(), "one folder"),
            ("a/.", Override::default(), "one folder"),
            ("a\0", Override::default(), "one folder"),
        ] {
            let error = given.check(model).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }
}
