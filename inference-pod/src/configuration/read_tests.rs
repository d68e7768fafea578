//! What is read from `config.pbtxt`, and what is refused.

use super::*;

#[test]
fn a_configuration_of_triton_is_read() {
    let config = read(
        r#"
        name: "tumour"  backend: "onnxruntime"
        max_batch_size: 8
        input [ { name: "features" data_type: TYPE_FP32 dims: [ 30 ] } ]
        output [ { name: "label" data_type: TYPE_INT64 dims: [ 1 ] reshape: { shape: [ ] } } ]
        instance_group [ { count: 2 kind: KIND_CPU } ]
        dynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100
                           default_queue_policy { max_queue_size: 16 } }
        version_policy: { specific: { versions: [ 1, 3 ] } }
        parameters { key: "run" value: { string_value: "r1" } }
        "#,
    )
    .unwrap();
    assert_eq!(
        (config.max_batch_size, config.instances, config.max_queue_size()),
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
fn what_cannot_be_honoured_is_refused_with_its_line() {
    for (text, part) in [
        (
            "\nsequence_batching { }",
            "line 2: sequence_batching is not supported",
        ),
        (
            "max_batch_sise: 8",
            "line 1: unknown or unsupported field max_batch_sise",
        ),
        (
            "platform: \"tensorflow_savedmodel\"",
            "only \"onnxruntime_onnx\" is",
        ),
        ("max_batch_size: -1", "max_batch_size cannot be -1"),
        ("max_batch_size: \"8\"", "without quotes"),
        ("input { name: \"x\" dims: 1 }", "input 'x' lacks its data_type"),
        (
            "input { name: \"x\" data_type: TYPE_FP31 }",
            "TYPE_FP31 is not known",
        ),
        (
            "input { name: \"x\" data_type: TYPE_FP32 dims: 0 }",
            "must be -1 or positive",
        ),
        (
            "input { name: \"x\" data_type: TYPE_FP32\n allow_ragged_batch: true }",
            "line 2: allow_ragged_batch",
        ),
        ("instance_group { kind: KIND_GPU }", "KIND_GPU is not supported"),
        ("instance_group { count: 0 }", "between 1 and 64"),
        (
            "dynamic_batching {\n priority_levels: 2 }",
            "line 2: unknown or unsupported field priority_levels",
        ),
        ("default_model_filename: \"../x\"", "name of a file"),
        ("version_policy { }", "one of latest, all and specific"),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn version_policies_choose() {
    assert_eq!(VersionPolicy::default().choose(&[1, 2, 10]), [10]);
    assert_eq!(VersionPolicy::Latest(2).choose(&[1, 2, 10]), [2, 10]);
    assert_eq!(VersionPolicy::All.choose(&[1, 2]), [1, 2]);
    assert_eq!(VersionPolicy::default().choose(&[]), [0; 0]);
}
