//! Turns an Experiment's spec into what the rest works with. No client: the same object gives the same answer.

use std::collections::BTreeMap;

use aiops_crds::{ComputeResources, Experiment, ResourceQuantity, Stage, Trainer};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

const DEFAULT_DEADLINE_SECONDS: i64 = 3600;
const DEFAULT_BACKOFF_LIMIT: i32 = 2;

/// An Experiment whose spec can be carried out.
#[derive(Clone, Debug)]
pub struct ValidatedExperiment {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The object's UID, which MLflow's run is found by.
    pub uid: String,
    /// What to train.
    pub trainer: Trainer,
    /// The bounds that metrics must keep.
    pub rules: Vec<Threshold>,
    /// How the model is registered, where that is asked for.
    pub registration: Option<ValidatedRegistration>,
    /// The trainer's resources.
    pub resources: ComputeResources,
    /// Seconds that the training may take.
    pub active_deadline_seconds: i64,
    /// How often a crashed trainer is started again.
    pub backoff_limit: i32,
}

/// A bound that a metric must keep.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    /// The metric's name.
    pub metric: String,
    /// The least value that passes, with its text.
    pub min: Option<f64>,
    /// The greatest value that passes, with its text.
    pub max: Option<f64>,
}

/// How the model is registered.
#[derive(Clone, Debug)]
pub struct ValidatedRegistration {
    /// The model's name.
    pub model: String,
    /// The ModelVersion's name.
    pub name: String,
    /// The stage that it asks for.
    pub stage: Stage,
}

/// A spec that cannot be carried out. Admission refuses these; an object stored before may still have them.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A bound is not a number.
    #[error(
        "spec.validation[{metric}].{bound} is {value:?}, which is not a decimal number: write a number such as \"0.93\""
    )]
    NotANumber {
        /// The rule's metric.
        metric: String,
        /// `min` or `max`.
        bound: &'static str,
        /// What stands there.
        value: String,
    },
    /// An Experiment cannot register into Production.
    #[error("spec.register.stage is {stage}: register into None or Staging, and promote on the ModelVersion")]
    StageNeedsApproval {
        /// The stage.
        stage: Stage,
    },
}

/// The name of the trainer's Job.
#[must_use]
pub fn job_name(name: &str) -> String {
    format!("{name}-train")
}

impl ValidatedExperiment {
    /// The name of the trainer's Job.
    #[must_use]
    pub fn job_name(&self) -> String {
        job_name(&self.name)
    }

    /// The name of the experiment in MLflow.
    #[must_use]
    pub fn mlflow_experiment(&self) -> String {
        mlflow_experiment(&self.namespace, &self.name)
    }
}

/// The name in MLflow of the experiment that holds an Experiment's runs.
pub fn mlflow_experiment(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

/// Checks the spec and fills in its defaults.
pub fn validate(experiment: &Experiment) -> Result<ValidatedExperiment, Invalid> {
    let spec = &experiment.spec;
    let rules = spec
        .validation
        .iter()
        .map(|rule| {
            Ok(Threshold {
                metric: rule.metric.clone(),
                min: bound(&rule.metric, "min", rule.min.as_deref())?,
                max: bound(&rule.metric, "max", rule.max.as_deref())?,
            })
        })
        .collect::<Result<_, Invalid>>()?;
    let registration = spec.register.as_ref().map(|register| {
        let stage = register.stage.unwrap_or_default();
        if !matches!(stage, Stage::None | Stage::Staging) {
            return Err(Invalid::StageNeedsApproval { stage });
        }
        let name = register
            .name
            .clone()
            .unwrap_or_else(|| format!("{}-1", experiment.name_any()));
        Ok(ValidatedRegistration {
            model: register.model.clone(),
            name,
            stage,
        })
    });
    Ok(ValidatedExperiment {
        namespace: experiment.namespace().unwrap_or_default(),
        name: experiment.name_any(),
        uid: experiment.uid().unwrap_or_default(),
        trainer: spec.trainer.clone(),
        rules,
        registration: registration.transpose()?,
        resources: spec.resources.clone().unwrap_or_else(default_resources),
        active_deadline_seconds: spec.active_deadline_seconds.unwrap_or(DEFAULT_DEADLINE_SECONDS),
        backoff_limit: spec.backoff_limit.unwrap_or(DEFAULT_BACKOFF_LIMIT),
    })
}

fn bound(metric: &str, bound: &'static str, text: Option<&str>) -> Result<Option<f64>, Invalid> {
    let parse = |text: &str| {
        text.parse::<f64>().map_err(|_| Invalid::NotANumber {
            metric: metric.into(),
            bound,
            value: text.into(),
        })
    };
    text.map(parse).transpose()
}

fn default_resources() -> ComputeResources {
    let quantities = |list: &[(&str, &str)]| -> BTreeMap<String, ResourceQuantity> {
        list.iter()
            .map(|(name, text)| {
                (
                    (*name).to_owned(),
                    ResourceQuantity(IntOrString::String((*text).to_owned())),
                )
            })
            .collect()
    };
    ComputeResources {
        requests: quantities(&[("cpu", "250m"), ("memory", "512Mi")]),
        limits: quantities(&[("memory", "2Gi")]),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An Experiment as the API server would hand it over.
    pub fn experiment(spec: serde_json::Value) -> Experiment {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "aiops.dev/v1alpha1", "kind": "Experiment",
            "metadata": {"name": "forest", "namespace": "team", "uid": "u-1", "generation": 1},
            "spec": spec,
        }))
        .unwrap()
    }

    /// The spec of the samples.
    pub fn sample() -> serde_json::Value {
        serde_json::json!({
            "trainer": {"type": "Sklearn", "estimator": "RandomForestClassifier", "dataset": {"builtin": "breast-cancer"}},
            "validation": [{"metric": "accuracy", "min": "0.93"}],
            "register": {"model": "tumour", "stage": "Staging"},
        })
    }

    #[test]
    fn defaults_are_filled_in() {
        let validated = validate(&experiment(sample())).unwrap();
        assert_eq!(validated.registration.as_ref().unwrap().name, "forest-1");
        assert_eq!(validated.active_deadline_seconds, 3600);
        assert_eq!(
            validated.rules,
            [Threshold {
                metric: "accuracy".into(),
                min: Some(0.93),
                max: None
            }]
        );
    }

    #[test]
    fn a_bound_that_is_no_number_names_the_field() {
        let mut spec = sample();
        spec["validation"][0]["min"] = "high".into();
        let message = validate(&experiment(spec)).unwrap_err().to_string();
        assert!(
            message.contains("spec.validation[accuracy].min is \"high\""),
            "{message}"
        );
    }

    #[test]
    fn production_needs_the_model_version_to_be_approved() {
        let mut spec = sample();
        spec["register"]["stage"] = "Production".into();
        assert!(
            validate(&experiment(spec))
                .unwrap_err()
                .to_string()
                .contains("promote on the ModelVersion")
        );
    }
}
