//! Experiments: the folders that runs are in.

use serde::{Deserialize, Serialize};

use crate::client::{API, Client};
use crate::error::{Error, ErrorKind};
use crate::wire::{Nothing, Tag, tag_value};

/// An experiment of MLflow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Experiment {
    /// Identifier, a number as text.
    pub experiment_id: String,
    /// Name, unique on the server among active and deleted experiments.
    pub name: String,
    /// Where artifacts of its runs and models are.
    pub artifact_location: String,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
    /// Tags of the experiment.
    pub tags: Vec<Tag>,
}

impl Experiment {
    /// Whether somebody deleted it: MLflow keeps it, refuses runs in it, and does not give its name away.
    #[must_use]
    pub fn is_deleted(&self) -> bool {
        self.lifecycle_stage == "deleted"
    }
}

#[derive(Serialize)]
struct CreateExperiment<'call> {
    name: &'call str,
    tags: &'call [Tag],
}

#[derive(Deserialize)]
struct ExperimentAnswer {
    experiment: Experiment,
}

impl Client {
    /// The experiment with this name, made where there is none and restored where it was deleted, with (at least)
    /// these tags. Two callers at once get the same experiment.
    ///
    /// # Errors
    /// `InvalidRequest` where MLflow does not allow the name, and what any call may fail with.
    pub async fn get_or_create_experiment(&self, name: &str, tags: &[Tag]) -> Result<Experiment, Error> {
        let mut experiment = match self.get_experiment_by_name(name).await {
            Ok(experiment) => experiment,
            Err(error) if error.is_not_found() => self.create_experiment(name, tags).await?,
            Err(error) => return Err(error),
        };
        if experiment.is_deleted() {
            self.restore_experiment(&experiment.experiment_id).await?;
            "active".clone_into(&mut experiment.lifecycle_stage);
        }
        for tag in tags {
            if tag_value(&experiment.tags, &tag.key) != Some(&tag.value) {
                self.set_experiment_tag(&experiment.experiment_id, tag).await?;
                experiment.tags.retain(|existing| existing.key != tag.key);
                experiment.tags.push(tag.clone());
            }
        }
        Ok(experiment)
    }

    /// The experiment with this name, be it active or deleted.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn get_experiment_by_name(&self, name: &str) -> Result<Experiment, Error> {
        let answer: ExperimentAnswer = self
            .get(
                &format!("{API}/experiments/get-by-name"),
                &[("experiment_name", name)],
            )
            .await?;
        Ok(answer.experiment)
    }

    /// Deletes an experiment in MLflow's sense: it can be restored until `mlflow gc` removes it.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn delete_experiment(&self, experiment_id: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "experiment_id": experiment_id });
        let Nothing {} = self.post(&format!("{API}/experiments/delete"), &body).await?;
        Ok(())
    }

    /// Takes back a deletion; another caller having done so already is no error.
    async fn restore_experiment(&self, experiment_id: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "experiment_id": experiment_id });
        let restored: Result<Nothing, Error> = self.post(&format!("{API}/experiments/restore"), &body).await;
        match restored {
            Ok(Nothing {}) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidRequest | ErrorKind::NotFound) => {
                let answer: ExperimentAnswer = self
                    .get(
                        &format!("{API}/experiments/get"),
                        &[("experiment_id", experiment_id)],
                    )
                    .await?;
                if answer.experiment.is_deleted() {
                    Err(error)
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(error),
        }
    }

    async fn set_experiment_tag(&self, experiment_id: &str, tag: &Tag) -> Result<(), Error> {
        let body = serde_json::json!({ "experiment_id": experiment_id, "key": tag.key, "value": tag.value });
        let Nothing {} = self
            .post(&format!("{API}/experiments/set-experiment-tag"), &body)
            .await?;
        Ok(())
    }

    async fn create_experiment(&self, name: &str, tags: &[Tag]) -> Result<Experiment, Error> {
        let body = CreateExperiment { name, tags };
        let created: Result<serde_json::Value, Error> =
            self.post(&format!("{API}/experiments/create"), &body).await;
        match created {
            // Somebody else made it between the question and this call: theirs is as good.
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => self.get_experiment_by_name(name).await,
        }
    }
}
