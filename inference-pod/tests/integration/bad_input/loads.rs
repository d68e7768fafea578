//! Models that cannot be loaded by call, over HTTP and gRPC. What served goes on, and a good load works afterwards.

use aiops_inference_pod::protocol::grpc_v2::proto;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proto::model_repository_parameter::ParameterChoice;
use serde_json::json;
use tonic::Code;

use super::{INTERNAL, INVALID, Kind, Table, http_error};
use crate::support::{Repository, Server, client, models};

/// A model, its configuration as JSON, and its file where the call brings one.
struct Row<'a> {
    name: &'a str,
    model: &'a str,
    config: Option<&'a str>,
    file: Option<(&'a str, Vec<u8>)>,
    kind: Kind,
    says: &'a str,
}

async fn over_http(server: &Server, row: &Row<'_>) -> (u16, String) {
    let mut parameters = json!({});
    if let Some(config) = row.config {
        parameters["config"] = config.into();
    }
    if let Some((path, content)) = &row.file {
        parameters[format!("file:{path}")] = STANDARD.encode(content).into();
    }
    let model = row.model.replace('/', "%2F").replace('\0', "%00");
    let url = format!("{}/v2/repository/models/{model}/load", server.http);
    let answer = client().post(url).json(&json!({"parameters": parameters})).send();
    http_error(answer.await.unwrap()).await
}

async fn over_grpc(server: &Server, row: &Row<'_>) -> (Code, String) {
    let parameter = |choice| proto::ModelRepositoryParameter {
        parameter_choice: Some(choice),
    };
    let mut request = proto::RepositoryModelLoadRequest {
        model_name: row.model.into(),
        ..Default::default()
    };
    if let Some(config) = row.config {
        let value = parameter(ParameterChoice::StringParam(config.into()));
        request.parameters.insert("config".into(), value);
    }
    if let Some((path, content)) = &row.file {
        let value = parameter(ParameterChoice::BytesParam(content.clone()));
        request.parameters.insert(format!("file:{path}"), value);
    }
    match server.grpc().await.repository_model_load(request).await {
        Ok(_) => (Code::Ok, String::new()),
        Err(status) => (status.code(), status.message().to_owned()),
    }
}

/// `dense_1`, brought by the call, with this configuration.
fn brought<'a>(name: &'a str, config: &'a str, says: &'a str) -> Row<'a> {
    Row {
        name,
        model: "other",
        config: Some(config),
        file: Some((
            "1/model.onnx",
            std::fs::read(models().join("dense_1.onnx")).unwrap(),
        )),
        kind: INVALID,
        says,
    }
}

fn file<'a>(name: &'a str, path: &'a str, content: Vec<u8>, says: &'a str) -> Row<'a> {
    Row {
        file: Some((path, content)),
        ..brought(name, "{}", says)
    }
}

fn named<'a>(name: &'a str, model: &'a str, says: &'a str) -> Row<'a> {
    Row {
        name,
        model,
        config: None,
        file: None,
        kind: INVALID,
        says,
    }
}

const LONG_NAME: &str = match std::str::from_utf8(&[b'm'; 300]) {
    Ok(name) => name,
    Err(_) => "",
};

fn names() -> Vec<Row<'static>> {
    vec![
        Row {
            kind: INTERNAL,
            ..named(
                "a model that is not there",
                "absent",
                "failed to load 'absent', failed to poll from model repository: it has no version that its version_policy chooses; a version is a folder such as absent/1",
            )
        },
        named(
            "a model of the folder above",
            "../dense_1",
            "failed to load '../dense_1': the name of a model is that of one folder",
        ),
        named(
            "a model behind a slash",
            "dense_1/",
            "failed to load 'dense_1/': the name of a model is that of one folder",
        ),
        named(
            "a model in its own folder",
            "dense_1/.",
            "failed to load 'dense_1/.': the name of a model is that of one folder",
        ),
        named(
            "an absolute path",
            "/etc",
            "failed to load '/etc': the name of a model is that of one folder",
        ),
        named(
            "a zero byte",
            "dense_1\0",
            "failed to load 'dense_1\0': the name of a model is that of one folder",
        ),
        Row {
            kind: INTERNAL,
            ..named(
                "a long name",
                LONG_NAME,
                "failed to load 'LONG', failed to poll from model repository: REPOSITORY/LONG: File name too long (os error 36)",
            )
        },
        file(
            "a file of the folder above",
            "../dense_1/1/model.onnx",
            vec![],
            "failed to load 'other': 'file:../dense_1/1/model.onnx' must be a path inside the model's folder, such as 'file:1/model.onnx'",
        ),
        file(
            "a file of the system",
            "/etc/passwd",
            vec![],
            "failed to load 'other': 'file:/etc/passwd' must be a path inside the model's folder, such as 'file:1/model.onnx'",
        ),
        Row {
            config: None,
            ..file(
                "a file without a configuration",
                "1/model.onnx",
                vec![],
                "failed to load 'other': 'file:' contents need the parameter 'config' with the model's configuration",
            )
        },
    ]
}

