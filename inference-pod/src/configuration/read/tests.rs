//! What is read from `config.pbtxt`, and what is refused.

use std::time::Duration;

use super::bad_texts::BAD;
use super::*;
use crate::configuration::{
    GpuSettings, GraphOptimization, QueuePolicy, SessionSettings, TimeoutAction, VersionPolicy, WarmUpData,
};
use crate::tensor::DataType;

#[test]
fn a_configuration_of_triton_is_read() {
    let config = read(
        r#"
        name: "tumour"  backend: "onnxruntime"
        max_batch_size: 8
        input [ { name: "features" data_type: TYPE_FP32 dims: [ 30 ] } ]
        output [ { name: "label" data_type: TYPE_INT64 dims: [ 1 ] reshape: { shape: [ ] } } ]
        instance_group [ { count: 1 kind: KIND_CPU }, { count: 0 kind: KIND_CPU } ]
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100
                           default_queue_policy { max_queue_size: 16 } }
        version_policy: { specific: { versions: [ 1, 3 ] } }
        parameters { key: "run" value: { string_value: "r1" } }
        "#,
    )
    .unwrap();
    assert_eq!(
        (config.max_batch_size, config.instances(), config.max_queue_size()),
        (8, 2, 16)
    );
    assert_eq!(config.outputs[0].reshape, Some(vec![]));
    assert_eq!(config.outputs[0].graph_shape(8), [-1]);
    assert_eq!(config.outputs[0].client_shape(8), [-1, 1]);
    let batching = config.dynamic_batching.unwrap();
    assert_eq!(batching.preferred_batch_sizes, [4, 8]);
    assert_eq!(batching.max_queue_delay, Duration::from_micros(100));
    assert_eq!(config.version_policy.choose(&[1, 2, 3]), [1, 3]);
    assert_eq!(config.parameters["run"], "r1");
}

#[test]
fn every_way_to_write_triton_s_settings_is_read() {
    let config = read(
        r#"
        # numbers of enums, one field a line or many, lists in both forms, either separator
        name: "tu" 'mour'; max_batch_size: 0x10,
        input < name: "features" data_type: 11 dims: 30 dims: [ -1 ], format: FORMAT_NONE optional: false >
        output: [ { name: "label", data_type: TYPE_INT64, dims: [ 1 ] }, { name: "x" data_type: TYPE_STRING } ]
        instance_group [ { count: 2 kind: 2 }, { kind: KIND_AUTO } ]
        optimization: { graph: { level: -1 } cuda { graphs: true } priority: PRIORITY_MAX }
        response_cache { enable: false }
        model_transaction_policy { decoupled: false }
        parameters: { key: "intra_op_thread_count" value: { string_value: "3" } }
        parameters [ { key: "execution_mode" value { string_value: "1" } },
                     { key: "enable_mem_arena" value { string_value: "0" } },
                     { key: "memory.enable_memory_arena_shrinkage" value { string_value: "cpu:0" } },
                     { key: "gpu_mem_limit" value { string_value: "1" } } ]
        dynamic_batching { default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 5
                                                  allow_timeout_override: true } }
        model_warmup { name: "one" batch_size: 2 count: 3
                       inputs { key: "features" value { data_type: TYPE_FP32 dims: [ 30, 4 ] random_data: true } } }
        "#,
    )
    .unwrap();
    assert_eq!((config.name.as_str(), config.max_batch_size), ("tumour", 16));
    assert_eq!(
        (config.inputs[0].datatype, &config.inputs[0].dims[..]),
        (DataType::Fp32, &[30, -1][..])
    );
    assert_eq!((config.outputs.len(), config.instances()), (2, 3));
    assert_eq!(
        config.session,
        SessionSettings {
            intra_op_threads: Some(3),
            parallel: true,
            memory_arena: false,
            shrink_arena: true,
            optimization: GraphOptimization::Basic,
            gpu: GpuSettings {
                cuda: [("gpu_mem_limit".to_owned(), "1".to_owned())].into(),
                graphs: true,
                tensorrt: None,
            },
            ..SessionSettings::default()
        }
    );
    let queue = &config.dynamic_batching.as_ref().unwrap().queue;
    assert_eq!(
        (
            queue.timeout_action,
            queue.default_timeout,
            queue.allow_timeout_override
        ),
        (TimeoutAction::Delay, Duration::from_micros(5), true)
    );
    let sample = &config.warm_ups[0];
    assert_eq!((sample.batch_size, sample.count), (2, 3));
    assert_eq!(sample.inputs["features"].data, WarmUpData::Random);
    assert_eq!(
        config.warnings,
        [
            "config.pbtxt line 7: priority of optimization has no effect here: all models share the threads alike"
        ]
    );
}

