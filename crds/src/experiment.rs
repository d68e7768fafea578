//! Experiment: trains a model in a Job, tracks it in MLflow, validates it and registers a ModelVersion.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::condition::{Condition, names};
use crate::resources::ComputeResources;
use crate::stage::Stage;

/// Trains a model and tracks it in MLflow; a model that passes its validation may be registered as a ModelVersion.
#[derive(Clone, CustomResource, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "aiops.dev",
    version = "v1alpha1",
    kind = "Experiment",
    doc = "Trains a model in a Job, tracks it in MLflow, checks its metrics and registers a ModelVersion.",
    namespaced,
    shortname = "exp",
    category = "aiops",
    status = "ExperimentStatus",
    derive = "PartialEq",
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && self.metadata.name.size() <= 52")
        .message("metadata.name becomes part of the names of Jobs and ModelVersions: use at most 52 lower-case letters, digits and '-', starting with a letter"),
    printcolumn(name = "Estimator", type_ = "string", json_path = ".spec.trainer.estimator"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Result", type_ = "string", json_path = ".status.result", description = "the first validated metric, or accuracy or R²"),
    printcolumn(name = "Model Version", type_ = "string", json_path = ".status.modelVersion"),
    printcolumn(name = "Run", type_ = "string", json_path = ".status.mlflow.runId", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.resources) == has(oldSelf.resources) && (!has(self.resources) || self.resources == oldSelf.resources)")
        .message("spec.resources is immutable, since the trainer's Job has them already: create a new Experiment with another name instead"),
    validation = Rule::new("has(self.activeDeadlineSeconds) == has(oldSelf.activeDeadlineSeconds) && (!has(self.activeDeadlineSeconds) || self.activeDeadlineSeconds == oldSelf.activeDeadlineSeconds)")
        .message("spec.activeDeadlineSeconds is immutable, since the trainer's Job has it already: create a new Experiment with another name instead"),
    validation = Rule::new("has(self.backoffLimit) == has(oldSelf.backoffLimit) && (!has(self.backoffLimit) || self.backoffLimit == oldSelf.backoffLimit)")
        .message("spec.backoffLimit is immutable, since the trainer's Job has it already: create a new Experiment with another name instead")
)]
pub struct ExperimentSpec {
    /// What to train, and on which data. Immutable: a run in MLflow belongs to exactly these settings.
    #[x_kube(validation = Rule::new("self == oldSelf").message(
        "spec.trainer is immutable, since its MLflow run belongs to these settings: create a new Experiment with another name instead"))]
    pub trainer: Trainer,
    /// Bounds that metrics on the held-out rows must keep, or nothing is registered. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["metric".into()]))]
    pub validation: Vec<ValidationRule>,
    /// Registers the trained model as a ModelVersion once it has passed its validation. Default: not registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<Registration>,
    /// CPU, memory and devices of the trainer's container. Immutable. Default: requests of 250m CPU and 512Mi memory, memory limited to 2Gi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ComputeResources>,
    /// Seconds after which a training that has not finished is stopped and counts as failed. Immutable. Default: 3600.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_592_000))]
    pub active_deadline_seconds: Option<i64>,
    /// How often a trainer pod that crashed is started again; errors that the same input would repeat are not retried. Immutable. Default: 2.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub backoff_limit: Option<i32>,
}

/// What to train, and on which data.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Trainer {
    /// Which trainer runs: `Sklearn` (scikit-learn).
    #[serde(rename = "type")]
    pub type_: TrainerType,
    /// The estimator's class. Linear models and multi-layer perceptrons are trained behind a StandardScaler.
    pub estimator: Estimator,
    /// The rows to train on and to hold out.
    pub dataset: Dataset,
    /// The estimator's constructor parameters as text, such as `n_estimators: "200"`. Default: the estimator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = {"type": "string", "maxLength": 256}))]
    #[x_kube(validation = Rule::new("self.all(name, name.size() <= 64)").message(
        "the name of a parameter has at most 64 characters: use the estimator's own names, such as n_estimators"))]
    pub parameters: BTreeMap<String, String>,
    /// Fraction of the rows that is held out from training and that metrics are computed on, between 0 and 1. Default: "0.25".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8), regex(pattern = r"^0?\.[0-9]{1,4}$"))]
    #[x_kube(validation = Rule::new("double(self) > 0.0").message(
        "holdoutFraction is 0, so that no rows would be left to compute metrics on: use a fraction such as \"0.25\""))]
    pub holdout_fraction: Option<String>,
    /// Seed of the split and of the estimator. Default: 42.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_i64))]
    pub seed: Option<i64>,
}

