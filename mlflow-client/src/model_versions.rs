//! Versions of registered models: made once per object that asks for them, whatever happens on the way.

use std::fmt;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::UID_TAG;
use crate::client::{API, Client};
use crate::error::{Error, ErrorKind};
use crate::filter::Filter;
use crate::wire::{self, Nothing, Tag, tag_value};

/// How many versions one page of a search has; MLflow allows 200 000.
const VERSIONS_PER_PAGE: &str = "1000";

/// Stage of a version. MLflow calls stages deprecated and has them all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// In no stage.
    #[default]
    None,
    /// Being tried.
    Staging,
    /// In use.
    Production,
    /// No longer in use.
    Archived,
}

impl Stage {
    /// MLflow's name of the stage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Staging => "Staging",
            Self::Production => "Production",
            Self::Archived => "Archived",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::None, Self::Staging, Self::Production, Self::Archived]
            .into_iter()
            .find(|stage| stage.as_str().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// How far the registration of a version is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum ModelVersionStatus {
    /// Being registered.
    #[serde(rename = "PENDING_REGISTRATION")]
    Pending,
    /// Not registered after all.
    #[serde(rename = "FAILED_REGISTRATION")]
    Failed,
    /// Registered; versions on a SQL store are so at once.
    #[serde(rename = "READY")]
    Ready,
    /// A state that this client does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A version of a registered model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ModelVersion {
    /// Name of the registered model.
    pub name: String,
    /// Number of the version, from 1, as text. Numbers of deleted versions are not given again.
    pub version: String,
    /// Stage in the server's words: see [`ModelVersion::stage`].
    pub current_stage: String,
    /// Where the model's files are.
    pub source: String,
    /// The run that made the model; empty where it is not known.
    pub run_id: String,
    /// How far the registration is.
    pub status: ModelVersionStatus,
    /// Description for people.
    pub description: String,
    /// When it was made, in milliseconds since 1970.
    #[serde(rename = "creation_timestamp", deserialize_with = "wire::deserialize_i64")]
    pub creation_time_milliseconds: i64,
    /// Tags of the version.
    pub tags: Vec<Tag>,
    /// Aliases that point at the version.
    pub aliases: Vec<String>,
}

impl ModelVersion {
    /// The stage, or `None` where the server has one of its own.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        if self.current_stage.is_empty() {
            Some(Stage::None)
        } else {
            Stage::from_name(&self.current_stage)
        }
    }

    /// The version as a number: what versions are ordered by.
    #[must_use]
    pub fn number(&self) -> Option<u64> {
        self.version.parse().ok()
    }

    /// The logged model (`m-…`) that the source is, or is in: `models:/m-…` or `…/models/m-…/artifacts`. MLflow takes
    /// a version's `model_id` and does not give it back.
    #[must_use]
    pub fn logged_model_id(&self) -> Option<&str> {
        let segments: Vec<&str> = self.source.split('/').collect();
        segments.windows(2).find_map(|pair| match pair {
            ["models" | "models:", id] if id.starts_with("m-") => Some(*id),
            _ => None,
        })
    }

    /// Value of the tag `key`.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        tag_value(&self.tags, key)
    }
}

/// A version to make.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewModelVersion {
    /// Name of the registered model.
    pub name: String,
    /// Where the model's files are. `mlflow-artifacts:/…` must be the place of the logged model that `model_id` names
    /// or a place in the run that `run_id` names; `s3://…` needs neither.
    pub source: String,
    /// The run that made the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// The logged model (`m-…`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_id: Option<String>,
    /// Tags of the version.
    pub tags: Vec<Tag>,
    /// Description for people.
    pub description: String,
}

#[derive(Deserialize)]
pub(crate) struct ModelVersionAnswer {
    pub(crate) model_version: ModelVersion,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ModelVersionsPage {
    model_versions: Vec<ModelVersion>,
    next_page_token: String,
}

impl Client {
    /// Makes a version. Not idempotent: see [`Client::ensure_model_version`].
    ///
    /// # Errors
    /// `NotFound` where there is no such registered model, `InvalidRequest` where the source is not the run's or the
    /// logged model's.
    pub async fn create_model_version(&self, version: &NewModelVersion) -> Result<ModelVersion, Error> {
        let answer: ModelVersionAnswer = self
            .post(&format!("{API}/model-versions/create"), version)
            .await?;
        Ok(answer.model_version)
    }

    /// The version of `version.name` that has the tag [`UID_TAG`] = `uid`, made from `version` (and the registered
    /// model with it) where there is none.
    ///
    /// A version whose creation succeeded although its answer was lost is found, by this call or by the next. Where
    /// two exist all the same, the one with the lowest number is the one: the others came later and are deleted.
    ///
    /// # Errors
    /// Those of [`Client::create_model_version`] and [`Client::get_or_create_registered_model`].
    pub async fn ensure_model_version(
        &self,
        uid: &str,
        version: NewModelVersion,
    ) -> Result<ModelVersion, Error> {
        self.get_or_create_registered_model(&version.name, &[], "")
            .await?;
        if let Some(existing) = self.model_version_by_uid(&version.name, uid).await? {
            return Ok(existing);
        }
        let mut version = version;
        version.tags.retain(|tag| tag.key != UID_TAG);
        version.tags.push(Tag::new(UID_TAG, uid));
        let created = self.create_model_version(&version).await;
        if let Err(error) = &created
            && !error.is_retryable()
        {
            return created;
        }
        // Also after a success: a creation whose answer was lost a call ago may have become visible only now.
        match (self.model_version_by_uid(&version.name, uid).await, created) {
            (Ok(Some(found)), _) => Ok(found),
            (Ok(None) | Err(_), Err(error)) => Err(error),
            (Ok(None), Ok(created)) => Ok(created),
            (Err(error), Ok(_)) => Err(error),
        }
    }