fn contents() -> Vec<Row<'static>> {
    let whole = std::fs::read(models().join("dense_1.onnx")).unwrap();
    let half = whole[..whole.len() / 2].to_vec();
    vec![
        file(
            "garbage",
            "1/model.onnx",
            b"garbage".to_vec(),
            "load failed for model 'other': version 1 is at UNAVAILABLE state: file model.onnx: ONNX Runtime refuses it: Load model from GIVEN/other/1/model.onnx failed:Protobuf parsing failed.;",
        ),
        file(
            "an empty file",
            "1/model.onnx",
            vec![],
            "load failed for model 'other': version 1 is at UNAVAILABLE state: file model.onnx: ONNX Runtime refuses it: Load model from GIVEN/other/1/model.onnx failed:No graph was found in the protobuf.;",
        ),
        file(
            "half a file",
            "1/model.onnx",
            half,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: file model.onnx: ONNX Runtime refuses it: Load model from GIVEN/other/1/model.onnx failed:Protobuf parsing failed.;",
        ),
        file(
            "a file of another name",
            "1/other.onnx",
            b"x".to_vec(),
            "load failed for model 'other': version 1 is at UNAVAILABLE state: the version's folder holds no file model.onnx;",
        ),
        Row {
            kind: INTERNAL,
            ..file(
                "a file of no version",
                "model.onnx",
                b"x".to_vec(),
                "failed to load 'other', failed to poll from model repository: it has no version that its version_policy chooses; a version is a folder such as other/1",
            )
        },
        brought(
            "a configuration that is no JSON",
            "nonsense",
            "failed to load 'other': parameter 'config': the configuration is not a JSON object: expected ident at line 1 column 2",
        ),
        brought(
            "a configuration without an end",
            "{\"input\": [",
            "failed to load 'other': parameter 'config': the configuration is not a JSON object: EOF while parsing a list at line 1 column 11",
        ),
        brought(
            "a configuration 10,000 deep",
            deep(),
            "failed to load 'other': parameter 'config': the configuration is not a JSON object: recursion limit exceeded at line 1 column 1779",
        ),
        brought(
            "a field that is not there",
            r#"{"max_batch": 4}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt line 1: unknown field max_batch in ModelConfig; its fields are name, platform, version_policy, max_batch_size, input, output, instance_group, default_model_filename, cc_model_filenames, metric_tags, dynamic_batching, optimization, sequence_batching, parameters, ensemble_scheduling, model_warmup, backend, model_operations, model_transaction_policy, batch_input, batch_output, model_repository_agents, response_cache, runtime, model_metrics;",
        ),
        brought(
            "a batch in words",
            r#"{"max_batch_size": "many"}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt line 1: max_batch_size must be a number or a name without quotes;",
        ),
        brought(
            "a negative batch",
            r#"{"max_batch_size": -1}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt line 1: max_batch_size cannot be -1;",
        ),
        brought(
            "an output that the graph has not",
            r#"{"output":[{"name":"z","data_type":"TYPE_FP32","dims":[3]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt: output 'z' is not in the graph, which has y;",
        ),
        brought(
            "an output of another datatype",
            r#"{"max_batch_size":4,"output":[{"name":"y","data_type":"TYPE_INT64","dims":[3]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt: output 'y' has data type INT64, but the graph has FP32;",
        ),
        brought(
            "an output of another size",
            r#"{"max_batch_size":4,"output":[{"name":"y","data_type":"TYPE_FP32","dims":[7]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt: output 'y' has shape [-1, 7] with its batch dimension, but the graph has [-1, 3];",
        ),
        brought(
            "an output of other sizes",
            r#"{"max_batch_size":4,"output":[{"name":"y","data_type":"TYPE_FP32","dims":[3,1]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt: output 'y' has shape [-1, 3, 1] with its batch dimension, but the graph has [-1, 3];",
        ),
        brought(
            "an output of no size",
            r#"{"max_batch_size":4,"output":[{"name":"y","data_type":"TYPE_FP32","dims":[-3]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt line 4: dims must be -1 or positive, not -3;",
        ),
        brought(
            "an input of another size",
            r#"{"max_batch_size":4,"input":[{"name":"x","data_type":"TYPE_FP32","dims":[5]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt: input 'x' has shape [-1, 5] with its batch dimension, but the graph has [-1, 4];",
        ),
        brought(
            "an input whose sizes overflow",
            r#"{"max_batch_size":4,"input":[{"name":"x","data_type":"TYPE_FP32","dims":[9223372036854775807,4]}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt: input 'x' has shape [-1, 9223372036854775807, 4] with its batch dimension, but the graph has [-1, 4];",
        ),
        brought(
            "as many instances as there can be",
            r#"{"instance_group":[{"count":2147483647}]}"#,
            "load failed for model 'other': version 1 is at UNAVAILABLE state: config.pbtxt line 1: instance_group count 2147483647 is not between 1 and 64, other groups counted in;",
        ),
    ]
}

