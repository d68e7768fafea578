//! Chooses the version of each model (pure): from the ModelVersions of the namespace, and from what was served before.

use aiops_crds::{InferenceServiceReason as Reason, ModelVersion, ServedModelStatus, Stage};

use super::explain;
use super::validate::{Selector, ValidatedModel};

/// A version whose bytes lie in the model repository.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishedVersion {
    /// The ModelVersion's name.
    pub model_version: String,
    /// Its number.
    pub version: u64,
    /// The digest of its bytes.
    pub digest: String,
}

/// A model and the version that answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolvedModel {
    /// The model's name.
    pub name: String,
    /// Answers requests that name no version.
    pub default: PublishedVersion,
}

/// A model whose version could not be chosen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unresolved {
    /// The model's name.
    pub model: String,
    /// Why, as one word.
    pub reason: Reason,
    /// Why, and what to do.
    pub message: String,
    /// The number of the version that goes on answering meanwhile.
    pub still_answers: Option<u64>,
}

/// What became of the spec's models.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Resolution {
    /// What to serve, in the order of the spec; with models that are unresolved but were served before.
    pub models: Vec<ResolvedModel>,
    /// What the spec asks for and is not there.
    pub unresolved: Vec<Unresolved>,
}

/// Resolves every model. One that cannot be resolved but was served before, with a version that is still there, goes on
/// being served: a stage that is empty for a moment must not end a service.
pub fn resolve(
    models: &[ValidatedModel],
    versions: &[ModelVersion],
    served_before: &[ServedModelStatus],
) -> Resolution {
    let mut resolution = Resolution::default();
    for model in models {
        let name = model.name.clone();
        match choose(&name, &model.selector, versions) {
            Ok(default) => resolution.models.push(ResolvedModel { name, default }),
            Err((reason, message)) => {
                let previous = previous(&name, versions, served_before);
                resolution.unresolved.push(Unresolved {
                    model: name.clone(),
                    reason,
                    message,
                    still_answers: previous.as_ref().map(|previous| previous.version),
                });
                resolution
                    .models
                    .extend(previous.map(|default| ResolvedModel { name, default }));
            }
        }
    }
    resolution
}

/// The version that one selector means, or why there is none. Each selector is chosen for itself, so that a model may have
/// more of them with weights of their own.
fn choose(
    model: &str,
    selector: &Selector,
    versions: &[ModelVersion],
) -> Result<PublishedVersion, (Reason, String)> {
    match selector {
        Selector::Stage(stage) => holder(model, *stage, versions).ok_or_else(|| {
            (
                Reason::WaitingForStage,
                explain::empty_stage(model, *stage, versions),
            )
        }),
        Selector::Reference(name) => named(model, name, versions),
    }
}

/// Of the published versions of `model` that hold `stage`, the highest.
fn holder(model: &str, stage: Stage, versions: &[ModelVersion]) -> Option<PublishedVersion> {
    versions
        .iter()
        .filter(|version| version.spec.model == model && !is_being_deleted(version))
        .filter(|version| version.status.as_ref().and_then(|status| status.stage) == Some(stage))
        .filter_map(published)
        // Two objects may name one MLflow version; the name decides, so that the answer does not depend on the list's order.
        .max_by(|left, right| (left.version, &left.model_version).cmp(&(right.version, &right.model_version)))
}

fn named(model: &str, name: &str, versions: &[ModelVersion]) -> Result<PublishedVersion, (Reason, String)> {
    let found = versions
        .iter()
        .find(|version| version.metadata.name.as_deref() == Some(name));
    match found {
        None => Err((
            Reason::WaitingForModelVersion,
            explain::no_such_version(model, name, versions),
        )),
        Some(version) if version.spec.model != model => {
            Err((Reason::WrongModel, explain::wrong_model(model, version)))
        }
        Some(version) if is_being_deleted(version) => Err((
            Reason::WaitingForModelVersion,
            explain::being_deleted(model, name),
        )),
        Some(version) => published(version).ok_or_else(|| {
            (
                Reason::WaitingForPublication,
                explain::unpublished(model, version),
            )
        }),
    }
}

