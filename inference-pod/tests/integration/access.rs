//! Who may call what: restricted APIs as Triton has them, and settings that only those who are trusted change.

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::grpc_inference_service_client::GrpcInferenceServiceClient;
use proto::log_settings_request::SettingValue;
use proto::log_settings_request::setting_value::ParameterChoice;
use serde_json::{Value, json};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Repository, Server, client};

async fn http(server: &Server, method: &str, path: &str, key: Option<(&str, &str)>) -> (u16, Value) {
    let url = format!("{}{path}", server.http);
    let mut request = match method {
        "GET" => client().get(url),
        _ => client().post(url).json(&json!({"log_info": true})),
    };
    if let Some((name, value)) = key {
        request = request.header(name, value);
    }
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

fn log_change() -> proto::LogSettingsRequest {
    let on = SettingValue {
        parameter_choice: Some(ParameterChoice::BoolParam(true)),
    };
    proto::LogSettingsRequest {
        settings: [("log_info".to_owned(), on)].into(),
    }
}

async fn index(
    grpc: &mut GrpcInferenceServiceClient<Channel>,
    key: Option<&'static str>,
) -> Result<(), tonic::Status> {
    let mut request = Request::new(proto::RepositoryIndexRequest::default());
    if let Some(key) = key {
        let key = MetadataValue::from_static(key);
        request.metadata_mut().insert("triton-grpc-protocol-admin", key);
    }
    grpc.repository_index(request).await.map(|_| ())
}

#[tokio::test]
async fn settings_are_read_by_everybody_and_changed_by_nobody_unless_asked_for() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    assert_eq!(http(&server, "GET", "/v2/logging", None).await.0, 200);
    assert_eq!(http(&server, "GET", "/v2/trace/setting", None).await.0, 200);
    for path in [
        "/v2/logging",
        "/v2/trace/setting",
        "/v2/models/dense_1/trace/setting",
    ] {
        let (status, answer) = http(&server, "POST", path, None).await;
        let error = answer["error"].as_str().unwrap_or_default();
        assert_eq!(status, 403, "{path}: {answer}");
        assert!(
            error.contains("--allow-settings-changes") && error.contains("--http-restricted-api="),
            "{error}"
        );
    }
    let mut grpc = server.grpc().await;
    let all = grpc
        .log_settings(proto::LogSettingsRequest::default())
        .await
        .unwrap();
    assert!(all.into_inner().settings.contains_key("log_info"));
    assert!(
        grpc.trace_setting(proto::TraceSettingRequest::default())
            .await
            .is_ok()
    );
    let error = grpc.log_settings(log_change()).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    assert!(
        error.message().contains("--grpc-restricted-protocol=logging:"),
        "{error}"
    );
}

#[tokio::test]
async fn restricted_apis_ask_for_their_header_with_tritons_words() {
    let repository = Repository::of(&["dense_1"]);
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "of-the-file\n").unwrap();
    let grpc_groups = format!(
        "--grpc-restricted-protocol=model-repository,logging,health:Admin=@{}",
        key.path().display()
    );
    let arguments = [
        "--http-restricted-api=model-repository,logging:X-Admin=env:AIOPS_TEST_KEY",
        "--http-restricted-api=inference:infer-key=open",
        "--rest-restricted-api=inference:infer-key=open",
        &grpc_groups,
    ];
    let environment = [("AIOPS_TEST_KEY", "secret".to_owned())];
    let server = Server::start_with_environment(&repository.uri(), &arguments, &environment);
    server.wait_until_ready().await;

    let refused = (
        403,
        json!({"error": "This API is restricted, expecting header 'x-admin'"}),
    );
    assert_eq!(http(&server, "POST", "/v2/repository/index", None).await, refused);
    assert_eq!(
        http(&server, "POST", "/v2/logging", Some(("X-Admin", "secreT"))).await,
        refused
    );
    assert_eq!(http(&server, "GET", "/v2/logging", None).await, refused);
    assert_eq!(
        http(&server, "POST", "/v2/logging", Some(("X-Admin", "secret")))
            .await
            .0,
        200
    );
    let (status, answer) = http(&server, "POST", "/v2/models/dense_1/infer", None).await;
    assert_eq!(
        (status, answer["error"].as_str().unwrap().contains("'infer-key'")),
        (403, true)
    );
    assert_eq!(http(&server, "GET", "/v2/models/dense_1", None).await.0, 200);
    assert_eq!(http(&server, "GET", "/v2/nowhere", None).await.0, 404);

    let rows = json!({"instances": [[1, 2, 3, 4]]});
    for (key, status) in [("wrong", 403), ("open", 200)] {
        let request = client()
            .post(format!("{}/predict/dense_1", server.rest))
            .json(&rows);
        let answer = request.header("infer-key", key).send().await.unwrap();
        assert_eq!(answer.status(), status);
    }

    let mut grpc = server.grpc().await;
    let error = index(&mut grpc, None).await.unwrap_err();
    assert_eq!(
        (error.code(), error.message()),
        (
            Code::Unavailable,
            "This protocol is restricted, expecting header 'triton-grpc-protocol-admin'"
        )
    );
    assert!(index(&mut grpc, Some("of-the-files")).await.is_err());
    index(&mut grpc, Some("of-the-file")).await.unwrap();
    assert!(
        grpc.model_metadata(proto::ModelMetadataRequest {
            name: "dense_1".into(),
            ..Default::default()
        })
        .await
        .is_ok()
    );
    let channel = Channel::from_shared(server.grpc.clone())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let error = HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .unwrap_err();
    assert!(error.message().contains("restricted"), "{error}");
    let log = server.log();
    assert!(
        log.contains("--grpc-restricted-protocol restricts health, but --http-restricted-api does not"),
        "{log}"
    );
    assert!(!log.contains("secret") && !log.contains("of-the-file"), "{log}");
}