/// The folder of what a call brings has a name that is made up.
fn without_given_folder(message: String) -> String {
    let found = message.split_once("/tmp/").zip(message.split_once("/other/1/"));
    match found {
        Some(((before, _), (_, after))) => format!("{before}GIVEN/other/1/{after}"),
        None => message,
    }
}

fn deep() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| format!("{}{}", "{\"parameters\":".repeat(10_000), "}".repeat(10_000)))
}

#[tokio::test]
async fn loads_that_cannot_work_are_refused_alike_over_http_and_grpc() {
    let repository = Repository::of(&["dense_1", "dense_2"]);
    let server = Server::start(
        &repository.uri(),
        &["--model-control-mode=explicit", "--load-model=dense_1"],
    )
    .await;
    let mut table = Table::of(&server);
    for row in names().into_iter().chain(contents()) {
        let name = |way: &str| format!("{way}: {}", row.name);
        let plain = |message: String| {
            let message = without_given_folder(message);
            message
                .replace(&repository.uri(), "REPOSITORY")
                .replace(LONG_NAME, "LONG")
        };
        let (code, message) = over_http(&server, &row).await;
        table
            .row(&name("HTTP"), (code, plain(message)), (row.kind.0, row.says))
            .await;
        let (code, message) = over_grpc(&server, &row).await;
        table
            .row(&name("gRPC"), (code, plain(message)), (row.kind.1, row.says))
            .await;
    }
    for model in ["dense_2", "dense_1"] {
        let got = over_http(&server, &named("", model, "")).await;
        table.row(&format!("then {model}"), got, (200, "")).await;
    }
    table.end();
}

#[tokio::test]
async fn a_configuration_whose_sizes_overflow_where_the_graph_leaves_them_open_ends_nothing() {
    let repository = Repository::of(&["dense_1", "convolution"]);
    let server = Server::start(
        &repository.uri(),
        &["--model-control-mode=explicit", "--load-model=dense_1"],
    )
    .await;
    let config = r#"{"max_batch_size":4,"input":[{"name":"x","data_type":"TYPE_FP32","dims":[1,4611686018427387904,4]}]}"#;
    let vast = Row {
        config: Some(config),
        ..named("", "convolution", "")
    };
    let mut table = Table::of(&server);
    table
        .row("load", over_http(&server, &vast).await, (200, ""))
        .await;
    let answer = client()
        .post(format!("{}/v2/models/convolution/infer", server.http))
        .header("Inference-Header-Content-Length", 0)
        .body(vec![0; 4])
        .send();
    let says = "shape [1, 1, 4611686018427387904, 4] of tensor 'x' is too large";
    let got = http_error(answer.await.unwrap()).await;
    table.row("raw", got, (400, says)).await;
    table.end();
}
