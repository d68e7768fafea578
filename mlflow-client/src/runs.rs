//! Runs: one training each, with its parameters, metrics and tags.

use serde::{Deserialize, Serialize};

use crate::UID_TAG;
use crate::client::{API, Client};
use crate::error::Error;
use crate::filter::Filter;
use crate::wire::{self, Nothing, Param, Tag, tag_value};

/// MLflow takes at most so many metrics in one call, and so many parameters or tags.
const METRICS_PER_CALL: usize = 1000;
const PARAMS_PER_CALL: usize = 100;

/// How many runs one page of a search has at most.
const RUNS_PER_PAGE: usize = 1000;

/// State of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RunStatus {
    /// Started and not ended.
    Running,
    /// Made, and not started.
    Scheduled,
    /// Ended well.
    Finished,
    /// Ended with an error.
    Failed,
    /// Ended by somebody.
    Killed,
    /// A state that this client does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl RunStatus {
    /// Whether nothing more will be logged.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Finished | Self::Failed | Self::Killed)
    }
}

/// A run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Who it is and how it stands.
    pub info: RunInfo,
    /// What was logged to it.
    pub data: RunData,
    /// What it made.
    pub outputs: RunOutputs,
}

impl Run {
    /// The latest value of the metric `key`; the largest step wins, as in MLflow.
    #[must_use]
    pub fn metric(&self, key: &str) -> Option<f64> {
        self.data
            .metrics
            .iter()
            .find(|metric| metric.key == key)
            .map(|metric| metric.value)
    }

    /// Value of the tag `key`.
    #[must_use]
    pub fn tag(&self, key: &str) -> Option<&str> {
        tag_value(&self.data.tags, key)
    }
}

/// Who a run is and how it stands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunInfo {
    /// Identifier, 32 hexadecimal digits.
    pub run_id: String,
    /// Name for people; not unique.
    pub run_name: String,
    /// The experiment it is in.
    pub experiment_id: String,
    /// Its state.
    pub status: RunStatus,
    /// Start, in milliseconds since 1970.
    #[serde(rename = "start_time", deserialize_with = "wire::deserialize_i64")]
    pub start_time_milliseconds: i64,
    /// End, in milliseconds since 1970; `None` while it is not ended.
    #[serde(rename = "end_time", deserialize_with = "wire::deserialize_optional_i64")]
    pub end_time_milliseconds: Option<i64>,
    /// Where its artifacts are.
    pub artifact_uri: String,
    /// `active` or `deleted`.
    pub lifecycle_stage: String,
}

/// What was logged to a run.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunData {
    /// The latest value of each metric.
    pub metrics: Vec<Metric>,
    /// Parameters.
    pub params: Vec<Param>,
    /// Tags, MLflow's own (`mlflow.…`) among them.
    pub tags: Vec<Tag>,
}

/// A value of a metric.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// Name of the metric.
    pub key: String,
    /// The value, which may be NaN or infinite.
    #[serde(
        deserialize_with = "wire::deserialize_f64",
        serialize_with = "wire::serialize_f64"
    )]
    pub value: f64,
    /// When it was measured, in milliseconds since 1970.
    #[serde(rename = "timestamp", deserialize_with = "wire::deserialize_i64")]
    pub timestamp_milliseconds: i64,
    /// Step of the training.
    #[serde(deserialize_with = "wire::deserialize_i64")]
    pub step: i64,
}

/// What a run made.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct RunOutputs {
    /// The models that it logged.
    pub model_outputs: Vec<ModelOutput>,
}

/// A model that a run logged.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ModelOutput {
    /// Identifier of the logged model, `m-…`.
    pub model_id: String,
    /// Step of the training it is from.
    #[serde(deserialize_with = "wire::deserialize_i64")]
    pub step: i64,
}

/// A run to make.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NewRun {
    /// The experiment it is in.
    pub experiment_id: String,
    /// Name for people.
    pub run_name: String,
    /// Start, in milliseconds since 1970.
    #[serde(rename = "start_time")]
    pub start_time_milliseconds: i64,
    /// Tags of the run.
    pub tags: Vec<Tag>,
}

/// What to look for among runs.
#[derive(Clone, Debug, Default)]
pub struct RunSearch {
    /// The experiments to look in; none of them means no result.
    pub experiment_ids: Vec<String>,
    /// What must hold.
    pub filter: Filter,
    /// For example `metrics.accuracy DESC`; the latest start first where it is empty.
    pub order_by: Vec<String>,
    /// How many runs at most; `None` for all of them.
    pub limit: Option<usize>,
}

/// What to log to a run.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    /// Values of metrics, added to those before.
    pub metrics: Vec<Metric>,
    /// Parameters; one that exists with another value is an error.
    pub params: Vec<Param>,
    /// Tags, which replace those of the same key.
    pub tags: Vec<Tag>,
}

#[derive(Deserialize)]
struct RunAnswer {
    run: Run,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RunsPage {
    runs: Vec<Run>,
    next_page_token: String,
}

impl Client {
    /// Makes a run. Not idempotent: see [`Client::ensure_run`].
    ///
    /// # Errors
    /// `NotFound` where there is no such experiment, `InvalidRequest` where it is deleted.
    pub async fn create_run(&self, run: &NewRun) -> Result<Run, Error> {
        let answer: RunAnswer = self.post(&format!("{API}/runs/create"), run).await?;
        Ok(answer.run)
    }

