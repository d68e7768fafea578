//! What a repository without a serving plan serves.

use aiops_model_repository::{Repository, RepositoryError};

use super::serving_plan::{ModelTarget, Target, VersionTarget};
use crate::configuration;

/// Stands for all models among those that a server is told to load.
const ALL: &str = "*";

/// The models of a repository, all or those that are `chosen`, in the versions that their version policies choose.
pub(super) async fn scan(
    repository: &Repository,
    chosen: Option<&[String]>,
) -> Result<Target, RepositoryError> {
    let chosen = chosen.filter(|names| !names.iter().any(|name| name == ALL));
    let mut names = match chosen {
        Some(names) => names.to_vec(),
        None => repository.models().await?,
    };
    let mut models: Vec<ModelTarget> = Vec::new();
    let mut next = 0;
    while let Some(name) = names.get(next).cloned() {
        next += 1;
        match model(repository, &name, None).await? {
            Some(target) if models.iter().all(|known| known.name != name) => {
                if chosen.is_some() {
                    names.extend(steps(repository, &target).await?);
                }
                models.push(target);
            }
            Some(_) => {}
            None if chosen.is_some() => {
                let what = format!("a version to serve of model {name} in {}", repository.location());
                return Err(RepositoryError::NotFound { what });
            }
            None => tracing::warn!(model = name, "it has no version that its version_policy chooses"),
        }
    }
    Ok(Target {
        plan_sha256: String::new(),
        models,
    })
}

/// The models that an ensemble is made of, which are served with it.
async fn steps(repository: &Repository, target: &ModelTarget) -> Result<Vec<String>, RepositoryError> {
    let mut names = Vec::new();
    for wanted in &target.versions {
        let config = repository.config(&target.name, wanted.version).await?;
        let ensemble = config.and_then(|text| configuration::read(&text).ok()?.ensemble);
        let steps = ensemble.into_iter().flat_map(|ensemble| ensemble.steps);
        names.extend(steps.map(|step| step.model).filter(|name| !name.is_empty()));
    }
    Ok(names)
}

/// A model in the versions that its version policy chooses, the highest of them by default; nothing when it chooses none.
/// The policy is that of the given configuration, else of the repository's.
pub(super) async fn model(
    repository: &Repository,
    name: &str,
    config: Option<&str>,
) -> Result<Option<ModelTarget>, RepositoryError> {
    let available = repository.versions(name).await?;
    let Some(highest) = available.last().copied() else {
        return Ok(None);
    };
    let config = match config {
        Some(text) => Some(text.to_owned()),
        None => repository.config(name, highest).await?,
    };
    // A configuration that cannot be read is an error of the load, which names it; here it chooses nothing.
    let policy = config
        .and_then(|text| configuration::read(&text).ok())
        .unwrap_or_default()
        .version_policy;
    let absent = policy.absent(&available);
    if !absent.is_empty() {
        tracing::warn!(model = name, versions = ?absent, "versions that its version_policy names are not there");
    }
    let versions: Vec<_> = policy
        .choose(&available)
        .into_iter()
        .map(|version| VersionTarget {
            version,
            digest: None,
            weight: 0,
        })
        .collect();
    Ok(versions
        .last()
        .map(|last| last.version)
        .map(|default_version| ModelTarget {
            name: name.to_owned(),
            default_version,
            sticky_header: None,
            versions,
        }))
}