    async fn model_version_by_uid(&self, name: &str, uid: &str) -> Result<Option<ModelVersion>, Error> {
        let mut versions = self.model_versions_by_tag(name, UID_TAG, uid).await?.into_iter();
        let chosen = versions.next();
        for duplicate in versions {
            tracing::warn!(
                name,
                version = duplicate.version,
                uid,
                "deleting an MLflow model version made twice"
            );
            match self.delete_model_version(name, &duplicate.version).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(chosen)
    }

    /// The version of a model that has a tag with this value; the lowest number where several have.
    ///
    /// # Errors
    /// `InvalidRequest` where MLflow cannot search for such a name, key or value: see [`Filter`].
    pub async fn find_model_version_by_tag(
        &self,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<Option<ModelVersion>, Error> {
        Ok(self
            .model_versions_by_tag(name, key, value)
            .await?
            .into_iter()
            .next())
    }

    /// Lowest number first.
    async fn model_versions_by_tag(
        &self,
        name: &str,
        key: &str,
        value: &str,
    ) -> Result<Vec<ModelVersion>, Error> {
        let filter = Filter::new().attribute("name", name)?.tag(key, value)?;
        let mut versions = self.search_model_versions(&filter).await?;
        // Some databases compare without regard to case.
        versions.retain(|version| version.name == name && version.tag(key) == Some(value));
        Ok(versions)
    }

    /// All versions that the filter lets through, by model and then by number.
    ///
    /// # Errors
    /// `InvalidRequest` where the filter names an attribute that versions do not have.
    pub async fn search_model_versions(&self, filter: &Filter) -> Result<Vec<ModelVersion>, Error> {
        let filter = filter.as_text();
        let mut found: Vec<ModelVersion> = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut query = vec![
                ("filter", filter.as_str()),
                ("max_results", VERSIONS_PER_PAGE),
                ("order_by", "name ASC"),
                ("order_by", "version_number ASC"),
            ];
            if !page_token.is_empty() {
                query.push(("page_token", &page_token));
            }
            let page: ModelVersionsPage = self.get(&format!("{API}/model-versions/search"), &query).await?;
            found.extend(page.model_versions);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    }

    /// A version by its number.
    ///
    /// # Errors
    /// `NotFound` where there is no such model or version, `InvalidRequest` where `version` is not a number.
    pub async fn get_model_version(&self, name: &str, version: &str) -> Result<ModelVersion, Error> {
        let path = format!("{API}/model-versions/get");
        let answer: ModelVersionAnswer = self.get(&path, &[("name", name), ("version", version)]).await?;
        Ok(answer.model_version)
    }

    /// Deletes a version and the aliases that point at it. Its number is not given again.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn delete_model_version(&self, name: &str, version: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "name": name, "version": version });
        let Nothing {} = self
            .send(Method::DELETE, &format!("{API}/model-versions/delete"), &body)
            .await?;
        Ok(())
    }

    /// Moves a version to a stage; with `archive_existing`, which MLflow takes for Staging and Production only, the
    /// versions that are in that stage go to Archived.
    ///
    /// # Errors
    /// `NotFound` where there is no such version; `Unexpected` with status 404 once MLflow has no stages any more.
    pub async fn transition_stage(
        &self,
        name: &str,
        version: &str,
        stage: Stage,
        archive_existing: bool,
    ) -> Result<ModelVersion, Error> {
        if archive_existing && matches!(stage, Stage::None | Stage::Archived) {
            return Err(Error::new(
                ErrorKind::InvalidRequest,
                format!("transition of {name:?} version {version} to stage {stage}"),
                "existing versions can be archived only by a transition to Staging or Production",
            ));
        }
        let body = serde_json::json!({
            "name": name,
            "version": version,
            "stage": stage,
            "archive_existing_versions": archive_existing,
        });
        let answer: ModelVersionAnswer = self
            .post(&format!("{API}/model-versions/transition-stage"), &body)
            .await?;
        Ok(answer.model_version)
    }

    /// Sets a tag of a version.
    ///
    /// # Errors
    /// `NotFound` where there is no such version, `InvalidRequest` where the value is longer than 100 000 characters.
    pub async fn set_model_version_tag(
        &self,
        name: &str,
        version: &str,
        key: &str,
        value: &str,
    ) -> Result<(), Error> {
        let body = serde_json::json!({ "name": name, "version": version, "key": key, "value": value });
        let Nothing {} = self.post(&format!("{API}/model-versions/set-tag"), &body).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logged_model_is_read_from_the_source() {
        let logged_model = |source: &str| {
            ModelVersion {
                source: source.to_owned(),
                ..ModelVersion::default()
            }
            .logged_model_id()
            .map(str::to_owned)
        };
        assert_eq!(
            logged_model("mlflow-artifacts:/1/models/m-0a/artifacts").as_deref(),
            Some("m-0a")
        );
        assert_eq!(logged_model("models:/m-0a").as_deref(), Some("m-0a"));
        assert_eq!(logged_model("s3://models/tumour/model.onnx"), None);
        assert_eq!(logged_model("models:/tumour/3"), None);
    }

    #[test]
    fn a_stage_of_the_servers_own_is_none_that_is_known() {
        let stage = |name: &str| {
            ModelVersion {
                current_stage: name.to_owned(),
                ..ModelVersion::default()
            }
            .stage()
        };
        assert_eq!(stage("production"), Some(Stage::Production));
        assert_eq!(stage(""), Some(Stage::None));
        assert_eq!(stage("Canary"), None);
    }
}