    /// The run that has the tag [`UID_TAG`] = `uid` in the experiment that `run` names, made from `run` where there
    /// is none. A run whose creation succeeded although its answer was lost is found by the next call. Where two
    /// exist all the same, the one that started last is taken, and others to which nothing was logged are deleted.
    ///
    /// # Errors
    /// Those of [`Client::create_run`] and [`Client::search_runs`].
    pub async fn ensure_run(&self, uid: &str, run: NewRun) -> Result<Run, Error> {
        if let Some(existing) = self.run_by_uid(&run.experiment_id, uid).await? {
            return Ok(existing);
        }
        let mut run = run;
        run.tags.retain(|tag| tag.key != UID_TAG);
        run.tags.push(Tag::new(UID_TAG, uid));
        let created = self.create_run(&run).await?;
        Ok(self.run_by_uid(&run.experiment_id, uid).await?.unwrap_or(created))
    }

    async fn run_by_uid(&self, experiment_id: &str, uid: &str) -> Result<Option<Run>, Error> {
        let search = RunSearch {
            experiment_ids: vec![experiment_id.to_owned()],
            filter: Filter::new().tag(UID_TAG, uid)?,
            order_by: vec!["attributes.start_time DESC".to_owned()],
            limit: None,
        };
        // A late creation has an earlier start than the run that was made in its place and is in use by now.
        let mut runs = self.search_runs(&search).await?.into_iter();
        let chosen = runs.next();
        for duplicate in runs.filter(|run| run.data.metrics.is_empty() && run.data.params.is_empty()) {
            tracing::warn!(
                run_id = duplicate.info.run_id,
                uid,
                "deleting an empty MLflow run made twice"
            );
            self.delete_run(&duplicate.info.run_id).await?;
        }
        Ok(chosen)
    }

    /// The run with this identifier, be it active or deleted.
    ///
    /// # Errors
    /// `NotFound` where there is none.
    pub async fn get_run(&self, run_id: &str) -> Result<Run, Error> {
        let answer: RunAnswer = self
            .get(&format!("{API}/runs/get"), &[("run_id", run_id)])
            .await?;
        Ok(answer.run)
    }

    /// Sets a run's state and, with it, when it ended.
    ///
    /// # Errors
    /// `NotFound` where there is no such run, `InvalidRequest` where it is deleted.
    pub async fn update_run(
        &self,
        run_id: &str,
        status: RunStatus,
        end_time_milliseconds: Option<i64>,
    ) -> Result<(), Error> {
        let mut body = serde_json::json!({ "run_id": run_id, "status": status });
        if let Some(end_time) = end_time_milliseconds {
            body["end_time"] = end_time.into();
        }
        let _: serde_json::Value = self.post(&format!("{API}/runs/update"), &body).await?;
        Ok(())
    }

    /// Deletes a run in MLflow's sense: it can be restored until `mlflow gc` removes it.
    ///
    /// # Errors
    /// `NotFound` where there is no such run.
    pub async fn delete_run(&self, run_id: &str) -> Result<(), Error> {
        let Nothing {} = self
            .post(
                &format!("{API}/runs/delete"),
                &serde_json::json!({ "run_id": run_id }),
            )
            .await?;
        Ok(())
    }

    /// The active runs that `search` describes.
    ///
    /// # Errors
    /// `InvalidRequest` where MLflow does not understand the order.
    pub async fn search_runs(&self, search: &RunSearch) -> Result<Vec<Run>, Error> {
        let mut found: Vec<Run> = Vec::new();
        let mut page_token = String::new();
        loop {
            let wanted = search.limit.unwrap_or(usize::MAX) - found.len();
            if wanted == 0 {
                return Ok(found);
            }
            let mut body = serde_json::json!({
                "experiment_ids": search.experiment_ids,
                "filter": search.filter.as_text(),
                "run_view_type": "ACTIVE_ONLY",
                "order_by": search.order_by,
                "max_results": wanted.min(RUNS_PER_PAGE),
            });
            if !page_token.is_empty() {
                body["page_token"] = page_token.into();
            }
            let page: RunsPage = self.post(&format!("{API}/runs/search"), &body).await?;
            found.extend(page.runs);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    }

    /// Sets a tag of a run.
    ///
    /// # Errors
    /// `NotFound` where there is no such run, `InvalidRequest` where the tag is too long (value: 8000 characters).
    pub async fn set_run_tag(&self, run_id: &str, key: &str, value: &str) -> Result<(), Error> {
        let body = serde_json::json!({ "run_id": run_id, "key": key, "value": value });
        let Nothing {} = self.post(&format!("{API}/runs/set-tag"), &body).await?;
        Ok(())
    }

    /// Logs metrics, parameters and tags to a run, in as many calls as MLflow's limits ask for. Made again after a
    /// failure, it leaves nothing twice but points of metrics.
    ///
    /// # Errors
    /// `NotFound` where there is no such run, `InvalidRequest` where a parameter has another value already.
    pub async fn log_batch(&self, run_id: &str, batch: &LogBatch) -> Result<(), Error> {
        let metrics = batch
            .metrics
            .chunks(METRICS_PER_CALL)
            .map(|metrics| ("metrics", serde_json::json!(metrics)));
        let params = batch
            .params
            .chunks(PARAMS_PER_CALL)
            .map(|params| ("params", serde_json::json!(params)));
        let tags = batch
            .tags
            .chunks(PARAMS_PER_CALL)
            .map(|tags| ("tags", serde_json::json!(tags)));
        // Metrics last: they alone would be there twice after a retry.
        for (field, values) in params.chain(tags).chain(metrics) {
            let body = serde_json::json!({ "run_id": run_id, field: values });
            let Nothing {} = self.post(&format!("{API}/runs/log-batch"), &body).await?;
        }
        Ok(())
    }
}