#[test]
fn a_request_shortens_the_default_timeout_only_where_it_may() {
    let milliseconds = Duration::from_millis;
    let policy = |default, allow_timeout_override| QueuePolicy {
        default_timeout: milliseconds(default),
        allow_timeout_override,
        ..QueuePolicy::default()
    };
    for (policy, wanted, expected) in [
        (policy(0, false), None, None),
        (policy(0, false), Some(5), Some(5)),
        (policy(9, false), None, Some(9)),
        (policy(9, false), Some(5), Some(9)),
        (policy(9, true), Some(5), Some(5)),
        (policy(9, true), Some(50), Some(9)),
    ] {
        assert_eq!(
            policy.timeout(wanted.map(milliseconds)),
            expected.map(milliseconds),
            "{policy:?} {wanted:?}"
        );
    }
}

#[test]
fn bad_configurations_are_refused_with_their_line_and_what_to_do() {
    for (text, expected) in BAD {
        let error = read(text).unwrap_err().to_string();
        assert_eq!(error, format!("config.pbtxt line {expected}"), "{text}");
    }
}

#[test]
fn version_policies_choose() {
    assert_eq!(VersionPolicy::default().choose(&[1, 2, 10]), [10]);
    assert_eq!(VersionPolicy::Latest(2).choose(&[1, 2, 10]), [2, 10]);
    assert_eq!(VersionPolicy::All.choose(&[1, 2]), [1, 2]);
    assert_eq!(VersionPolicy::default().choose(&[]), [0; 0]);
    let specific = VersionPolicy::Specific(vec![2, 7]);
    assert_eq!(
        (specific.choose(&[1, 2, 3]), specific.absent(&[1, 2, 3])),
        (vec![2], vec![7])
    );
    assert_eq!(VersionPolicy::All.absent(&[1]), [0; 0]);
}

#[test]
fn a_long_map_is_read_in_seconds() {
    let entry = |number: usize| format!("parameters {{ key: 'k{number}' value {{ string_value: '' }} }}\n");
    let text: String = (0..50_000).map(entry).collect();
    let started = std::time::Instant::now();
    assert_eq!(read(&text).unwrap().parameters.len(), 50_000);
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "{:?}",
        started.elapsed()
    );
    let error = read(&(text + "parameters { key: 'k7' }"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("the same key twice, first in line 8"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mix_of_words_makes_the_reader_panic(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..40)) {
        if let Err(error) = read(&words.join(" ")) {
            proptest::prop_assert!(error.line > 0, "{error}");
        }
    }
}

const WORDS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "<",
    ">",
    ":",
    ",",
    ";",
    "-",
    "#",
    "\n",
    "\"",
    "\"x\"",
    "'\\x41'",
    "1",
    "-1",
    "0x",
    "1e9",
    "inf",
    "true",
    "name",
    "input",
    "dims",
    "reshape",
    "shape",
    "version_policy",
    "latest",
    "specific",
    "versions",
    "instance_group",
    "count",
    "kind",
    "KIND_CPU",
    "parameters",
    "key",
    "value",
    "string_value",
    "model_warmup",
    "inputs",
    "optimization",
    "graph",
    "level",
    "dynamic_batching",
    "default_queue_policy",
    "timeout_action",
    "DELAY",
    "max_batch_size",
];
