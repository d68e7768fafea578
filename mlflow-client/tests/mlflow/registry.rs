//! Registered models and aliases.

use aiops_mlflow_client::{ErrorKind, Filter, NewModelVersion, Tag};

use crate::server::{client, unique};

fn version(name: &str) -> NewModelVersion {
    NewModelVersion {
        name: name.to_owned(),
        source: "s3://models/tumour".to_owned(),
        ..NewModelVersion::default()
    }
}

#[tokio::test]
async fn a_model_is_registered_once_and_found_afterwards() {
    let client = client();
    let name = unique("team.tumour's größe");
    let tags = [Tag::new("aiops.dev/namespace", "team")];
    let made = client
        .get_or_create_registered_model(&name, &tags, "Tumours")
        .await
        .unwrap();
    assert_eq!(
        (made.name.as_str(), made.description.as_str()),
        (name.as_str(), "Tumours")
    );
    let found = client
        .get_or_create_registered_model(&name, &[], "other")
        .await
        .unwrap();
    assert_eq!(found, made);

    let filter = Filter::new().attribute("name", &name).unwrap();
    assert_eq!(client.search_registered_models(&filter).await.unwrap(), [made]);

    client.delete_registered_model(&name).await.unwrap();
    assert_eq!(
        client.get_registered_model(&name).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        client.delete_registered_model(&name).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn callers_at_once_get_the_same_model() {
    let name = unique("race");
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, name) = (client(), name.clone());
            tokio::spawn(async move { client.get_or_create_registered_model(&name, &[], "").await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap().name, name);
    }
}

#[tokio::test]
async fn a_name_that_is_not_allowed_is_an_invalid_request() {
    let error = client()
        .get_or_create_registered_model("team/tumour", &[], "")
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    assert!(error.to_string().contains("team/tumour"), "{error}");
}

#[tokio::test]
async fn an_alias_moves_from_version_to_version_and_goes() {
    let client = client();
    let name = unique("alias");
    client
        .get_or_create_registered_model(&name, &[], "")
        .await
        .unwrap();
    for _ in 0..2 {
        client.create_model_version(&version(&name)).await.unwrap();
    }
    assert_eq!(client.get_by_alias(&name, "production").await.unwrap(), None);
    for number in ["1", "2", "2"] {
        client.set_alias(&name, "production", number).await.unwrap();
        let pointed_at = client.get_by_alias(&name, "production").await.unwrap().unwrap();
        assert_eq!(pointed_at.version, number);
        assert_eq!(pointed_at.aliases, ["production"]);
    }
    let model = client.get_registered_model(&name).await.unwrap();
    assert_eq!(model.version_of_alias("production"), Some("2"));

    client.delete_alias(&name, "production").await.unwrap();
    client.delete_alias(&name, "production").await.unwrap();
    assert_eq!(client.get_by_alias(&name, "production").await.unwrap(), None);
}

#[tokio::test]
async fn an_alias_of_nothing_is_refused_or_absent() {
    let client = client();
    let name = unique("no version");
    assert_eq!(
        client.get_by_alias(&name, "production").await.unwrap(),
        None,
        "no such model"
    );
    client
        .get_or_create_registered_model(&name, &[], "")
        .await
        .unwrap();
    let missing = client.set_alias(&name, "production", "7").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    client.create_model_version(&version(&name)).await.unwrap();
    let reserved = client.set_alias(&name, "latest", "1").await.unwrap_err();
    assert_eq!(reserved.kind(), ErrorKind::InvalidRequest, "{reserved}");
}
