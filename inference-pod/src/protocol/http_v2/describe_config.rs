//! Queue policies, optimization and warm-up of a configuration as JSON.

use serde_json::{Map, Value, json};

use crate::configuration::{
    GraphOptimization, ModelConfig, QueuePolicy, TimeoutAction, WarmUp, WarmUpData, datatype_name,
};

/// With the bound that really holds where the configuration has none.
pub(super) fn queue_policy(config: &ModelConfig, policy: &QueuePolicy) -> Value {
    json!({
        "timeout_action": match policy.timeout_action {
            TimeoutAction::Reject => "REJECT",
            TimeoutAction::Delay => "DELAY",
        },
        "default_timeout_microseconds": u64::try_from(policy.default_timeout.as_micros()).unwrap_or(u64::MAX),
        "allow_timeout_override": policy.allow_timeout_override,
        "max_queue_size": config.max_queue_size(),
    })
}

/// Fields that are there only where the configuration says more than the default.
pub(super) fn add_session_and_warm_ups(value: &mut Value, config: &ModelConfig) {
    if config.session.optimization != GraphOptimization::default() {
        value["optimization"] = json!({"graph": {"level": config.session.optimization.level()}});
    }
    if !config.warm_ups.is_empty() {
        value["model_warmup"] = config.warm_ups.iter().map(warm_up).collect();
    }
}

/// Fields that Triton writes whatever they say, where they are not there yet: clients index them without asking.
pub(super) fn add_defaults(value: &mut Value, config: &ModelConfig) {
    let pinned = json!({"enable": true});
    add(
        value,
        json!({"runtime": "", "cc_model_filenames": {}, "metric_tags": {}, "model_warmup": [], "batch_input": [],
               "batch_output": [], "optimization": {}}),
    );
    add(
        &mut value["optimization"],
        json!({"priority": "PRIORITY_DEFAULT", "input_pinned_memory": pinned, "output_pinned_memory": pinned,
               "gather_kernel_buffer_threshold": 0, "eager_batching": false}),
    );
    let tensor = json!({"is_shape_tensor": false, "is_non_linear_format_io": false});
    for (list, defaults) in [
        (
            "input",
            json!({"format": "FORMAT_NONE", "allow_ragged_batch": false, "optional": false}),
        ),
        ("output", json!({"label_filename": ""})),
        (
            "instance_group",
            json!({"gpus": [], "secondary_devices": [], "profile": [], "passive": false, "host_policy": ""}),
        ),
    ] {
        for item in value[list].as_array_mut().into_iter().flatten() {
            add(item, defaults.clone());
            if list != "instance_group" {
                add(item, tensor.clone());
            }
        }
    }
    if let Some(batching) = value.get_mut("dynamic_batching") {
        add(
            batching,
            json!({"preserve_ordering": false, "priority_levels": 0, "default_priority_level": 0,
                   "priority_queue_policy": {}}),
        );
        if batching["preferred_batch_size"]
            .as_array()
            .is_some_and(Vec::is_empty)
        {
            batching["preferred_batch_size"] = json!([config.max_batch_size]);
        }
    }
}

fn add(value: &mut Value, defaults: Value) {
    if let (Some(fields), Value::Object(defaults)) = (value.as_object_mut(), defaults) {
        for (name, default) in defaults {
            fields.entry(name).or_insert(default);
        }
    }
}

fn warm_up(sample: &WarmUp) -> Value {
    let mut inputs = Map::new();
    for (name, input) in &sample.inputs {
        let mut described = json!({"data_type": datatype_name(input.datatype), "dims": input.dims});
        match &input.data {
            WarmUpData::Zero => described["zero_data"] = true.into(),
            WarmUpData::Random => described["random_data"] = true.into(),
            WarmUpData::File(file) => described["input_data_file"] = file.as_str().into(),
        }
        inputs.insert(name.clone(), described);
    }
    json!({
        "name": sample.name,
        "batch_size": sample.batch_size,
        "inputs": inputs,
        "count": sample.count,
    })
}
