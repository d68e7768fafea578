//! The logging and trace extensions, and what of the protocol is not there and says so.

use aiops_inference_pod::protocol::grpc_v2::proto;
use proto::log_settings_request::SettingValue;
use proto::log_settings_request::setting_value::ParameterChoice;
use proto::log_settings_response::setting_value::ParameterChoice as Answered;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::{Repository, Server, client, eventually, post};

#[tokio::test]
async fn levels_of_the_log_change_while_the_server_runs() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(
        &repository.uri(),
        &["--model-control-mode=explicit", "--allow-settings-changes"],
    )
    .await;
    let url = format!("{}/v2/logging", server.http);
    assert_eq!(
        server.get(url.clone()).await,
        json!({"log_file": "", "log_info": true, "log_warning": true, "log_error": true, "log_verbose_level": 0, "log_format": "ISO8601"})
    );
    let load = async || {
        let before = server.log().lines().count();
        let (status, _) = load_dense(&server).await;
        assert_eq!(status, 200);
        before
    };
    let before = load().await;
    eventually("the load to be logged", || async {
        server
            .log()
            .lines()
            .skip(before)
            .any(|line| line.contains("model version is loaded"))
    })
    .await;
    assert!(!server.log().contains("\"DEBUG\""));
    let (status, answer) = post(&url, &json!({"log_info": false, "log_verbose_level": 2})).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&answer["log_info"], &answer["log_verbose_level"]),
        (&json!(false), &json!(2))
    );
    // Its frames are among the details.
    let mut grpc = server.grpc().await;
    grpc.server_live(proto::ServerLiveRequest {}).await.unwrap();
    eventually("details to be logged", || async {
        server.log().contains("\"DEBUG\"")
    })
    .await;
    let (_, answer) = post(&url, &json!({"log_verbose_level": 0})).await;
    assert_eq!(answer["log_info"], false, "what is not given stays");
    let before = load().await;
    let text = server.log();
    let lines: Vec<_> = text.lines().skip(before).collect();
    assert!(
        !lines.iter().any(|line| line.contains("model version is loaded")),
        "{lines:?}"
    );
    for (change, part) in [
        (
            json!({"log_verbose_level": -1}),
            "an integer that is not negative",
        ),
        (json!({"log_info": "no"}), "true or false"),
        (json!({"colour": true}), "must be one of log_info"),
        (json!([]), "failed to parse"),
    ] {
        let (status, answer) = post(&url, &change).await;
        assert!(
            status == 400 && answer["error"].as_str().unwrap().contains(part),
            "{answer}"
        );
    }

    let value = SettingValue {
        parameter_choice: Some(ParameterChoice::BoolParam(true)),
    };
    let request = proto::LogSettingsRequest {
        settings: [("log_info".to_owned(), value)].into(),
    };
    let answer = grpc.log_settings(request).await.unwrap().into_inner().settings;
    assert_eq!(
        answer["log_info"].parameter_choice,
        Some(Answered::BoolParam(true))
    );
    assert_eq!(
        answer["log_verbose_level"].parameter_choice,
        Some(Answered::Uint32Param(0))
    );
    assert_eq!(answer.len(), 6);
}

async fn load_dense(server: &Server) -> (u16, String) {
    let answer = client()
        .post(format!("{}/v2/repository/models/dense_1/load", server.http))
        .send()
        .await
        .unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn trace_settings_are_kept_for_the_server_and_for_models() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &["--allow-settings-changes"]).await;
    let (all, one) = (
        format!("{}/v2/trace/setting", server.http),
        format!("{}/v2/models/dense_1/trace/setting", server.http),
    );
    let default = json!({"trace_file": "", "trace_level": ["OFF"], "trace_rate": "1000", "trace_count": "-1",
                         "log_frequency": "0", "trace_mode": "triton"});
    assert_eq!(server.get(all.clone()).await, default);
    let (status, answer) = post(&one, &json!({"trace_level": ["TIMESTAMPS"], "trace_rate": "5"})).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(
        (&answer["trace_level"], &answer["trace_rate"]),
        (&json!(["TIMESTAMPS"]), &json!("5"))
    );
    assert_eq!(server.get(all.clone()).await, default);
    let (_, answer) = post(&one, &json!({"trace_level": null, "trace_rate": null})).await;
    assert_eq!(answer, default);
    let (status, answer) = post(&all, &json!({"trace_level": ["LOUD"]})).await;
    assert!(
        status == 400 && answer["error"].as_str().unwrap().contains("TENSORS"),
        "{answer}"
    );
    let absent = format!("{}/v2/models/absent/trace/setting", server.http);
    let (status, answer) = post(&absent, &json!({})).await;
    assert_eq!(
        (status, &answer["error"]),
        (400, &json!("Request for unknown model : absent"))
    );
    let request = proto::TraceSettingRequest {
        settings: [(
            "trace_count".to_owned(),
            proto::trace_setting_request::SettingValue {
                value: vec!["7".into()],
            },
        )]
        .into(),
        model_name: String::new(),
    };
    let answer = server
        .grpc()
        .await
        .trace_setting(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.settings["trace_count"].value, ["7"]);
    assert_eq!(
        server.get(one).await["trace_count"],
        "7",
        "a model has what holds for all"
    );
}

#[tokio::test]
async fn extensions_that_are_not_there_say_so() {
    let repository = Repository::of(&["dense_1"]);
    let server = Server::start(&repository.uri(), &[]).await;
    for kind in ["systemsharedmemory", "cudasharedmemory"] {
        let url = |path: &str| format!("{}/v2/{kind}/{path}", server.http);
        assert_eq!(server.get(url("status")).await, json!([]));
        let region = server.get(url("region/r/status")).await;
        assert!(
            region["error"]
                .as_str()
                .unwrap()
                .contains("shared memory region: 'r'"),
            "{region}"
        );
        let (status, answer) = post(
            &url("region/r/register"),
            &json!({"key": "/x", "offset": 0, "byte_size": 8}),
        )
        .await;
        assert!(
            status == 501
                && answer["error"]
                    .as_str()
                    .unwrap()
                    .contains("send tensors in the request"),
            "{answer}"
        );
        for path in ["unregister", "region/r/unregister"] {
            let answer = client().post(url(path)).send().await.unwrap();
            assert_eq!(answer.status(), 200, "clients begin with it");
        }
    }
    for path in ["generate", "versions/1/generate_stream"] {
        let (status, answer) = post(&format!("{}/v2/models/dense_1/{path}", server.http), &json!({})).await;
        assert!(
            status == 501 && answer["error"].as_str().unwrap().contains("generate extension"),
            "{answer}"
        );
    }
    let mut grpc = server.grpc().await;
    let register = grpc
        .system_shared_memory_register(proto::SystemSharedMemoryRegisterRequest::default())
        .await
        .unwrap_err();
    assert_eq!(register.code(), Code::Unimplemented);
    let status = grpc
        .cuda_shared_memory_status(proto::CudaSharedMemoryStatusRequest { name: "r".into() })
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    grpc.system_shared_memory_unregister(proto::SystemSharedMemoryUnregisterRequest::default())
        .await
        .unwrap();
    let expected: Vec<Value> = [
        "classification",
        "schedule_policy",
        "model_configuration",
        "binary_tensor_data",
        "statistics",
        "logging",
    ]
    .map(Value::from)
    .to_vec();
    assert_eq!(
        server.get(format!("{}/v2", server.http)).await["extensions"],
        json!(expected)
    );
    let metadata = grpc
        .server_metadata(proto::ServerMetadataRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(json!(metadata.extensions), json!(expected));
}
