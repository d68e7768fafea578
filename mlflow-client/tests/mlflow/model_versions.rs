//! Versions: made once per UID whatever is lost on the way, moved through stages, found by tag.

use aiops_mlflow_client::{
    Client, ErrorKind, Filter, ModelVersion, ModelVersionStatus, NewModelVersion, Stage, Tag, UID_TAG,
};

use crate::network::{Losses, LossyProxy};
use crate::server::{client, unique};

fn version(name: &str) -> NewModelVersion {
    NewModelVersion {
        name: name.to_owned(),
        source: "s3://models/tumour".to_owned(),
        tags: vec![Tag::new("aiops.dev/namespace", "team")],
        description: "größer".to_owned(),
        ..NewModelVersion::default()
    }
}

async fn versions_of(client: &Client, name: &str) -> Vec<ModelVersion> {
    client
        .search_model_versions(&Filter::new().attribute("name", name).unwrap())
        .await
        .unwrap()
}

#[tokio::test]
async fn a_version_is_made_once_per_uid() {
    let client = client();
    let name = unique("team.tumour's größe");
    let made = client
        .ensure_model_version("uid-1", version(&name))
        .await
        .unwrap();
    assert_eq!((made.version.as_str(), made.number()), ("1", Some(1)));
    assert_eq!(made.status, ModelVersionStatus::Ready);
    assert_eq!(made.source, "s3://models/tumour");
    assert_eq!(made.description, "größer");
    assert_eq!(made.tag(UID_TAG), Some("uid-1"));
    assert_eq!(made.tag("aiops.dev/namespace"), Some("team"));
    assert_eq!(made.stage(), Some(Stage::None));

    let again = client
        .ensure_model_version("uid-1", version(&name))
        .await
        .unwrap();
    assert_eq!(again.version, "1");
    let other = client
        .ensure_model_version("uid-2", version(&name))
        .await
        .unwrap();
    assert_eq!(other.version, "2");
    assert_eq!(versions_of(&client, &name).await.len(), 2);
}

#[tokio::test]
async fn a_version_whose_answer_was_lost_is_found_by_the_same_call() {
    let client = client();
    let name = unique("lost");
    let proxy = LossyProxy::start(Losses {
        answer_to: "/model-versions/create",
        then_requests: 0,
    })
    .await;
    let made = proxy
        .client()
        .ensure_model_version("uid", version(&name))
        .await
        .unwrap();
    assert_eq!((made.version.as_str(), proxy.lost()), ("1", 1));
    assert_eq!(versions_of(&client, &name).await.len(), 1);
}

#[tokio::test]
async fn a_version_whose_answer_was_lost_with_the_connection_is_found_by_the_next_call() {
    let client = client();
    let name = unique("lost");
    let proxy = LossyProxy::start(Losses {
        answer_to: "/model-versions/create",
        then_requests: 1,
    })
    .await;
    let error = proxy
        .client()
        .ensure_model_version("uid", version(&name))
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(proxy.lost(), 2);
    let made = proxy
        .client()
        .ensure_model_version("uid", version(&name))
        .await
        .unwrap();
    assert_eq!(made.version, "1");
    assert_eq!(versions_of(&client, &name).await.len(), 1);
}

#[tokio::test]
async fn a_version_made_twice_is_reduced_to_the_lower_number() {
    let client = client();
    let name = unique("twice");
    client
        .get_or_create_registered_model(&name, &[], "")
        .await
        .unwrap();
    let mut new = version(&name);
    new.tags.push(Tag::new(UID_TAG, "uid"));
    for _ in 0..2 {
        client.create_model_version(&new).await.unwrap();
    }
    assert_eq!(
        client
            .ensure_model_version("uid", version(&name))
            .await
            .unwrap()
            .version,
        "1"
    );
    assert_eq!(versions_of(&client, &name).await.len(), 1);
}

#[tokio::test]
async fn numbers_of_deleted_versions_are_not_given_again() {
    let client = client();
    let name = unique("deleted");
    client
        .ensure_model_version("uid-1", version(&name))
        .await
        .unwrap();
    client.delete_model_version(&name, "1").await.unwrap();
    assert_eq!(
        client.get_model_version(&name, "1").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        client.delete_model_version(&name, "1").await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        client
            .find_model_version_by_tag(&name, UID_TAG, "uid-1")
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        client
            .ensure_model_version("uid-1", version(&name))
            .await
            .unwrap()
            .version,
        "2"
    );
}

#[tokio::test]
async fn a_version_moves_through_stages_and_archives_the_one_before() {
    let client = client();
    let name = unique("stages");
    for uid in ["a", "b"] {
        client.ensure_model_version(uid, version(&name)).await.unwrap();
    }
    for stage in [Stage::Staging, Stage::Production] {
        let moved = client.transition_stage(&name, "1", stage, true).await.unwrap();
        assert_eq!(moved.stage(), Some(stage));
    }
    client
        .transition_stage(&name, "2", Stage::Production, true)
        .await
        .unwrap();
    assert_eq!(
        client.get_model_version(&name, "1").await.unwrap().stage(),
        Some(Stage::Archived)
    );
    assert_eq!(
        client.get_model_version(&name, "2").await.unwrap().stage(),
        Some(Stage::Production)
    );
    let back = client
        .transition_stage(&name, "2", Stage::None, false)
        .await
        .unwrap();
    assert_eq!(back.stage(), Some(Stage::None));

    let refused = client
        .transition_stage(&name, "2", Stage::Archived, true)
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{refused}");
    let missing = client
        .transition_stage(&name, "9", Stage::Staging, false)
        .await
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

#[tokio::test]
async fn tags_are_set_and_searched_for_exactly() {
    let client = client();
    let (name, neighbour) = (unique("tags"), unique("tags"));
    for name in [&name, &neighbour] {
        client.ensure_model_version("uid", version(name)).await.unwrap();
    }
    for value in ["Passed", "it's \u{6e2c}\u{8a66}", "a \"b\"; x = 1"] {
        client
            .set_model_version_tag(&name, "1", "aiops.dev/gate result", value)
            .await
            .unwrap();
        let found = client
            .find_model_version_by_tag(&name, "aiops.dev/gate result", value)
            .await
            .unwrap();
        assert_eq!(
            found.map(|version| version.name).as_deref(),
            Some(name.as_str()),
            "{value}"
        );
        let other = client
            .find_model_version_by_tag(&neighbour, "aiops.dev/gate result", value)
            .await
            .unwrap();
        assert_eq!(other, None, "{value}");
    }
    assert_eq!(
        client
            .find_model_version_by_tag(&name, "aiops.dev/gate result", "passed")
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn what_cannot_be_made_or_found_says_what_and_why() {
    let client = client();
    let name = unique("missing");
    let no_model = client.create_model_version(&version(&name)).await.unwrap_err();
    assert_eq!(no_model.kind(), ErrorKind::NotFound, "{no_model}");
    assert!(
        no_model
            .to_string()
            .contains("POST /api/2.0/mlflow/model-versions/create"),
        "{no_model}"
    );
    assert!(no_model.to_string().contains(&name), "{no_model}");

    let mut foreign = version(&name);
    foreign.source = "mlflow-artifacts:/1/elsewhere".to_owned();
    let foreign = client.ensure_model_version("uid", foreign).await.unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::InvalidRequest, "{foreign}");

    let not_a_number = client.get_model_version(&name, "one").await.unwrap_err();
    assert_eq!(not_a_number.kind(), ErrorKind::InvalidRequest, "{not_a_number}");
}
