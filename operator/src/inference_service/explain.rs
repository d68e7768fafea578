//! Says why a model's version cannot be chosen, and what to do about it (pure).

use aiops_crds::{ConditionStatus, ModelVersion, Stage};

use super::resolve::{PublishedVersion, UnreadableVersion, is_being_deleted, published};

/// How many versions a message names.
const NAMED: usize = 5;

/// No published version holds the stage.
pub fn empty_stage(model: &str, stage: Stage, versions: &[ModelVersion]) -> String {
    let versions = of_model(model, versions);
    if versions.is_empty() {
        return format!("{model}: {}", no_versions(model));
    }
    let remedy = match versions.iter().find_map(|version| published(version)) {
        Some(candidate) => format!("to promote one: {}", promotion(&candidate, stage)),
        None => format!("the first one that is published and asks for {stage} is served"),
    };
    format!(
        "{model}: no published version holds stage {stage}; there is {}; {remedy}",
        overview(&versions)
    )
}

/// No ModelVersion has the name.
pub fn no_such_version(model: &str, name: &str, versions: &[ModelVersion]) -> String {
    let versions = of_model(model, versions);
    if versions.is_empty() {
        return format!(
            "{model}: ModelVersion {name} does not exist, and {}",
            no_versions(model)
        );
    }
    format!(
        "{model}: ModelVersion {name} does not exist; there is {}; create it, or set spec.models[{model}].version.ref to one of these",
        overview(&versions)
    )
}

/// The ModelVersion is of another model.
pub fn wrong_model(model: &str, version: &ModelVersion) -> String {
    let name = version.metadata.name.as_deref().unwrap_or_default();
    let other = &version.spec.model;
    format!(
        "{model}: ModelVersion {name} belongs to model {other}: name a version of {model}, or serve it under its own name with spec.models[].name: {other}"
    )
}

/// The ModelVersion is on its way out.
pub fn being_deleted(model: &str, name: &str) -> String {
    format!(
        "{model}: ModelVersion {name} is being deleted: name another one in spec.models[{model}].version.ref"
    )
}

/// The ModelVersion is not published.
pub fn unpublished(model: &str, version: &ModelVersion) -> String {
    let name = version.metadata.name.as_deref().unwrap_or_default();
    let why = why_not_ready(version).map_or_else(
        || "its controller has not looked at it yet".to_owned(),
        |(reason, message)| format!("{reason}: {message}"),
    );
    format!("{model}: ModelVersion {name} is not published yet ({why})")
}

/// The ModelVersion has a form that this operator does not know.
pub fn unreadable(model: &str, version: &UnreadableVersion) -> String {
    format!(
        "{model}: ModelVersion {} cannot be read by this operator: {}; correct that value, or install the release that knows it",
        version.name, version.error
    )
}

/// What is served lacks a ModelVersion that says so, or `None` where it has one.
pub fn orphaned(
    model: &str,
    served: &PublishedVersion,
    versions: &[ModelVersion],
    unreadable: &[UnreadableVersion],
) -> Option<String> {
    let name = &served.model_version;
    if unreadable.iter().any(|version| version.name == *name) {
        return None; // that it cannot be read is what keeps it
    }
    let found = versions
        .iter()
        .find(|version| published(version).as_ref() == Some(served));
    let what = match found {
        None => "is gone",
        Some(version) if is_being_deleted(version) => "is being deleted",
        Some(_) => return None,
    };
    Some(format!(
        "ModelVersion {name} {what}: pods go on with what it published until another version takes its place, while new ones need its \
         files in the model repository; to end it, remove {model} from spec.models"
    ))
}

fn no_versions(model: &str) -> String {
    format!(
        "no ModelVersion of model {model} is in this namespace: create one, or an Experiment with spec.register.model: {model}"
    )
}