/// A family of trainers.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(inline, transform = crate::schema::leave_description_to_the_field)]
pub enum TrainerType {
    /// scikit-learn.
    Sklearn,
}

/// An estimator of scikit-learn, by its class name.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(inline, transform = crate::schema::leave_description_to_the_field)]
#[allow(missing_docs)] // the names are scikit-learn's
pub enum Estimator {
    LogisticRegression,
    RandomForestClassifier,
    GradientBoostingClassifier,
    #[serde(rename = "MLPClassifier")]
    MlpClassifier,
    LinearRegression,
    RandomForestRegressor,
    GradientBoostingRegressor,
    #[serde(rename = "MLPRegressor")]
    MlpRegressor,
}

/// The rows to train on: a dataset that ships with the trainer, or a file in the object store.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.builtin) != has(self.uri)")
        .message("set exactly one of builtin (such as breast-cancer) and uri (such as s3://datasets/churn.csv)"),
    validation = Rule::new("has(self.uri) == has(self.target)")
        .message("target names the column to predict: it is required with uri, and must be left out with builtin, which has its own target")
)]
pub struct Dataset {
    /// A dataset that ships with scikit-learn: `breast-cancer`, `wine`, `iris` (classes) or `diabetes` (a number).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub builtin: Option<String>,
    /// A `.csv` or `.parquet` file in the object store, such as `s3://datasets/churn.csv`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024), regex(pattern = r"^s3://[^/]+/.+\.(csv|parquet)$"))]
    #[x_kube(validation = Rule::new("self.matches('^s3://[a-z0-9][a-z0-9.-]+/')").message(
        "uri must be s3://bucket/path: a bucket is lower-case letters, digits, '.' and '-', and it lies in the object store of this installation, so that no host and port can be named"))]
    pub uri: Option<String>,
    /// The column of `uri` to predict; all other columns must be numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub target: Option<String>,
}

/// A bound that one metric must keep.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.min) || has(self.max)")
        .message("set min, max or both: a rule without a bound checks nothing"),
    validation = Rule::new("!has(self.min) || !has(self.max) || double(self.min) <= double(self.max)")
        .message("min is greater than max, so that no value could pass: lower min or raise max")
)]
pub struct ValidationRule {
    /// The metric's name in MLflow: `accuracy`, `f1`, `roc_auc`, `log_loss` for classes, `rmse`, `mae`, `r2` for numbers.
    #[schemars(length(min = 1, max = 250))]
    pub metric: String,
    /// The least value that passes, as a decimal number in the metric's own unit, such as "0.93". Default: no lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"))]
    pub min: Option<String>,
    /// The greatest value that passes, as a decimal number in the metric's own unit. Default: no upper bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$"))]
    pub max: Option<String>,
}

/// How the trained model is registered.
#[derive(Clone, Debug, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.stage) || self.stage in ['None', 'Staging']")
    .message("an Experiment registers into None or Staging: for Production, set stage and approval on the ModelVersion once its digest is known"))]
pub struct Registration {
    /// The model's name: clients ask for it by this name, and MLflow's registry holds it as `<namespace>.<model>`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub model: String,
    /// The name of the ModelVersion that is created. Default: the Experiment's name with `-1` behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 54), regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// The stage that the new ModelVersion asks for: `None` or `Staging`. Default: None.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
}

