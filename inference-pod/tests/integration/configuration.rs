//! What `config.pbtxt` asks for reaches versions, queues and ONNX Runtime, and is told back.

use aiops_inference_pod::protocol::grpc_v2::proto;
use futures::future::join_all;
use serde_json::{Value, json};

use crate::support::{Repository, Server};

const ROW: &str = r#"inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } }"#;

fn row() -> Value {
    json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]})
}

#[tokio::test]
async fn a_version_policy_chooses_what_is_served_without_a_plan() {
    let repository = Repository::new();
    for (model, policy) in [
        ("latest", "version_policy { latest { num_versions: 2 } }"),
        ("all", "version_policy { all { } }"),
        (
            "specific",
            "version_policy { specific { versions: [ 1, 10, 99 ] } }",
        ),
        ("plain", ""),
    ] {
        for version in [1, 2, 10] {
            repository.add(model, version, "dense_1");
        }
        repository.config(model, policy);
    }
    let server = Server::start(&repository.uri(), &[]).await;
    for (model, expected) in [
        ("latest", vec!["2", "10"]),
        ("all", vec!["1", "2", "10"]),
        ("specific", vec!["1", "10"]),
        ("plain", vec!["10"]),
    ] {
        let metadata = server.get(format!("{}/v2/models/{model}", server.http)).await;
        assert_eq!(metadata["versions"], json!(expected), "{model}");
    }
    let log = server.log();
    assert!(
        log.contains("versions that its version_policy names are not there") && log.contains("[99]"),
        "{log}"
    );
}

#[tokio::test]
async fn what_was_read_is_told_back_by_both_protocols() {
    let repository = Repository::of(&["dense_1"]);
    repository.config(
        "dense_1",
        &format!(
            r#"max_batch_size: 4
            dynamic_batching {{ preferred_batch_size: 2
                priority_levels: 3 default_priority_level: 2
                priority_queue_policy {{ key: 3 value {{ max_queue_size: 7 }} }}
                default_queue_policy {{ timeout_action: DELAY default_timeout_microseconds: 9000000
                                        allow_timeout_override: true }} }}
            optimization {{ graph {{ level: 1 }} }}
            model_warmup {{ name: "row" batch_size: 2 {ROW} }}
            parameters {{ key: "enable_mem_pattern" value {{ string_value: "0" }} }}
            instance_group {{ name: "here" }}"#
        ),
    );
    let server = Server::start(&repository.uri(), &[]).await;
    let config = server
        .get(format!("{}/v2/models/dense_1/config", server.http))
        .await;
    assert_eq!(
        config["dynamic_batching"]["default_queue_policy"],
        json!({"timeout_action": "DELAY", "default_timeout_microseconds": 9_000_000,
               "allow_timeout_override": true, "max_queue_size": 1024})
    );
    let batching = &config["dynamic_batching"];
    let priorities =
        ["priority_levels", "default_priority_level", "preserve_ordering"].map(|name| &batching[name]);
    assert_eq!(priorities, [&json!(3), &json!(2), &json!(false)]);
    assert_eq!(batching["priority_queue_policy"]["3"]["max_queue_size"], 7);
    assert_eq!(config["optimization"]["graph"], json!({"level": 1}));
    let input = json!({"data_type": "TYPE_FP32", "dims": [4], "zero_data": true});
    assert_eq!(
        config["model_warmup"],
        json!([{"name": "row", "batch_size": 2, "count": 1, "inputs": {"x": input}}])
    );
    assert_eq!(
        config["parameters"],
        json!({"enable_mem_pattern": {"string_value": "0"}})
    );
    let warning = "config.pbtxt line 10: name of instance_group has no effect here";
    assert!(server.log().contains(warning), "{}", server.log());

    let request = proto::ModelConfigRequest {
        name: "dense_1".into(),
        ..Default::default()
    };
    let answer = server.grpc().await.model_config(request).await.unwrap();
    let config = answer.into_inner().config.unwrap();
    let Some(proto::model_config::SchedulingChoice::DynamicBatching(batching)) = config.scheduling_choice
    else {
        panic!("no dynamic batching")
    };
    assert_eq!(
        (batching.priority_levels, batching.default_priority_level),
        (3, 2)
    );
    assert_eq!(batching.priority_queue_policy[&3].max_queue_size, 7);
    assert_eq!(
        batching.default_queue_policy.unwrap(),
        proto::ModelQueuePolicy {
            timeout_action: proto::model_queue_policy::TimeoutAction::Delay.into(),
            default_timeout_microseconds: 9_000_000,
            allow_timeout_override: true,
            max_queue_size: 1024,
        }
    );
    assert_eq!(config.optimization.unwrap().graph.unwrap().level, 1);
    let sample = &config.model_warmup[0];
    assert_eq!(
        (sample.name.as_str(), sample.batch_size, sample.count),
        ("row", 2, 1)
    );
    assert_eq!(
        sample.inputs["x"].input_data_type,
        Some(proto::model_warmup::input::InputDataType::ZeroData(true))
    );
}

