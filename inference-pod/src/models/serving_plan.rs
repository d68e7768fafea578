//! The serving plan: which versions of which models this pod serves. The operator writes it, the pod follows it.

use std::collections::BTreeSet;

use aiops_model_repository::{Digest, Hasher};
use http::HeaderName;
use serde::Deserialize;

use super::shares::Shares;

/// `plan.json`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PlanFile {
    format_version: u32,
    models: Vec<ModelTarget>,
}

/// What is to be served.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Target {
    /// SHA-256 of the plan's text; empty when no plan asked for this.
    pub plan_sha256: String,
    /// Models, each with its versions.
    pub models: Vec<ModelTarget>,
}

/// A model that is to be served.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModelTarget {
    /// Name for clients, and folder in the repository.
    pub name: String,
    /// Version that answers when a request names none.
    pub default_version: u64,
    /// Header that names the caller: requests that have it get the same version each time, as far as weights let them.
    #[serde(default)]
    pub sticky_header: Option<StickyHeader>,
    /// Versions to load.
    pub versions: Vec<VersionTarget>,
}

/// A version that is to be served.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct VersionTarget {
    /// Version number.
    pub version: u64,
    /// Digest that its files must have; absent for any.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// Share of the requests that name no version.
    #[serde(default)]
    pub weight: u64,
}

/// The name of a header, which is that of metadata over gRPC.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct StickyHeader(HeaderName);

impl TryFrom<String> for StickyHeader {
    type Error = String;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        name.parse().map(Self).map_err(|_| {
            format!("stickyHeader \"{name}\" is no name of a header: write letters, digits and hyphens, such as x-user-id")
        })
    }
}

impl ModelTarget {
    /// How requests that name no version are shared out.
    pub(super) fn shares(&self) -> Shares {
        let weights = self.versions.iter().map(|wanted| (wanted.version, wanted.weight));
        let header = self.sticky_header.as_ref().map(|header| header.0.clone());
        Shares::new(weights.collect(), header)
    }
}

/// SHA-256 of a plan's text.
pub fn plan_sha256(text: &[u8]) -> String {
    let mut hasher = Hasher::default();
    hasher.update(text);
    hasher.finish()
}

impl Target {
    /// Reads a plan and checks that it does not contradict itself.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let plan: PlanFile =
            serde_json::from_slice(text).map_err(|error| format!("the plan is not valid: {error}"))?;
        if plan.format_version != 1 {
            return Err(format!(
                "formatVersion {} of the plan is not known, update this pod",
                plan.format_version
            ));
        }
        let mut names = BTreeSet::new();
        for model in &plan.models {
            let name = &model.name;
            if !names.insert(name) {
                return Err(format!("model {name} is in the plan twice"));
            }
            let numbers: BTreeSet<_> = model.versions.iter().map(|version| version.version).collect();
            if numbers.len() != model.versions.len() {
                return Err(format!("model {name} has the same version twice in the plan"));
            }
            let mut weights = model.versions.iter().map(|version| version.weight);
            if weights.try_fold(0, u64::checked_add).is_none() {
                return Err(format!(
                    "the weights of model {name} are too large together; 100 are enough"
                ));
            }
            if !numbers.contains(&model.default_version) {
                return Err(format!(
                    "defaultVersion {} of model {name} is not among its versions",
                    model.default_version
                ));
            }
        }
        Ok(Self {
            plan_sha256: plan_sha256(text),
            models: plan.models,
        })
    }

    /// Whether a version is wanted.
    pub fn wants(&self, model: &str, version: u64) -> bool {
        self.models.iter().any(|target| {
            target.name == model && target.versions.iter().any(|wanted| wanted.version == version)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_of_the_contract_is_read() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let text = format!(
            r#"{{"formatVersion": 1, "models": [{{"name": "tumour", "defaultVersion": 2,
                "versions": [{{"version": 2, "digest": "{digest}", "weight": 100}}]}}]}}"#
        );
        let target = Target::parse(text.as_bytes()).unwrap();
        assert_eq!(
            target.models[0].versions[0].digest.as_ref().unwrap().to_string(),
            digest
        );
        assert!(target.wants("tumour", 2) && !target.wants("tumour", 1));
        assert_eq!(target.plan_sha256.len(), 64);
    }

    #[test]
    fn plans_that_contradict_themselves_are_refused() {
        let model = |name: &str, default: u64, versions: &str| {
            format!(r#"{{"name": "{name}", "defaultVersion": {default}, "versions": [{versions}]}}"#)
        };
        let one = r#"{"version": 1}"#;
        for (models, part) in [
            (format!("{},{}", model("a", 1, one), model("a", 1, one)), "twice"),
            (model("a", 2, one), "defaultVersion 2"),
            (model("a", 1, &format!("{one},{one}")), "same version twice"),
            (
                model("a", 1, r#"{"version": 1, "digest": "md5:x"}"#),
                "does not start with",
            ),
            (model("a", 1, r#"{"version": 1, "wight": 3}"#), "wight"),
            (
                model("a", 1, &format!(r#"{{"version": 1, "weight": {0}}}, {{"version": 2, "weight": {0}}}"#, u64::MAX)),
                "weights of model a",
            ),
            (
                r#"{"name": "a", "defaultVersion": 1, "stickyHeader": "user id", "versions": [{"version": 1}]}"#.to_owned(),
                "\"user id\" is no name of a header",
            ),
        ] {
            let text = format!(r#"{{"formatVersion": 1, "models": [{models}]}}"#);
            let error = Target::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        assert!(
            Target::parse(br#"{"formatVersion": 2, "models": []}"#)
                .unwrap_err()
                .contains("formatVersion 2")
        );
    }
}