fn promotion(candidate: &PublishedVersion, stage: Stage) -> String {
    let approval = match stage {
        Stage::Production => format!(r#","approval":{{"digest":"{}"}}"#, candidate.digest),
        _ => String::new(),
    };
    format!(
        r#"kubectl patch modelversion {} --type=merge -p '{{"spec":{{"stage":"{stage}"{approval}}}}}'"#,
        candidate.model_version
    )
}

/// The model's versions, the highest first, those without a number last.
fn of_model<'versions>(model: &str, versions: &'versions [ModelVersion]) -> Vec<&'versions ModelVersion> {
    let mut found: Vec<&ModelVersion> = versions
        .iter()
        .filter(|version| version.spec.model == model && version.metadata.deletion_timestamp.is_none())
        .collect();
    let rank = |version: &ModelVersion| {
        let number: Option<u64> = version
            .status
            .as_ref()
            .and_then(|status| status.version.as_deref()?.parse().ok());
        (number, version.metadata.name.clone())
    };
    found.sort_by_key(|version| std::cmp::Reverse(rank(version)));
    found
}

fn overview(versions: &[&ModelVersion]) -> String {
    let mut named: Vec<String> = versions
        .iter()
        .take(NAMED)
        .map(|version| describe(version))
        .collect();
    if versions.len() > NAMED {
        named.push(format!("and {} more", versions.len() - NAMED));
    }
    named.join(", ")
}

/// Such as `tumour-forest-1 (version 1, Staging)`, with what keeps it from the stage it asks for.
fn describe(version: &ModelVersion) -> String {
    let name = version.metadata.name.as_deref().unwrap_or_default();
    let state = match published(version) {
        Some(published) => {
            let stage = version
                .status
                .as_ref()
                .and_then(|status| status.stage)
                .unwrap_or_default();
            format!("version {}, {stage}", published.version)
        }
        None => "not published".to_owned(),
    };
    let reason = why_not_ready(version).map_or_else(String::new, |(reason, _)| format!(", {reason}"));
    format!("{name} ({state}{reason})")
}

fn why_not_ready(version: &ModelVersion) -> Option<(&str, &str)> {
    let ready = version
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|condition| condition.type_ == "Ready")?;
    (ready.status != ConditionStatus::True).then_some((&ready.reason, &ready.message))
}

#[cfg(test)]
mod tests {
    use super::super::resolve::tests::{published_as, version};
    use super::*;

    #[test]
    fn an_empty_stage_shows_the_versions_and_the_command_that_promotes_the_newest() {
        let versions = [
            version("tumour-1", "tumour", published_as(1, "Archived")),
            version("tumour-2", "tumour", published_as(2, "Staging")),
        ];
        let message = empty_stage("tumour", Stage::Production, &versions);
        assert!(
            message.contains("tumour-2 (version 2, Staging), tumour-1 (version 1, Archived)"),
            "{message}"
        );
        let digest = format!("sha256:{:064x}", 2);
        let command = format!(
            r#"kubectl patch modelversion tumour-2 --type=merge -p '{{"spec":{{"stage":"Production","approval":{{"digest":"{digest}"}}}}}}'"#
        );
        assert!(message.contains(&command), "{message}");
    }

    #[test]
    fn a_version_that_awaits_something_says_what() {
        let mut waiting = published_as(2, "Staging");
        waiting["conditions"] = serde_json::json!([{
            "type": "Ready", "status": "False", "reason": "AwaitingApproval", "message": "…",
            "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]);
        let message = empty_stage(
            "tumour",
            Stage::Production,
            &[version("tumour-2", "tumour", waiting)],
        );
        assert!(
            message.contains("tumour-2 (version 2, Staging, AwaitingApproval)"),
            "{message}"
        );
    }

    #[test]
    fn a_model_without_versions_says_how_to_get_one() {
        let message = empty_stage("tumour", Stage::Production, &[]);
        assert!(
            message.contains("Experiment with spec.register.model: tumour"),
            "{message}"
        );
    }

    #[test]
    fn a_long_list_is_cut() {
        let versions: Vec<ModelVersion> = (1..=8)
            .map(|number| {
                version(
                    &format!("tumour-{number}"),
                    "tumour",
                    published_as(number, "None"),
                )
            })
            .collect();
        let message = no_such_version("tumour", "tumour-9", &versions);
        assert!(message.contains("tumour-8 (version 8, None)"), "{message}");
        assert!(
            message.contains("and 3 more") && !message.contains("tumour-3 "),
            "{message}"
        );
    }
}