#[tokio::test]
async fn settings_of_onnx_runtime_reach_the_session_and_change_no_answer() {
    let parameter = |key: &str, value: &str| {
        format!("parameters {{ key: \"{key}\" value {{ string_value: \"{value}\" }} }}\n")
    };
    let repository = Repository::of(&["dense_1"]);
    let shared = Server::start(&repository.uri(), &[]).await;
    let (_, expected) = shared.infer("dense_1", &row()).await;
    let threads = shared.threads();
    for (text, own_threads) in [
        (parameter("intra_op_thread_count", "65"), 64),
        (
            parameter("execution_mode", "1") + &parameter("inter_op_thread_count", "65"),
            64,
        ),
        (parameter("memory.enable_memory_arena_shrinkage", "cpu:0"), 0),
        (
            parameter("enable_mem_arena", "0")
                + &parameter("enable_mem_pattern", "0")
                + &parameter("memory.enable_memory_arena_shrinkage", "cpu:0")
                + &parameter("session.use_device_allocator_for_initializers", "1"),
            0,
        ),
        ("optimization { graph { level: -1 } }".into(), 0),
        ("optimization { graph { level: 2 } }".into(), 0),
    ] {
        repository.config("dense_1", &format!("max_batch_size: 4\n{text}"));
        let server = Server::start(&repository.uri(), &[]).await;
        let (status, answer) = server.infer("dense_1", &row()).await;
        assert_eq!(
            (status, &answer["outputs"]),
            (200, &expected["outputs"]),
            "{text}"
        );
        let more = server.threads() as i64 - threads as i64;
        assert!(
            (own_threads - 32..own_threads + 32).contains(&more),
            "{text}: {more} more threads"
        );
    }
}

#[tokio::test]
async fn a_late_request_is_refused_or_delayed_as_its_queue_says() {
    let repository = Repository::of(&["dense_1"]);
    for (model, action) in [("refusing", "REJECT"), ("delaying", "DELAY")] {
        repository.add(model, 1, "slow");
        repository.config(
            model,
            &format!(
                "max_batch_size: 1 dynamic_batching {{ default_queue_policy {{ timeout_action: {action} \
                 default_timeout_microseconds: 1 }} }}"
            ),
        );
    }
    let server = Server::start(&repository.uri(), &[]).await;
    let body = json!({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [1]}]});
    let refused = async |model| {
        let answers = join_all((0..8).map(|_| server.infer(model, &body))).await;
        let late = answers
            .iter()
            .filter(|(status, answer)| *status == 503 && answer["error"] == "Request timeout expired");
        let late = late.count();
        assert_eq!(
            late + answers.iter().filter(|(status, _)| *status == 200).count(),
            8
        );
        late
    };
    assert!(refused("refusing").await > 0);
    assert_eq!(refused("delaying").await, 0);
}

