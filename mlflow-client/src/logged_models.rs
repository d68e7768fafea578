//! Logged models: what MLflow 3 calls the model that a run made, before anybody registers it.

use serde::{Deserialize, Serialize};

use crate::client::{API, Client, path_segment};
use crate::error::Error;
use crate::wire::{self, Tag};

/// Whether a logged model's files are all there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoggedModelStatus {
    /// Files are being uploaded.
    #[serde(rename = "LOGGED_MODEL_PENDING")]
    Pending,
    /// Files are complete.
    #[serde(rename = "LOGGED_MODEL_READY")]
    Ready,
    /// The upload failed.
    #[serde(rename = "LOGGED_MODEL_UPLOAD_FAILED")]
    UploadFailed,
    /// A state that this client does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// A model that a run logged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoggedModel {
    /// Who it is and how it stands.
    pub info: LoggedModelInfo,
}

/// Who a logged model is and how it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct LoggedModelInfo {
    /// Identifier, `m-` and 32 hexadecimal digits.
    pub model_id: String,
    /// The experiment it is in.
    pub experiment_id: String,
    /// Name it was logged under.
    pub name: String,
    /// Where its files are: `mlflow-artifacts:/…` where the server proxies artifacts.
    pub artifact_uri: String,
    /// Its state.
    pub status: LoggedModelStatus,
    /// Flavour of the model, where the one who logged it said so.
    pub model_type: String,
    /// The run that logged it.
    pub source_run_id: String,
    /// When it was made, in milliseconds since 1970.
    #[serde(rename = "creation_timestamp_ms", deserialize_with = "wire::deserialize_i64")]
    pub creation_time_milliseconds: i64,
    /// Tags of the model.
    pub tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct LoggedModelAnswer {
    model: LoggedModel,
}

impl Client {
    /// The logged model with this identifier (`m-…`).
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn get_logged_model(&self, model_id: &str) -> Result<LoggedModel, Error> {
        let path = format!("{API}/logged-models/{}", path_segment(model_id));
        let answer: LoggedModelAnswer = self.get(&path, &()).await?;
        Ok(answer.model)
    }

    /// The ready models that a run made, the latest step first: the first one is the run's result.
    ///
    /// # Errors
    /// `NotFound` where there is no such run.
    pub async fn get_logged_models_of_run(&self, run_id: &str) -> Result<Vec<LoggedModel>, Error> {
        let mut outputs = self.get_run(run_id).await?.outputs.model_outputs;
        outputs.sort_by_key(|output| std::cmp::Reverse(output.step));
        let mut models = Vec::with_capacity(outputs.len());
        for output in outputs {
            match self.get_logged_model(&output.model_id).await {
                Ok(model) if model.info.status == LoggedModelStatus::Ready => models.push(model),
                Ok(_) => {}
                // Deleted since: a run goes on naming what it made.
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(models)
    }
}
