//! A configuration that comes as JSON, as `GET /v2/models/{model}/config` writes it, turned into the text that is read.

use serde_json::{Map, Value};

use super::write::quoted;

/// Fields whose strings are names of an enumeration, or numbers of 64 bits, which stand in the text without quotes.
const BARE: [&str; 16] = [
    "data_type",
    "kind",
    "format",
    "dims",
    "shape",
    "versions",
    "max_queue_delay_microseconds",
    "default_timeout_microseconds",
    "max_queue_size",
    "priority_levels",
    "default_priority_level",
    "num_versions",
    "timeout_action",
    "model_version",
    "max_inflight_requests",
    "priority",
];

/// Fields that are maps by a key.
const MAPS: [&str; 7] = [
    "parameters",
    "inputs",
    "input_map",
    "output_map",
    "cc_model_filenames",
    "metric_tags",
    NUMBERED,
];
/// One of them, whose keys are numbers.
const NUMBERED: &str = "priority_queue_policy";

/// The text of a configuration; an error says what is wrong with the JSON. Each field has a line of its own.
pub fn from_json(json: &str) -> Result<String, String> {
    let config: Map<String, Value> = serde_json::from_str(json)
        .map_err(|error| format!("the configuration is not a JSON object: {error}"))?;
    let mut text = String::new();
    fields(&mut text, &config)?;
    Ok(text)
}

fn fields(text: &mut String, message: &Map<String, Value>) -> Result<(), String> {
    for (name, value) in message {
        let name = snake_case(name);
        if !name
            .chars()
            .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            || name.is_empty()
        {
            return Err(format!("{name:?} is no name of a field"));
        }
        match value {
            Value::Object(entries) if MAPS.contains(&name.as_str()) => {
                for (key, value) in entries {
                    *text += &format!("{name} {{\nkey: {}\n", map_key(&name, key)?);
                    field(text, "value", value)?;
                    *text += "}\n";
                }
            }
            Value::Array(values) => {
                for value in values {
                    field(text, &name, value)?;
                }
            }
            value => field(text, &name, value)?,
        }
    }
    Ok(())
}

fn map_key(map: &str, key: &str) -> Result<String, String> {
    if map != NUMBERED {
        return Ok(quoted(key));
    }
    let number: u64 = key
        .parse()
        .map_err(|_| format!("{map} cannot have the key {key:?}; it is a number"))?;
    Ok(number.to_string())
}

fn field(text: &mut String, name: &str, value: &Value) -> Result<(), String> {
    match value {
        Value::Null => {}
        Value::Bool(value) => *text += &format!("{name}: {value}\n"),
        Value::Number(value) => *text += &format!("{name}: {value}\n"),
        Value::String(value) if BARE.contains(&name) => {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
            if value.is_empty() || !value.chars().all(plain) {
                return Err(format!("{name} cannot be {value:?}"));
            }
            *text += &format!("{name}: {value}\n");
        }
        Value::String(value) => *text += &format!("{name}: {}\n", quoted(value)),
        Value::Object(message) => {
            *text += &format!("{name} {{\n");
            fields(text, message)?;
            *text += "}\n";
        }
        Value::Array(_) => return Err(format!("{name} cannot be a list of lists")),
    }
    Ok(())
}