/// What the controller observed.
#[derive(Clone, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExperimentStatus {
    /// Observed aspects of the state; `Ready` sums them up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The `metadata.generation` that this status was computed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The run in MLflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<MlflowRunReference>,
    /// The name of the trainer's Job.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub job: Option<String>,
    /// The run's metrics as last read from MLflow, sorted by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub metrics: Vec<MetricValue>,
    /// What became of each rule of `spec.validation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["metric".into()]))]
    pub validation: Vec<ValidationVerdict>,
    /// One figure that sums up the run, such as `accuracy=0.965`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 300))]
    pub result: Option<String>,
    /// The ModelVersion that was created from this Experiment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub model_version: Option<String>,
    /// When the trainer's Job was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the training ended, successfully or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
}

/// A run in MLflow.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct MlflowRunReference {
    /// The identifier of the experiment in MLflow.
    #[schemars(length(max = 64))]
    pub experiment_id: String,
    /// The identifier of the run in MLflow.
    #[schemars(length(max = 64))]
    pub run_id: String,
}

/// The last value of one metric.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct MetricValue {
    /// The metric's name in MLflow.
    #[schemars(length(max = 250))]
    pub name: String,
    /// The value as a decimal number, or `NaN`, `Infinity`, `-Infinity`.
    #[schemars(length(max = 32))]
    pub value: String,
}

/// What became of one rule of `spec.validation`.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct ValidationVerdict {
    /// The metric that the rule is about.
    #[schemars(length(max = 250))]
    pub metric: String,
    /// The metric's value, absent where the run has no such metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub value: Option<String>,
    /// Whether the value keeps its bounds.
    pub passed: bool,
    /// The comparison in words, such as `0.91 < min 0.93`.
    #[schemars(length(max = 512))]
    pub detail: String,
}

names! {
    /// The condition types of an Experiment.
    ExperimentCondition {
        /// The whole job is done: trained, validated and, where asked for, registered.
        Ready,
        /// The training has ended successfully.
        Trained,
        /// Every rule of `spec.validation` holds.
        Validated,
        /// The ModelVersion exists.
        Registered,
    }
}

names! {
    /// Why a condition of an Experiment is what it is.
    ExperimentReason {
        /// Everything that was asked for is done.
        Succeeded,
        /// The trainer's pod is waiting for a node, an image or a Secret, or the Job for its next try.
        Pending,
        /// The trainer is at work.
        Training,
        /// An earlier step has not succeeded, so that this one was not tried.
        Waiting,
        /// `spec.register` is not set.
        NotRequested,
        /// Every rule holds.
        ThresholdsMet,
        /// A metric is outside its bounds.
        ThresholdNotMet,
        /// The run has no metric of a rule's name.
        MetricMissing,
        /// The ModelVersion exists.
        Registered,
        /// The ModelVersion's name is taken by one of another origin.
        NameTaken,
        /// The spec contradicts itself.
        InvalidSpec,
        /// MLflow does not answer; tried again.
        MLflowUnavailable,
        /// MLflow refuses the request.
        MLflowRefused,
        /// The Kubernetes API refuses the request.
        ApiRefused,
        /// No built-in dataset of that name.
        UnknownDataset,
        /// The object store has no such bucket or file.
        DatasetNotFound,
        /// The object store denies access to the file.
        DatasetForbidden,
        /// The object store does not answer.
        DatasetUnreachable,
        /// The file has no rows.
        DatasetEmpty,
        /// The file has no column of the target's name.
        UnknownTargetColumn,
        /// The file cannot be read as a table.
        InvalidDataset,
        /// A column holds text where numbers belong.
        NonNumericColumn,
        /// A column holds missing values.
        MissingValues,
        /// The estimator does not take a parameter or its value, or does not fit the target.
        InvalidParameter,
        /// MLflow does not know the run any more.
        RunNotFound,
        /// MLflow does not answer the trainer.
        MLflowUnreachable,
        /// The trainer was told to stop before it was done.
        Interrupted,
        /// The training ended with an error.
        TrainingFailed,
        /// The trainer's container ended without saying why.
        TrainerCrashed,
        /// The trainer's container was killed at its memory limit.
        OutOfMemory,
        /// The training took longer than `spec.activeDeadlineSeconds`.
        DeadlineExceeded,
        /// The Experiment is being deleted, and its message says what that waits for.
        Deleting,
    }
}
