//! Metadata, configuration, statistics and index as JSON.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::configuration::{ModelConfig, TensorConfig, VersionPolicy, datatype_name};
use crate::models::{ModelVersion, VersionStatus};
use crate::protocol::MEMORY_TYPE;
use crate::protocol::repository::Index;
use crate::statistics::{Phases, Snapshot, Total};

#[derive(Serialize)]
pub(super) struct Metadata<'a> {
    name: &'a str,
    versions: Vec<String>,
    platform: &'static str,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
}

pub(super) fn metadata<'a>(model: &'a ModelVersion, versions: &[u64]) -> Metadata<'a> {
    let tensors = |tensors: &[TensorConfig]| {
        let describe = |tensor: &TensorConfig| {
            json!({
                "name": tensor.name,
                "datatype": tensor.datatype.name(),
                "shape": tensor.client_shape(model.config.max_batch_size),
            })
        };
        tensors.iter().map(describe).collect()
    };
    Metadata {
        name: &model.name,
        versions: versions.iter().map(u64::to_string).collect(),
        platform: model.config.platform(),
        inputs: tensors(&model.config.inputs),
        outputs: tensors(&model.config.outputs),
    }
}

/// `ModelConfig` as Triton writes it: names of the proto, numbers as numbers.
pub(super) fn config(config: &ModelConfig) -> Value {
    let tensor = |tensor: &TensorConfig| {
        let mut value = json!({
            "name": tensor.name,
            "data_type": datatype_name(tensor.datatype),
            "dims": tensor.dims,
        });
        if let Some(shape) = &tensor.reshape {
            value["reshape"] = json!({"shape": shape});
        }
        if let Some(file) = &tensor.label_filename {
            value["label_filename"] = json!(file);
        }
        value
    };
    let parameters: BTreeMap<_, _> = config
        .parameters
        .iter()
        .map(|(key, value)| (key, json!({"string_value": value})))
        .collect();
    let is_ensemble = config.ensemble.is_some();
    let mut value = json!({
        "name": config.name,
        "platform": config.platform(),
        "backend": if is_ensemble { "" } else { "onnxruntime" },
        "version_policy": match &config.version_policy {
            VersionPolicy::Latest(count) => json!({"latest": {"num_versions": count}}),
            VersionPolicy::All => json!({"all": {}}),
            VersionPolicy::Specific(versions) => json!({"specific": {"versions": versions}}),
        },
        "max_batch_size": config.max_batch_size,
        "input": config.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "output": config.outputs.iter().map(tensor).collect::<Vec<_>>(),
        "instance_group": super::describe_config::instance_groups(config),
        "default_model_filename": if is_ensemble { "" } else { config.model_file.as_str() },
        "parameters": parameters,
        "metric_tags": config.metric_tags,
    });
    if let Some(batching) = &config.dynamic_batching {
        value["dynamic_batching"] = super::describe_config::dynamic_batching(batching);
    }
    super::describe_config::add_session_and_warm_ups(&mut value, config);
    super::describe_config::add_defaults(&mut value, config);
    value
}

pub(super) fn index(index: &Index) -> Value {
    let describe = |status: &VersionStatus| {
        let mut described = json!({
            "name": status.model,
            "version": status.version.to_string(),
            "state": status.state.name(),
        });
        if !status.reason.is_empty() {
            described["reason"] = json!(status.reason);
        }
        described
    };
    let others = index.others.iter().map(|name| json!({"name": name}));
    index.versions.iter().map(describe).chain(others).collect()
}

pub(super) fn statistics(versions: &[Arc<ModelVersion>]) -> Value {
    let all: Vec<_> = versions
        .iter()
        .map(|version| model_statistics(version, &version.statistics.snapshot()))
        .collect();
    json!({"model_stats": all})
}

fn model_statistics(model: &ModelVersion, totals: &Snapshot) -> Value {
    let batch = |(size, phases): (&u64, &Phases<Total>)| {
        json!({
            "batch_size": size,
            "compute_input": total(phases.input),
            "compute_infer": total(phases.infer),
            "compute_output": total(phases.output),
        })
    };
    let memory = |bytes: u64| json!({"type": MEMORY_TYPE, "id": 0, "byte_size": bytes});
    json!({
        "name": model.name,
        "version": model.version.to_string(),
        "last_inference": totals.last_inference,
        "inference_count": totals.inferences,
        "execution_count": totals.executions,
        "inference_stats": {
            "success": total(totals.success),
            "fail": total(totals.fail),
            "queue": total(totals.queue),
            "compute_input": total(totals.phases.input),
            "compute_infer": total(totals.phases.infer),
            "compute_output": total(totals.phases.output),
            "cache_hit": total(totals.cache_hit),
            "cache_miss": total(totals.cache_miss),
        },
        "response_stats": {},
        "batch_stats": totals.batches.iter().map(batch).collect::<Vec<_>>(),
        "memory_usage": model.heap_bytes().map(memory).into_iter().collect::<Vec<_>>(),
    })
}

fn total(total: Total) -> Value {
    json!({"count": total.count, "ns": total.nanoseconds})
}
