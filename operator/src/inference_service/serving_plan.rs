//! The serving plan, and what a pod answers about it (docs/interfaces.md).

use aiops_model_repository::Hasher;
use serde::{Deserialize, Serialize};

use super::resolve::ResolvedModel;

/// The key of the plan in its ConfigMap, and its file name in the pod.
pub const FILE: &str = "plan.json";
/// The annotation that each pod gets, so that its kubelet refreshes the mounted plan at once.
pub const ANNOTATION: &str = "aiops.dev/serving-plan";

const FORMAT_VERSION: u32 = 1;
/// Until there are canaries, the default version gets every request that names none.
const WHOLE_WEIGHT: u32 = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServingPlan<'models> {
    format_version: u32,
    models: Vec<PlannedModel<'models>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlannedModel<'models> {
    name: &'models str,
    default_version: u64,
    versions: Vec<PlannedVersion<'models>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PlannedVersion<'models> {
    version: u64,
    digest: &'models str,
    weight: u32,
}

/// The plan as its file has it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RenderedPlan {
    /// The file's text.
    pub json: String,
    /// SHA-256 of that text, in hexadecimal.
    pub sha256: String,
}

impl RenderedPlan {
    /// The plan for `models`; their order counts for nothing, so that an edit of the spec's order reloads nothing.
    pub fn of(models: &[ResolvedModel]) -> Self {
        let mut models: Vec<&ResolvedModel> = models.iter().collect();
        models.sort_by(|left, right| left.name.cmp(&right.name));
        let plan = ServingPlan {
            format_version: FORMAT_VERSION,
            models: models.into_iter().map(planned).collect(),
        };
        let mut json = serde_json::to_string_pretty(&plan).expect("a plan has text keys only");
        json.push('\n');
        let mut hasher = Hasher::default();
        hasher.update(json.as_bytes());
        Self {
            json,
            sha256: hasher.finish(),
        }
    }
}

fn planned(model: &ResolvedModel) -> PlannedModel<'_> {
    let default = &model.default;
    PlannedModel {
        name: &model.name,
        default_version: default.version,
        versions: vec![PlannedVersion {
            version: default.version,
            digest: &default.digest,
            weight: WHOLE_WEIGHT,
        }],
    }
}

/// What a pod answers to `GET :8002/serving-plan`.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PodAnswer {
    /// SHA-256 of the plan last read.
    pub plan_sha256: String,
    /// What became of it.
    pub state: PlanState,
    /// Why, for people.
    #[serde(default)]
    pub message: String,
    /// Every version that the pod has or gets.
    #[serde(default)]
    pub models: Vec<LoadedModel>,
}

/// What became of a plan in a pod.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub enum PlanState {
    /// Every version it names answers, and no other.
    Applied,
    /// On the way there.
    Loading,
    /// It cannot be applied; what served before still does.
    Failed,
}

/// A version in a pod.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LoadedModel {
    /// The model's name.
    pub name: String,
    /// The version's number.
    pub version: u64,
    /// What it does.
    pub state: ModelState,
    /// Why, for people.
    #[serde(default)]
    pub reason: String,
}

/// What a version in a pod does, in the words of Triton's repository index.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum ModelState {
    /// It answers.
    Ready,
    /// It is being loaded.
    Loading,
    /// It cannot be loaded.
    Unavailable,
    /// A word of a later pod.
    #[serde(other)]
    Other,
}

#[cfg(test)]
mod tests {
    use super::super::resolve::PublishedVersion;
    use super::*;

    fn model(name: &str, version: u64) -> ResolvedModel {
        ResolvedModel {
            name: name.into(),
            default: PublishedVersion {
                model_version: format!("{name}-{version}"),
                version,
                digest: format!("sha256:{}", "a".repeat(64)),
            },
        }
    }

    #[test]
    fn the_plan_reads_as_the_contract_has_it() {
        let plan: serde_json::Value =
            serde_json::from_str(&RenderedPlan::of(&[model("tumour", 2)]).json).unwrap();
        let digest = format!("sha256:{}", "a".repeat(64));
        let expected = serde_json::json!({"formatVersion": 1, "models": [{
            "name": "tumour", "defaultVersion": 2, "versions": [{"version": 2, "digest": digest, "weight": 100}],
        }]});
        assert_eq!(plan, expected);
    }

    #[test]
    fn the_order_of_the_spec_changes_nothing_and_a_version_does() {
        let plan = RenderedPlan::of(&[model("tumour", 2), model("wine", 1)]);
        assert_eq!(plan, RenderedPlan::of(&[model("wine", 1), model("tumour", 2)]));
        assert_ne!(
            plan.sha256,
            RenderedPlan::of(&[model("wine", 1), model("tumour", 3)]).sha256
        );
    }

    #[test]
    fn a_pods_answer_reads_as_the_contract_has_it() {
        let answer: PodAnswer = serde_json::from_value(serde_json::json!({
            "planSha256": "abc", "state": "Loading", "message": "",
            "models": [{"name": "tumour", "version": 2, "digest": "sha256:00", "state": "LOADING", "reason": "fetching"}],
        }))
        .unwrap();
        assert_eq!(answer.state, PlanState::Loading);
        assert_eq!(answer.models[0].state, ModelState::Loading);
    }
}
