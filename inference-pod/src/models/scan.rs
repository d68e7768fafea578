//! What a repository without a serving plan serves.

use aiops_model_repository::{Repository, RepositoryError};

use super::serving_plan::{ModelTarget, Target, VersionTarget};
use crate::configuration;

/// Every model of the repository, in the versions that its version policy chooses; the highest of them by default.
pub(super) async fn scan(repository: &Repository) -> Result<Target, RepositoryError> {
    let mut models = Vec::new();
    for name in repository.models().await? {
        let available = repository.versions(&name).await?;
        let Some(highest) = available.last().copied() else {
            continue;
        };
        let config = repository.config(&name, highest).await?;
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
        match versions.last() {
            Some(last) => models.push(ModelTarget {
                name,
                default_version: last.version,
                versions,
            }),
            None => tracing::warn!(
                model = name,
                "none of its versions is chosen by its version_policy"
            ),
        }
    }
    Ok(Target {
        plan_sha256: String::new(),
        models,
    })
}
