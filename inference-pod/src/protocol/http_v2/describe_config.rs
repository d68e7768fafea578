//! Queue policies, optimization and warm-up of a configuration as JSON.

use serde_json::{Map, Value, json};

use crate::configuration::{
    DynamicBatching, EnsembleStep, GraphOptimization, ModelConfig, QueuePolicy, TimeoutAction, WarmUp,
    WarmUpData, datatype_name,
};

pub(super) fn dynamic_batching(batching: &DynamicBatching) -> Value {
    let priorities = &batching.priorities;
    let policies: Map<_, _> = priorities
        .policies
        .iter()
        .map(|(level, policy)| (level.to_string(), queue_policy(policy)))
        .collect();
    json!({
        "preferred_batch_size": batching.preferred_batch_sizes,
        "max_queue_delay_microseconds": u64::try_from(batching.max_queue_delay.as_micros()).unwrap_or(u64::MAX),
        "preserve_ordering": batching.preserve_ordering,
        "priority_levels": priorities.levels,
        "default_priority_level": priorities.default_level,
        "default_queue_policy": queue_policy(&batching.queue),
        "priority_queue_policy": policies,
    })
}

/// With the bound that really holds where the configuration has none.
fn queue_policy(policy: &QueuePolicy) -> Value {
    json!({
        "timeout_action": match policy.timeout_action {
            TimeoutAction::Reject => "REJECT",
            TimeoutAction::Delay => "DELAY",
        },
        "default_timeout_microseconds": u64::try_from(policy.default_timeout.as_micros()).unwrap_or(u64::MAX),
        "allow_timeout_override": policy.allow_timeout_override,
        "max_queue_size": policy.bound(),
    })
}

/// Named as Triton names groups without a name; an ensemble has none.
pub(super) fn instance_groups(config: &ModelConfig) -> Value {
    if config.ensemble.is_some() {
        return json!([]);
    }
    let groups = config.instance_groups.iter().enumerate();
    groups
        .map(|(index, group)| {
            json!({
                "name": format!("{}_{index}", config.name),
                "kind": group.kind.name(),
                "count": group.count,
                "gpus": group.gpus,
            })
        })
        .collect()
}

/// Fields that are there only where the configuration says more than the default.
pub(super) fn add_session_and_warm_ups(value: &mut Value, config: &ModelConfig) {
    let session = &config.session;
    if session.optimization != GraphOptimization::default() {
        value["optimization"]["graph"] = json!({"level": session.optimization.level()});
    }
    if session.gpu.graphs {
        value["optimization"]["cuda"] = json!({"graphs": true});
    }
    if let Some(options) = &session.gpu.tensorrt {
        value["optimization"]["execution_accelerators"] =
            json!({"gpu_execution_accelerator": [{"name": "tensorrt", "parameters": options}]});
    }
    if config.response_cache {
        value["response_cache"] = json!({"enable": true});
    }
    if let Some(ensemble) = &config.ensemble {
        value["ensemble_scheduling"] = json!({
            "max_inflight_requests": ensemble.max_inflight_requests,
            "step": ensemble.steps.iter().map(step).collect::<Vec<_>>(),
        });
    }
    if !config.warm_ups.is_empty() {
        value["model_warmup"] = config.warm_ups.iter().map(warm_up).collect();
    }
}

fn step(step: &EnsembleStep) -> Value {
    json!({
        "model_name": step.model,
        "model_version": step.version.map_or(-1, |version| i64::try_from(version).unwrap_or(i64::MAX)),
        "input_map": step.inputs,
        "output_map": step.outputs,
        "model_namespace": "",
    })
}

/// Fields that Triton writes whatever they say, where they are not there yet: clients index them without asking.
pub(super) fn add_defaults(value: &mut Value, config: &ModelConfig) {
    let pinned = json!({"enable": true});
    add(
        value,
        json!({"runtime": "", "cc_model_filenames": {}, "metric_tags": {}, "model_warmup": [], "batch_input": [],
               "batch_output": []}),
    );
    // Ensembles have none, and would be refused with one.
    if config.ensemble.is_none() {
        add(value, json!({"optimization": {}}));
        add(
            &mut value["optimization"],
            json!({"priority": "PRIORITY_DEFAULT", "input_pinned_memory": pinned, "output_pinned_memory": pinned,
                   "gather_kernel_buffer_threshold": 0, "eager_batching": false}),
        );
    }
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
