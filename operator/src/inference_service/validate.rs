//! Turns an InferenceService's spec into what the rest works with. No client: the same object gives the same answer.

use std::collections::BTreeMap;

use aiops_crds::{Autoscaling, ComputeResources, InferenceService, ResourceQuantity, ServedModel, Stage};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::ResourceExt as _;

const DEFAULT_REPLICAS: i32 = 1;
const DEFAULT_MIN_REPLICAS: i32 = 1;
const DEFAULT_TARGET_CPU_UTILIZATION: i32 = 70;

/// An InferenceService whose spec can be carried out.
#[derive(Clone, Debug)]
pub struct ValidatedInferenceService {
    /// The object's namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// What to serve, in the order of the spec.
    pub models: Vec<ValidatedModel>,
    /// How many pods.
    pub scale: Scale,
    /// The pods' resources.
    pub resources: ComputeResources,
}

/// A model to serve.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidatedModel {
    /// The model's name.
    pub name: String,
    /// Which version answers.
    pub selector: Selector,
}

/// Which version answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Selector {
    /// The one that holds this stage.
    Stage(Stage),
    /// The one of this name.
    Reference(String),
}

/// How many pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// This many.
    Fixed(i32),
    /// As many as the load needs.
    Automatic {
        /// The least.
        min_replicas: i32,
        /// The most.
        max_replicas: i32,
        /// The average CPU use to keep, in percent of the request.
        target_cpu_utilization: i32,
    },
}

impl Scale {
    /// How many pods must be available for the service to count as available.
    #[must_use]
    pub fn least(&self) -> i32 {
        match self {
            Self::Fixed(replicas) => *replicas,
            Self::Automatic { min_replicas, .. } => *min_replicas,
        }
    }
}

/// A spec that cannot be carried out. Admission refuses these; an object stored before may still have them.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    /// A fixed number and a range.
    #[error("spec.replicas and spec.autoscaling contradict each other: remove one of them")]
    TwoScales,
    /// The range's ends are the wrong way round.
    #[error(
        "spec.autoscaling.minReplicas {min} is greater than maxReplicas {max}: lower minReplicas or raise maxReplicas"
    )]
    ReversedRange {
        /// The least number of pods.
        min: i32,
        /// The greatest number of pods.
        max: i32,
    },
    /// Neither or both ways to choose a version.
    #[error("spec.models[{model}].version must set exactly one of stage and ref")]
    NotOneSelector {
        /// The model.
        model: String,
    },
    /// A stage that no request may be answered from.
    #[error(
        "spec.models[{model}].version.stage is {stage}: use Production or Staging, or name a ModelVersion with ref"
    )]
    StageNotServed {
        /// The model.
        model: String,
        /// The stage.
        stage: Stage,
    },
    /// Two entries of one name.
    #[error("spec.models names {model} twice: keep one of the entries")]
    TwiceNamed {
        /// The model.
        model: String,
    },
}

impl ValidatedInferenceService {
    /// The name of every child but the serving plan.
    #[must_use]
    pub fn child_name(&self) -> String {
        format!("{}-inference", self.name)
    }

    /// The name of the serving plan's ConfigMap.
    #[must_use]
    pub fn serving_plan_name(&self) -> String {
        format!("{}-serving-plan", self.name)
    }
}

/// Checks the spec and fills in its defaults.
pub fn validate(service: &InferenceService) -> Result<ValidatedInferenceService, Invalid> {
    let spec = &service.spec;
    let mut models: Vec<ValidatedModel> = Vec::new();
    for served in &spec.models {
        if models.iter().any(|model| model.name == served.name) {
            return Err(Invalid::TwiceNamed {
                model: served.name.clone(),
            });
        }
        models.push(model(served)?);
    }
    Ok(ValidatedInferenceService {
        namespace: service.namespace().unwrap_or_default(),
        name: service.name_any(),
        models,
        scale: scale(spec.replicas, spec.autoscaling.as_ref())?,
        resources: with_defaults(spec.resources.clone().unwrap_or_default()),
    })
}

fn model(served: &ServedModel) -> Result<ValidatedModel, Invalid> {
    let model = served.name.clone();
    let selector = match (served.version.stage, &served.version.reference) {
        (Some(stage @ (Stage::Production | Stage::Staging)), None) => Selector::Stage(stage),
        (Some(stage), None) => return Err(Invalid::StageNotServed { model, stage }),
        (None, Some(reference)) => Selector::Reference(reference.clone()),
        _ => return Err(Invalid::NotOneSelector { model }),
    };
    Ok(ValidatedModel {
        name: model,
        selector,
    })
}

