//! The model repository extension: what there is, loading it and unloading it, whichever protocol asks.

use std::sync::Arc;

use bytes::Bytes;

use super::Service;
use crate::configuration;
use crate::error::{InferenceError, Result};
use crate::models::{Keeper, Override, State, VersionStatus};

/// Who decides what is served.
pub enum ModelControl {
    /// The repository, when the server starts.
    Repository,
    /// The serving plan.
    ServingPlan,
    /// Calls of clients.
    Explicit(Arc<Keeper>),
}

/// A parameter of a call that loads a model.
pub(super) enum LoadParameter {
    Text(String),
    Content(Bytes),
    Other,
}

/// What the repository index lists.
pub(super) struct Index {
    /// Versions that are known.
    pub(super) versions: Vec<VersionStatus>,
    /// Models that were never loaded.
    pub(super) others: Vec<String>,
}

impl ModelControl {
    fn keeper(&self) -> Result<Arc<Keeper>> {
        match self {
            Self::Explicit(keeper) => Ok(Arc::clone(keeper)),
            Self::Repository => Err(InferenceError::unavailable(
                "explicit model load / unload is not allowed if polling is enabled: start the server with --model-control-mode=explicit",
            )),
            Self::ServingPlan => Err(InferenceError::unsupported(
                "explicit model load / unload is not allowed: this server follows its serving plan",
            )),
        }
    }
}

/// Known versions; with `ready`, only those that answer.
pub(super) async fn index(service: &Service, ready: bool) -> Result<Index> {
    let mut versions = service.registry.states();
    versions.retain(|status| !ready || status.state == State::Ready);
    let mut others = match &service.control {
        ModelControl::Explicit(keeper) if !ready => keeper.repository_models().await?,
        _ => Vec::new(),
    };
    others.retain(|name| versions.iter().all(|status| status.model != *name));
    Ok(Index { versions, others })
}

/// Loads a model. It goes on when the client that asked for it goes away, and keeps its share of the memory for as long.
pub(super) async fn load(
    service: &Service,
    model: String,
    parameters: impl IntoIterator<Item = (String, LoadParameter)>,
    share: impl Send + 'static,
) -> Result<()> {
    let keeper = service.control.keeper()?;
    let given = overrides(&model, parameters)?;
    let work = async move {
        let loaded = keeper.load_model(&model, given).await;
        drop(share);
        loaded
    };
    done(tokio::spawn(work)).await
}

/// Unloads a model; with its dependents, the models of an ensemble's steps too.
pub(super) async fn unload(service: &Service, model: String, with_dependents: bool) -> Result<()> {
    let keeper = service.control.keeper()?;
    let work = async move { keeper.unload_model(&model, with_dependents).await };
    done(tokio::spawn(work)).await
}

async fn done(task: tokio::task::JoinHandle<Result<()>>) -> Result<()> {
    task.await
        .unwrap_or_else(|panic| Err(InferenceError::internal(format!("the call failed: {panic}"))))
}

fn overrides(model: &str, parameters: impl IntoIterator<Item = (String, LoadParameter)>) -> Result<Override> {
    let mut given = Override::default();
    for (name, value) in parameters {
        match (name.strip_prefix("file:"), value) {
            (Some(path), LoadParameter::Content(content)) => given.files.push((path.to_owned(), content)),
            (None, LoadParameter::Text(json)) if name == "config" => {
                let text = configuration::from_json(&json).map_err(|error| {
                    InferenceError::invalid(format!("failed to load '{model}': parameter 'config': {error}"))
                })?;
                given.config = Some(text);
            }
            (Some(_), _) => return Err(misfit(&name, "bytes, over HTTP as base64")),
            (None, _) if name == "config" => return Err(misfit(&name, "a string of JSON")),
            (None, _) => {
                return Err(InferenceError::invalid(format!(
                    "unrecognized load parameter '{name}'. There are 'config' and 'file:<path>'"
                )));
            }
        }
    }
    Ok(given)
}

fn misfit(name: &str, wanted: &str) -> InferenceError {
    InferenceError::invalid(format!(
        "invalid value type for load parameter '{name}', expected {wanted}"
    ))
}
