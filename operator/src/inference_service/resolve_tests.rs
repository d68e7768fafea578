//! Which version of a model is served, for the situations that a service gets into.

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

/// Where every ModelVersion can be read.
fn resolve(
    models: &[ValidatedModel],
    versions: &[ModelVersion],
    served_before: &[ServedModelStatus],
) -> Resolution {
    super::resolve(models, versions, &[], served_before)
}

fn tumour(number: u64, stage: &str) -> ModelVersion {
    version(&format!("tumour-{number}"), "tumour", published_as(number, stage))
}

fn being_deleted(mut version: ModelVersion) -> ModelVersion {
    version.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
    ));
    version
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
    let leaving = being_deleted(tumour(7, "Production"));
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
fn what_served_before_outlives_its_model_version_until_another_holds_the_stage() {
    let gone = resolve(&in_production(), &[tumour(1, "Archived")], &served(2));
    assert_eq!(
        (numbers(&gone), gone.unresolved[0].still_answers),
        (vec![2], Some(2))
    );
    assert_eq!(gone.models[0].default.digest, format!("sha256:{:064x}", 2));
    let (why, message) = reason(&gone);
    assert_eq!(why, Reason::WaitingForStage);
    assert!(message.contains("ModelVersion tumour-2 is gone"), "{message}");
    assert!(message.contains("remove tumour from spec.models"), "{message}");
    let rolled_back = resolve(&in_production(), &[tumour(1, "Production")], &served(2));
    assert_eq!(
        (numbers(&rolled_back), rolled_back.unresolved.len()),
        (vec![1], 0)
    );
}

#[test]
fn what_served_before_is_kept_while_its_model_version_is_being_deleted() {
    for models in [in_production(), pinned("tumour-2")] {
        let resolution = resolve(&models, &[being_deleted(tumour(2, "Production"))], &served(2));
        assert_eq!(numbers(&resolution), [2]);
        let message = reason(&resolution).1;
        assert!(
            message.contains("ModelVersion tumour-2 is being deleted"),
            "{message}"
        );
    }
}

#[test]
fn a_pinned_version_that_was_deleted_is_still_served() {
    let resolution = resolve(&pinned("tumour-2"), &[], &served(2));
    assert_eq!(numbers(&resolution), [2]);
    let (why, message) = reason(&resolution);
    assert_eq!(why, Reason::WaitingForModelVersion);
    assert!(message.contains("ModelVersion tumour-2 is gone"), "{message}");
}

#[test]
fn a_model_that_was_removed_from_the_spec_is_not_kept() {
    assert_eq!(resolve(&[], &[], &served(2)), Resolution::default());
}

#[test]
fn a_version_that_cannot_be_read_is_unknown_and_not_absent() {
    let unreadable = [UnreadableVersion {
        name: "tumour-2".into(),
        error: "unknown variant `Canary`".into(),
    }];
    for (models, versions) in [
        (in_production(), vec![]),
        (in_production(), vec![tumour(1, "Production")]),
        (pinned("tumour-2"), vec![]),
    ] {
        let resolution = super::resolve(&models, &versions, &unreadable, &served(2));
        assert_eq!(numbers(&resolution), [2]);
        let (why, message) = reason(&resolution);
        assert_eq!(why, Reason::UnreadableVersion);
        assert!(
            message.contains("tumour-2") && message.contains("Canary"),
            "{message}"
        );
    }
    let higher = super::resolve(
        &in_production(),
        &[tumour(3, "Production")],
        &unreadable,
        &served(2),
    );
    assert_eq!((numbers(&higher), higher.unresolved.len()), (vec![3], 0));
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
