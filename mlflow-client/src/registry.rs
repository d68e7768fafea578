//! Registered models: the names under which versions are kept, and the aliases that point at versions.

use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::client::{API, Client};
use crate::error::{Error, ErrorKind};
use crate::filter::Filter;
use crate::model_versions::{ModelVersion, ModelVersionAnswer};
use crate::wire::{self, Nothing, Tag};

/// How many registered models one page of a search has; MLflow allows 1000.
const MODELS_PER_PAGE: &str = "1000";

/// A registered model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct RegisteredModel {
    /// Name, unique on the server; `/` and `:` are not allowed.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    #[serde(rename = "creation_timestamp", deserialize_with = "wire::deserialize_i64")]
    pub creation_time_milliseconds: i64,
    /// Description for people.
    pub description: String,
    /// Tags of the model.
    pub tags: Vec<Tag>,
    /// Aliases and the versions they point at.
    pub aliases: Vec<Alias>,
}

impl RegisteredModel {
    /// The version that the alias `name` points at.
    #[must_use]
    pub fn version_of_alias(&self, name: &str) -> Option<&str> {
        self.aliases
            .iter()
            .find(|alias| alias.alias == name)
            .map(|alias| alias.version.as_str())
    }
}

/// A name for one version of a registered model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Alias {
    /// The name, such as `production`.
    pub alias: String,
    /// The version it points at.
    pub version: String,
}

#[derive(Serialize)]
struct CreateRegisteredModel<'call> {
    name: &'call str,
    tags: &'call [Tag],
    description: &'call str,
}

#[derive(Deserialize)]
struct RegisteredModelAnswer {
    registered_model: RegisteredModel,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RegisteredModelsPage {
    registered_models: Vec<RegisteredModel>,
    next_page_token: String,
}

impl Client {
    /// The registered model with this name, made with these tags and this description where there is none. Two
    /// callers at once get the same model.
    ///
    /// # Errors
    /// `InvalidRequest` where MLflow does not allow the name (`/`, `:`).
    pub async fn get_or_create_registered_model(
        &self,
        name: &str,
        tags: &[Tag],
        description: &str,
    ) -> Result<RegisteredModel, Error> {
        match self.get_registered_model(name).await {
            Err(error) if error.is_not_found() => {}
            known => return known,
        }
        let body = CreateRegisteredModel {
            name,
            tags,
            description,
        };
        let created: Result<RegisteredModelAnswer, Error> =
            self.post(&format!("{API}/registered-models/create"), &body).await;
        match created {
            Ok(answer) => Ok(answer.registered_model),
            // Somebody else made it between the question and this call: theirs is as good.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => self.get_registered_model(name).await,
            Err(error) => Err(error),
        }
    }

    /// The registered model with this name.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn get_registered_model(&self, name: &str) -> Result<RegisteredModel, Error> {
        let answer: RegisteredModelAnswer = self
            .get(&format!("{API}/registered-models/get"), &[("name", name)])
            .await?;
        Ok(answer.registered_model)
    }

    /// Deletes a registered model with all of its versions. One made later under the same name counts its versions
    /// from 1 again.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn delete_registered_model(&self, name: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "name": name });
        let Nothing {} = self
            .send(Method::DELETE, &format!("{API}/registered-models/delete"), &body)
            .await?;
        Ok(())
    }

    /// All registered models that the filter lets through, by name.
    ///
    /// # Errors
    /// `InvalidRequest` where the filter names an attribute that models do not have.
    pub async fn search_registered_models(&self, filter: &Filter) -> Result<Vec<RegisteredModel>, Error> {
        let filter = filter.as_text();
        let mut found: Vec<RegisteredModel> = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut query = vec![
                ("filter", filter.as_str()),
                ("max_results", MODELS_PER_PAGE),
                ("order_by", "name ASC"),
            ];
            if !page_token.is_empty() {
                query.push(("page_token", &page_token));
            }
            let page: RegisteredModelsPage = self
                .get(&format!("{API}/registered-models/search"), &query)
                .await?;
            found.extend(page.registered_models);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    }

    /// Points the alias at a version, away from the one it pointed at before. Aliases are letters, digits, `_` and `-`.
    ///
    /// # Errors
    /// `NotFound` where there is no such version, `InvalidRequest` where the alias is reserved (`latest`, `v1`).
    pub async fn set_alias(&self, name: &str, alias: &str, version: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "name": name, "alias": alias, "version": version });
        let Nothing {} = self
            .post(&format!("{API}/registered-models/alias"), &body)
            .await?;
        Ok(())
    }

    /// Removes an alias; that there is none is no error.
    ///
    /// # Errors
    /// `NotFound` where there is no such model.
    pub async fn delete_alias(&self, name: &str, alias: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "name": name, "alias": alias });
        let Nothing {} = self
            .send(Method::DELETE, &format!("{API}/registered-models/alias"), &body)
            .await?;
        Ok(())
    }

    /// The version that the alias points at, or `None` where there is no such alias or no such model.
    ///
    /// # Errors
    /// What any call may fail with.
    pub async fn get_by_alias(&self, name: &str, alias: &str) -> Result<Option<ModelVersion>, Error> {
        let path = format!("{API}/registered-models/alias");
        let answer: Result<ModelVersionAnswer, Error> =
            self.get(&path, &[("name", name), ("alias", alias)]).await;
        match answer {
            Ok(answer) => Ok(Some(answer.model_version)),
            Err(error) if error.is_not_found() => Ok(None),
            // MLflow answers a question for an alias that does not exist with an invalid parameter.
            Err(error) if error.kind() == ErrorKind::InvalidRequest => {
                let model = self.get_registered_model(name).await?;
                if model.version_of_alias(alias).is_some() {
                    Err(error)
                } else {
                    Ok(None)
                }
            }
            Err(error) => Err(error),
        }
    }
}