/// The names of the proto; its JSON may have `maxBatchSize` for `max_batch_size`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::super::{ModelConfig, read};
    use super::*;

    #[test]
    fn the_defaults_that_servers_write_out_say_nothing() {
        let json = r#"{"name": "m", "platform": "", "runtime": "", "max_batch_size": 8, "cc_model_filenames": {},
            "metric_tags": {}, "parameters": {}, "model_warmup": [], "batch_input": [], "batch_output": [],
            "input": [{"name": "x", "data_type": "TYPE_FP32", "format": "FORMAT_NONE", "dims": [4],
                       "is_shape_tensor": false, "allow_ragged_batch": false, "optional": false,
                       "is_non_linear_format_io": false}],
            "output": [{"name": "y", "data_type": "TYPE_FP32", "dims": [3], "label_filename": "",
                        "is_shape_tensor": false, "is_non_linear_format_io": false}],
            "optimization": {"priority": "PRIORITY_DEFAULT", "input_pinned_memory": {"enable": true},
                             "output_pinned_memory": {"enable": true}, "gather_kernel_buffer_threshold": 0,
                             "eager_batching": false},
            "instance_group": [{"name": "m_0", "kind": "KIND_CPU", "count": 1, "gpus": [], "secondary_devices": [],
                                "profile": [], "passive": false, "host_policy": ""}],
            "dynamic_batching": {"preferred_batch_size": [8], "preserve_ordering": false, "priority_levels": 0,
                                 "default_priority_level": 0, "priority_queue_policy": {}}}"#;
        let from_json = read(&from_json(json).unwrap());
        assert!(from_json.is_ok(), "{from_json:?}");
    }

    #[test]
    fn json_and_text_are_the_same_configuration() {
        let json = r#"{"name": "m", "maxBatchSize": 8, "version_policy": {"specific": {"versions": ["2", 3]}},
            "input": [{"name": "x", "data_type": "TYPE_FP32", "dims": ["4", -1], "reshape": {"shape": []}}],
            "output": [{"name": "y", "data_type": "TYPE_STRING", "dims": [3], "label_filename": "a \"b\".txt"}],
            "instance_group": [{"name": "m", "kind": "KIND_CPU", "count": 2}],
            "dynamic_batching": {"preferred_batch_size": [4, 8], "max_queue_delay_microseconds": "100",
                "priority_levels": "3", "default_priority_level": "2", "priority_queue_policy": {"1": {"max_queue_size": 5}},
                "default_queue_policy": {"default_timeout_microseconds": "500"}},
            "model_warmup": [{"name": "w", "batch_size": 1, "inputs": {"x": {"data_type": "TYPE_FP32", "dims": ["4", 2], "zero_data": true}}}],
            "metric_tags": {"team": "risk"},
            "parameters": {"run Id": {"string_value": "line\nbreak"}}}"#;
        let text = r#"name: "m" max_batch_size: 8 version_policy { specific { versions: [2, 3] } }
            input { name: "x" data_type: TYPE_FP32 dims: [4, -1] reshape { } }
            output { name: "y" data_type: TYPE_STRING dims: 3 label_filename: "a \"b\".txt" }
            instance_group { kind: KIND_CPU count: 2 }
            dynamic_batching { preferred_batch_size: [4, 8] max_queue_delay_microseconds: 100
                priority_levels: 3 default_priority_level: 2 priority_queue_policy { key: 1 value { max_queue_size: 5 } }
                default_queue_policy { default_timeout_microseconds: 500 } }
            model_warmup { name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32 dims: [4, 2] zero_data: true } } }
            metric_tags { key: "team" value: "risk" }
            parameters { key: "run Id" value { string_value: "line\nbreak" } }"#;
        let read = |text: &str| ModelConfig {
            // They name lines, which are others.
            warnings: Vec::new(),
            ..read(text).unwrap()
        };
        assert_eq!(read(&from_json(json).unwrap()), read(text));
    }

    #[test]
    fn json_that_is_no_configuration_is_refused() {
        for (json, part) in [
            ("[]", "not a JSON object"),
            ("{", "not a JSON object"),
            (r#"{"a b": 1}"#, "no name of a field"),
            (
                r#"{"input": [{"data_type": "TYPE_FP32 } evil {"}]}"#,
                "data_type cannot be",
            ),
            (r#"{"input": [{"dims": [[1]]}]}"#, "list of lists"),
            (
                r#"{"dynamic_batching": {"priority_queue_policy": {"1 } evil {": {}}}}"#,
                "cannot have the key",
            ),
        ] {
            let error = from_json(json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
        let unknown = read(&from_json(r#"{"sequence_batching": {}}"#).unwrap()).unwrap_err();
        assert!(unknown.to_string().contains("sequence_batching"), "{unknown}");
    }
}