fn scale(replicas: Option<i32>, autoscaling: Option<&Autoscaling>) -> Result<Scale, Invalid> {
    match (replicas, autoscaling) {
        (Some(_), Some(_)) => Err(Invalid::TwoScales),
        (replicas, None) => Ok(Scale::Fixed(replicas.unwrap_or(DEFAULT_REPLICAS))),
        (None, Some(range)) => {
            let (min, max) = (
                range.min_replicas.unwrap_or(DEFAULT_MIN_REPLICAS),
                range.max_replicas,
            );
            if min > max {
                return Err(Invalid::ReversedRange { min, max });
            }
            Ok(Scale::Automatic {
                min_replicas: min,
                max_replicas: max,
                target_cpu_utilization: range
                    .target_cpu_utilization
                    .unwrap_or(DEFAULT_TARGET_CPU_UTILIZATION),
            })
        }
    }
}

/// CPU and memory get their defaults each where the spec says nothing about it: who asks for a GPU alone still gets a CPU
/// request, without which the autoscaler has nothing to measure against.
fn with_defaults(mut resources: ComputeResources) -> ComputeResources {
    let unsaid = |resources: &ComputeResources, name: &str| {
        !resources.requests.contains_key(name) && !resources.limits.contains_key(name)
    };
    let set = |map: &mut BTreeMap<String, ResourceQuantity>, name: &str, quantity: &str| {
        map.insert(
            name.into(),
            ResourceQuantity(IntOrString::String(quantity.into())),
        );
    };
    if unsaid(&resources, "cpu") {
        set(&mut resources.requests, "cpu", "250m");
    }
    if unsaid(&resources, "memory") {
        set(&mut resources.requests, "memory", "256Mi");
        set(&mut resources.limits, "memory", "1Gi");
    }
    resources
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An InferenceService as the API server would hand it over.
    pub fn service(spec: serde_json::Value) -> InferenceService {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "aiops.dev/v1alpha1",
            "kind": "InferenceService",
            "metadata": {"name": "tumour", "namespace": "team", "uid": "u-1", "generation": 1},
            "spec": spec,
        }))
        .unwrap()
    }

    /// A spec with one model in Production, and what `more` adds.
    pub fn spec(more: serde_json::Value) -> serde_json::Value {
        let mut spec =
            serde_json::json!({"models": [{"name": "tumour", "version": {"stage": "Production"}}]});
        spec.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        spec
    }

    fn complaint(more: serde_json::Value) -> String {
        validate(&service(spec(more))).unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_those_of_the_crds_descriptions() {
        let validated = validate(&service(spec(serde_json::json!({})))).unwrap();
        assert_eq!(validated.scale, Scale::Fixed(1));
        let resources = serde_json::to_value(&validated.resources).unwrap();
        let expected =
            serde_json::json!({"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}});
        assert_eq!(resources, expected);
        let more = serde_json::json!({"autoscaling": {"maxReplicas": 5}});
        let expected = Scale::Automatic {
            min_replicas: 1,
            max_replicas: 5,
            target_cpu_utilization: 70,
        };
        assert_eq!(validate(&service(spec(more))).unwrap().scale, expected);
    }

    #[test]
    fn who_asks_for_a_gpu_alone_still_gets_a_cpu_request_and_who_limits_memory_keeps_the_limit() {
        let more = serde_json::json!({"resources": {"limits": {"nvidia.com/gpu": 1, "memory": "128Mi"}}});
        let validated = validate(&service(spec(more))).unwrap();
        let resources = serde_json::to_value(&validated.resources).unwrap();
        let expected = serde_json::json!({"requests": {"cpu": "250m"}, "limits": {"nvidia.com/gpu": 1, "memory": "128Mi"}});
        assert_eq!(resources, expected);
    }

    #[test]
    fn contradictions_name_the_field_and_the_remedy() {
        let both = serde_json::json!({"replicas": 2, "autoscaling": {"maxReplicas": 5}});
        assert!(complaint(both).contains("remove one of them"));
        let reversed = serde_json::json!({"autoscaling": {"minReplicas": 6, "maxReplicas": 5}});
        assert!(complaint(reversed).contains("minReplicas 6 is greater than maxReplicas 5"));
        let model = |version: serde_json::Value| serde_json::json!({"models": [{"name": "wine", "version": version}]});
        assert!(complaint(model(serde_json::json!({}))).contains("spec.models[wine].version"));
        assert!(
            complaint(model(serde_json::json!({"stage": "Archived"}))).contains("use Production or Staging")
        );
        let twice = serde_json::json!({"models": [
            {"name": "wine", "version": {"ref": "a"}}, {"name": "wine", "version": {"ref": "b"}},
        ]});
        assert!(complaint(twice).contains("names wine twice"));
    }
}