#[tokio::test]
async fn samples_run_before_a_version_is_ready_and_a_bad_one_keeps_it_from_being() {
    let strings = |rows: &[&str]| {
        let bytes = rows
            .iter()
            .map(|row| [&(row.len() as u32).to_le_bytes(), row.as_bytes()].concat());
        bytes.collect::<Vec<_>>().concat()
    };
    let sample = |rows: &str, data: &str| {
        format!(
            "max_batch_size: 4 model_warmup {{ name: \"one\" {rows} \
             inputs {{ key: \"x\" value {{ data_type: TYPE_FP32 dims: 4 {data} }} }} }}"
        )
    };
    for (text, reason) in [
        (sample("batch_size: 1", "input_data_file: \"row\""), ""),
        (sample("batch_size: 4 count: 2", "random_data: true"), ""),
        (
            sample("batch_size: 1", "input_data_file: \"short\""),
            "the warm-up failed: sample 'one': input 'x': warmup/short holds 6 bytes, and its dims need 16",
        ),
        (
            sample("batch_size: 1", "input_data_file: \"absent\""),
            "the warm-up failed: sample 'one': input 'x': there is no file warmup/absent in the version's folder",
        ),
        (
            sample("batch_size: 5", "zero_data: true"),
            "the warm-up failed: sample 'one': batch_size 5 is more than the 4 that the model takes",
        ),
        (
            "max_batch_size: 4 model_warmup { name: \"one\" batch_size: 1 }".into(),
            "the warm-up failed: sample 'one': input 'x' is missing",
        ),
        (
            sample("batch_size: 1", "zero_data: true").replace("\"x\"", "\"y\""),
            "the warm-up failed: sample 'one': the model has no input 'y'",
        ),
        (
            sample("batch_size: 1", "zero_data: true").replace("dims: 4", "dims: 5"),
            "the warm-up failed: sample 'one': unexpected shape for input 'x' for model 'dense_2'. Expected [-1,4], \
             got [1,5]. NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be \
             prepended to each input shape. If you want to specify the full shape including the batch dim in your input \
             dims config, try setting max_batch_size to zero. See the model configuration docs for more info on \
             max_batch_size.",
        ),
    ] {
        let repository = Repository::of(&["dense_2"]);
        let folder = repository.path().join("dense_2/warmup");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("row"), [0_u8; 16]).unwrap();
        std::fs::write(folder.join("short"), strings(&["ab"])).unwrap();
        repository.config("dense_2", &text);
        let server = Server::start_unready(&repository.uri(), &["--exit-on-error=false"]);
        crate::support::eventually("the plan to end", || async {
            server.plan().await["state"] != "Loading"
        })
        .await;
        let plan = server.plan().await;
        let state = if reason.is_empty() { "READY" } else { "UNAVAILABLE" };
        assert_eq!(plan["models"][0]["state"], state, "{text}: {plan}");
        assert_eq!(plan["models"][0]["reason"], reason, "{text}");
    }
}

#[tokio::test]
async fn the_graph_itself_judges_a_sample() {
    for (columns, state) in [(99, "READY"), (98, "UNAVAILABLE")] {
        let repository = Repository::of(&["columns_of_99"]);
        repository.config(
            "columns_of_99",
            &format!(
                "max_batch_size: 4 model_warmup {{ name: \"wide\" batch_size: 2 \
                 inputs {{ key: \"x\" value {{ data_type: TYPE_FP32 dims: {columns} random_data: true }} }} }}"
            ),
        );
        let server = Server::start_unready(&repository.uri(), &["--exit-on-error=false"]);
        crate::support::eventually("the plan to end", || async {
            server.plan().await["state"] != "Loading"
        })
        .await;
        let plan = server.plan().await;
        assert_eq!(plan["models"][0]["state"], state, "{plan}");
        let reason = plan["models"][0]["reason"].as_str().unwrap();
        assert_eq!(
            reason.starts_with("the warm-up failed: sample 'wide': "),
            columns == 98,
            "{reason}"
        );
    }
}