/// What was served before, where its ModelVersion is still there with the same bytes.
fn previous(
    model: &str,
    versions: &[ModelVersion],
    served_before: &[ServedModelStatus],
) -> Option<PublishedVersion> {
    let before = served_before.iter().find(|before| before.name == model)?;
    versions
        .iter()
        .filter(|version| version.spec.model == model && !is_being_deleted(version))
        .filter_map(published)
        .find(|version| version.model_version == before.model_version && version.digest == before.digest)
}

/// The version as it lies in the repository, once it does.
pub fn published(version: &ModelVersion) -> Option<PublishedVersion> {
    let status = version.status.as_ref()?;
    Some(PublishedVersion {
        model_version: version.metadata.name.clone()?,
        version: status.version.as_deref()?.parse().ok()?,
        digest: status.published.as_ref()?.digest.clone(),
    })
}

fn is_being_deleted(version: &ModelVersion) -> bool {
    version.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A ModelVersion as the API server would hand it over.
    pub fn version(name: &str, model: &str, status: serde_json::Value) -> ModelVersion {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "aiops.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": name, "namespace": "team", "uid": format!("uid-{name}")},
            "spec": {"model": model, "source": {"experiment": "forest"}},
            "status": status,
        }))
        .unwrap()
    }

    /// The status of a published version.
    pub fn published_as(number: u64, stage: &str) -> serde_json::Value {
        serde_json::json!({"version": number.to_string(), "stage": stage, "published": {
            "digest": format!("sha256:{number:064x}"), "sizeBytes": 1, "uri": "s3://models/team/tumour/1",
            "inputs": [], "outputs": [], "opset": 17,
        }})
    }

    fn tumour(number: u64, stage: &str) -> ModelVersion {
        version(&format!("tumour-{number}"), "tumour", published_as(number, stage))
    }

    fn in_production() -> Vec<ValidatedModel> {
        vec![ValidatedModel {
            name: "tumour".into(),
            selector: Selector::Stage(Stage::Production),
        }]
    }

    fn pinned(name: &str) -> Vec<ValidatedModel> {
        vec![ValidatedModel {
            name: "tumour".into(),
            selector: Selector::Reference(name.into()),
        }]
    }

    fn served(number: u64) -> Vec<ServedModelStatus> {
        vec![ServedModelStatus {
            name: "tumour".into(),
            model_version: format!("tumour-{number}"),
            version: number.to_string(),
            digest: format!("sha256:{number:064x}"),
        }]
    }

    fn numbers(resolution: &Resolution) -> Vec<u64> {
        resolution
            .models
            .iter()
            .map(|model| model.default.version)
            .collect()
    }

    fn reason(resolution: &Resolution) -> (Reason, &str) {
        (resolution.unresolved[0].reason, &resolution.unresolved[0].message)
    }

    #[test]
    fn the_highest_number_holds_the_stage_and_ten_is_higher_than_nine() {
        let versions = [
            tumour(9, "Production"),
            tumour(10, "Production"),
            tumour(11, "Staging"),
        ];
        let resolution = resolve(&in_production(), &versions, &[]);
        assert_eq!((numbers(&resolution), resolution.unresolved.len()), (vec![10], 0));
    }

    #[test]
    fn versions_of_other_models_unpublished_ones_and_those_being_deleted_are_passed_over() {
        let mut leaving = tumour(7, "Production");
        leaving.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
            k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        ));
        let unpublished = version(
            "tumour-8",
            "tumour",
            serde_json::json!({"version": "8", "stage": "Production"}),
        );
        let versions = [
            version("wine-9", "wine", published_as(9, "Production")),
            unpublished,
            leaving,
            tumour(1, "Production"),
        ];
        assert_eq!(numbers(&resolve(&in_production(), &versions, &[])), [1]);
    }

    #[test]
    fn an_empty_stage_waits_and_what_served_before_still_answers() {
        let versions = [tumour(1, "Staging"), tumour(2, "Archived")];
        let first = resolve(&in_production(), &versions, &[]);
        assert_eq!(
            (numbers(&first), reason(&first).0),
            (vec![], Reason::WaitingForStage)
        );
        let later = resolve(&in_production(), &versions, &served(2));
        assert_eq!(
            (numbers(&later), later.unresolved[0].still_answers),
            (vec![2], Some(2))
        );
    }

    #[test]
    fn what_served_before_ends_with_its_model_version() {
        let resolution = resolve(&in_production(), &[tumour(1, "Staging")], &served(2));
        assert_eq!(
            (numbers(&resolution), resolution.unresolved[0].still_answers),
            (vec![], None)
        );
    }

    #[test]
    fn other_bytes_under_the_name_that_served_before_are_not_served() {
        let mut before = served(2);
        before[0].digest = format!("sha256:{:064x}", 99);
        let resolution = resolve(&in_production(), &[tumour(2, "Archived")], &before);
        assert_eq!(numbers(&resolution), Vec::<u64>::new());
    }

    #[test]
    fn a_pin_follows_no_stage() {
        let versions = [tumour(1, "Archived"), tumour(2, "Production")];
        assert_eq!(numbers(&resolve(&pinned("tumour-1"), &versions, &[])), [1]);
    }

    #[test]
    fn each_reason_why_a_pin_cannot_be_served_has_its_word() {
        let versions = [
            version("wine-1", "wine", published_as(1, "None")),
            version("tumour-1", "tumour", serde_json::json!({})),
        ];
        let missing = resolve(&pinned("tumour-9"), &versions, &[]);
        assert_eq!(reason(&missing).0, Reason::WaitingForModelVersion);
        let wrong = resolve(&pinned("wine-1"), &versions, &[]);
        assert_eq!(reason(&wrong).0, Reason::WrongModel);
        assert!(reason(&wrong).1.contains("model wine"), "{}", reason(&wrong).1);
        let unpublished = resolve(&pinned("tumour-1"), &versions, &[]);
        assert_eq!(reason(&unpublished).0, Reason::WaitingForPublication);
    }

    #[test]
    fn a_model_that_waits_does_not_hold_up_another() {
        let models = [in_production(), pinned_wine()].concat();
        let versions = [version("wine-1", "wine", published_as(1, "None"))];
        let resolution = resolve(&models, &versions, &[]);
        assert_eq!(resolution.models[0].name, "wine");
        assert_eq!(resolution.unresolved[0].model, "tumour");
    }

    fn pinned_wine() -> Vec<ValidatedModel> {
        vec![ValidatedModel {
            name: "wine".into(),
            selector: Selector::Reference("wine-1".into()),
        }]
    }

    proptest! {
        #[test]
        fn the_lists_order_changes_nothing_and_the_highest_holder_is_chosen(
            (sorted, shuffled) in proptest::collection::btree_map(1_u64..100_000, 0_usize..4, 1..12).prop_flat_map(|stages| {
                let names = ["None", "Staging", "Production", "Archived"];
                let versions: Vec<ModelVersion> = stages.into_iter().map(|(number, stage)| tumour(number, names[stage])).collect();
                (Just(versions.clone()), Just(versions).prop_shuffle())
            }),
        ) {
            let resolution = resolve(&in_production(), &shuffled, &[]);
            prop_assert_eq!(&resolution, &resolve(&in_production(), &sorted, &[]));
            let highest = sorted
                .iter()
                .filter(|version| version.status.as_ref().unwrap().stage == Some(Stage::Production))
                .map(|version| version.status.as_ref().unwrap().version.as_ref().unwrap().parse::<u64>().unwrap())
                .max();
            prop_assert_eq!(numbers(&resolution).first().copied(), highest);
            prop_assert_eq!(resolution.unresolved.is_empty(), highest.is_some());
        }
    }
}
