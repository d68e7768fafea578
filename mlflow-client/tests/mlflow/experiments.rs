//! Experiments: one per name, whoever asks and however often.

use aiops_mlflow_client::{ErrorKind, NewRun, Tag, tag_value};

use crate::server::{client, unique};

#[tokio::test]
async fn an_experiment_is_made_once_and_found_afterwards() {
    let client = client();
    let name = unique("team/tumour's \"größe\" 測試");
    let tags = [Tag::new("aiops.dev/namespace", "team")];
    let made = client.get_or_create_experiment(&name, &tags).await.unwrap();
    assert_eq!(made.name, name);
    assert_eq!(tag_value(&made.tags, "aiops.dev/namespace"), Some("team"));
    assert!(
        made.artifact_location.starts_with("mlflow-artifacts:/"),
        "{}",
        made.artifact_location
    );

    let found = client.get_or_create_experiment(&name, &tags).await.unwrap();
    assert_eq!(found, made);
}

#[tokio::test]
async fn tags_asked_for_later_are_set_on_the_experiment_that_exists() {
    let client = client();
    let name = unique("tags");
    client
        .get_or_create_experiment(&name, &[Tag::new("a", "1"), Tag::new("kept", "yes")])
        .await
        .unwrap();
    client
        .get_or_create_experiment(&name, &[Tag::new("a", "2")])
        .await
        .unwrap();
    let experiment = client.get_experiment_by_name(&name).await.unwrap();
    assert_eq!(tag_value(&experiment.tags, "a"), Some("2"));
    assert_eq!(tag_value(&experiment.tags, "kept"), Some("yes"));
}

#[tokio::test]
async fn callers_at_once_get_the_same_experiment() {
    let name = unique("race");
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, name) = (client(), name.clone());
            tokio::spawn(async move {
                client
                    .get_or_create_experiment(&name, &[])
                    .await
                    .unwrap()
                    .experiment_id
            })
        })
        .collect();
    let mut identifiers = Vec::new();
    for caller in callers {
        identifiers.push(caller.await.unwrap());
    }
    identifiers.dedup();
    assert_eq!(identifiers.len(), 1, "{identifiers:?}");
}

#[tokio::test]
async fn a_deleted_experiment_is_restored_and_takes_runs_again() {
    let client = client();
    let name = unique("deleted");
    let made = client.get_or_create_experiment(&name, &[]).await.unwrap();
    client.delete_experiment(&made.experiment_id).await.unwrap();
    assert!(client.get_experiment_by_name(&name).await.unwrap().is_deleted());

    let restored = client.get_or_create_experiment(&name, &[]).await.unwrap();
    assert_eq!(restored.experiment_id, made.experiment_id);
    assert!(!restored.is_deleted());
    let run = NewRun {
        experiment_id: restored.experiment_id,
        ..NewRun::default()
    };
    client.create_run(&run).await.unwrap();
}

#[tokio::test]
async fn what_does_not_exist_or_is_not_allowed_is_told_apart() {
    let client = client();
    let missing = client.get_experiment_by_name("there is none").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert!(
        missing
            .to_string()
            .contains("GET /api/2.0/mlflow/experiments/get-by-name"),
        "{missing}"
    );
    assert!(missing.to_string().contains("there is none"), "{missing}");

    let too_long = client
        .get_or_create_experiment(&"x".repeat(501), &[])
        .await
        .unwrap_err();
    assert_eq!(too_long.kind(), ErrorKind::InvalidRequest, "{too_long}");
}
