//! Metadata, configuration, statistics and index as messages.

use std::sync::Arc;

use super::describe_config::queue_policy;
use super::proto::model_metadata_response::TensorMetadata;
use super::proto::repository_index_response::ModelIndex;
use super::proto::{self, model_config, model_version_policy, system_shared_memory_status_response};
use crate::configuration::{DynamicBatching, ModelConfig, TensorConfig, VersionPolicy};
use crate::models::{ModelVersion, VersionStatus};
use crate::protocol::MEMORY_TYPE;
use crate::protocol::repository::Index;
use crate::protocol::shared_memory::Region;
use crate::statistics::{Phases, Total};
use crate::tensor::DataType;

pub(super) fn metadata(model: &ModelVersion, versions: &[u64]) -> proto::ModelMetadataResponse {
    let tensors = |tensors: &[TensorConfig]| {
        let describe = |tensor: &TensorConfig| TensorMetadata {
            name: tensor.name.clone(),
            datatype: tensor.datatype.name().to_owned(),
            shape: tensor.client_shape(model.config.max_batch_size),
        };
        tensors.iter().map(describe).collect()
    };
    proto::ModelMetadataResponse {
        name: model.name.clone(),
        versions: versions.iter().map(u64::to_string).collect(),
        platform: model.config.platform().to_owned(),
        inputs: tensors(&model.config.inputs),
        outputs: tensors(&model.config.outputs),
    }
}

pub(super) fn config(config: &ModelConfig) -> proto::ModelConfig {
    let reshape = |tensor: &TensorConfig| {
        tensor
            .reshape
            .clone()
            .map(|shape| proto::ModelTensorReshape { shape })
    };
    let input = |tensor: &TensorConfig| proto::ModelInput {
        name: tensor.name.clone(),
        data_type: data_type(tensor.datatype).into(),
        dims: tensor.dims.clone(),
        reshape: reshape(tensor),
        ..Default::default()
    };
    let output = |tensor: &TensorConfig| proto::ModelOutput {
        label_filename: tensor.label_filename.clone().unwrap_or_default(),
        name: tensor.name.clone(),
        data_type: data_type(tensor.datatype).into(),
        dims: tensor.dims.clone(),
        reshape: reshape(tensor),
        ..Default::default()
    };
    let parameter = |(key, value): (&String, &String)| {
        (
            key.clone(),
            proto::ModelParameter {
                string_value: value.clone(),
            },
        )
    };
    let is_ensemble = config.ensemble.is_some();
    let graph_only = |text: &str| {
        if is_ensemble {
            String::new()
        } else {
            text.to_owned()
        }
    };
    proto::ModelConfig {
        name: config.name.clone(),
        platform: config.platform().to_owned(),
        backend: graph_only("onnxruntime"),
        version_policy: Some(version_policy(&config.version_policy)),
        max_batch_size: i32::try_from(config.max_batch_size).unwrap_or(i32::MAX),
        input: config.inputs.iter().map(input).collect(),
        output: config.outputs.iter().map(output).collect(),
        instance_group: super::describe_config::instance_groups(config),
        default_model_filename: graph_only(&config.model_file),
        parameters: config.parameters.iter().map(parameter).collect(),
        metric_tags: config.metric_tags.clone().into_iter().collect(),
        scheduling_choice: super::describe_config::ensemble(config).or_else(|| {
            let batching = config.dynamic_batching.as_ref()?;
            Some(dynamic_batching(config, batching))
        }),
        response_cache: config
            .response_cache
            .then_some(proto::ModelResponseCache { enable: true }),
        optimization: super::describe_config::optimization(config),
        model_warmup: super::describe_config::warm_ups(&config.warm_ups),
        ..Default::default()
    }
}

fn version_policy(policy: &VersionPolicy) -> proto::ModelVersionPolicy {
    use model_version_policy::{All, Latest, PolicyChoice, Specific};
    let choice = match policy {
        VersionPolicy::Latest(count) => PolicyChoice::Latest(Latest { num_versions: *count }),
        VersionPolicy::All => PolicyChoice::All(All {}),
        VersionPolicy::Specific(versions) => PolicyChoice::Specific(Specific {
            versions: versions.iter().map(|version| *version as i64).collect(),
        }),
    };
    proto::ModelVersionPolicy {
        policy_choice: Some(choice),
    }
}

fn dynamic_batching(config: &ModelConfig, batching: &DynamicBatching) -> model_config::SchedulingChoice {
    model_config::SchedulingChoice::DynamicBatching(proto::ModelDynamicBatching {
        preferred_batch_size: match batching.preferred_batch_sizes.as_slice() {
            // A full batch ends the wait, as Triton says it.
            [] => vec![config.max_batch_size as i32],
            sizes => sizes.iter().map(|size| *size as i32).collect(),
        },
        max_queue_delay_microseconds: u64::try_from(batching.max_queue_delay.as_micros()).unwrap_or(u64::MAX),
        preserve_ordering: batching.preserve_ordering,
        priority_levels: batching.priorities.levels.into(),
        default_priority_level: batching.priorities.default_level.into(),
        default_queue_policy: Some(queue_policy(&batching.queue)),
        priority_queue_policy: batching
            .priorities
            .policies
            .iter()
            .map(|(level, policy)| (u64::from(*level), queue_policy(policy)))
            .collect(),
    })
}

pub(super) fn data_type(datatype: DataType) -> proto::DataType {
    match datatype {
        DataType::Bool => proto::DataType::TypeBool,
        DataType::Uint8 => proto::DataType::TypeUint8,
        DataType::Uint16 => proto::DataType::TypeUint16,
        DataType::Uint32 => proto::DataType::TypeUint32,
        DataType::Uint64 => proto::DataType::TypeUint64,
        DataType::Int8 => proto::DataType::TypeInt8,
        DataType::Int16 => proto::DataType::TypeInt16,
        DataType::Int32 => proto::DataType::TypeInt32,
        DataType::Int64 => proto::DataType::TypeInt64,
        DataType::Fp16 => proto::DataType::TypeFp16,
        DataType::Bf16 => proto::DataType::TypeBf16,
        DataType::Fp32 => proto::DataType::TypeFp32,
        DataType::Fp64 => proto::DataType::TypeFp64,
        DataType::Bytes => proto::DataType::TypeString,
    }
}

pub(super) fn regions(regions: &[Arc<Region>]) -> proto::SystemSharedMemoryStatusResponse {
    let describe = |region: &Arc<Region>| {
        let status = system_shared_memory_status_response::RegionStatus {
            name: region.name.clone(),
            key: region.key.clone(),
            offset: region.offset,
            byte_size: region.byte_size,
        };
        (region.name.clone(), status)
    };
    proto::SystemSharedMemoryStatusResponse {
        regions: regions.iter().map(describe).collect(),
    }
}

pub(super) fn index(index: Index) -> proto::RepositoryIndexResponse {
    let describe = |status: VersionStatus| ModelIndex {
        name: status.model,
        version: status.version.to_string(),
        state: status.state.name().to_owned(),
        reason: status.reason,
    };
    let others = index.others.into_iter().map(|name| ModelIndex {
        name,
        ..ModelIndex::default()
    });
    proto::RepositoryIndexResponse {
        models: index.versions.into_iter().map(describe).chain(others).collect(),
    }
}

pub(super) fn statistics(model: &ModelVersion) -> proto::ModelStatistics {
    let totals = model.statistics.snapshot();
    let batch = |(size, phases): (&u64, &Phases<Total>)| proto::InferBatchStatistics {
        batch_size: *size,
        compute_input: Some(total(phases.input)),
        compute_infer: Some(total(phases.infer)),
        compute_output: Some(total(phases.output)),
    };
    let memory = |bytes: u64| proto::MemoryUsage {
        r#type: MEMORY_TYPE.to_owned(),
        id: 0,
        byte_size: bytes,
    };
    proto::ModelStatistics {
        name: model.name.clone(),
        version: model.version.to_string(),
        last_inference: totals.last_inference,
        inference_count: totals.inferences,
        execution_count: totals.executions,
        inference_stats: Some(proto::InferStatistics {
            success: Some(total(totals.success)),
            fail: Some(total(totals.fail)),
            queue: Some(total(totals.queue)),
            compute_input: Some(total(totals.phases.input)),
            compute_infer: Some(total(totals.phases.infer)),
            compute_output: Some(total(totals.phases.output)),
            cache_hit: Some(total(totals.cache_hit)),
            cache_miss: Some(total(totals.cache_miss)),
        }),
        batch_stats: totals.batches.iter().map(batch).collect(),
        memory_usage: model.heap_bytes().map(memory).into_iter().collect(),
        ..proto::ModelStatistics::default()
    }
}

fn total(total: Total) -> proto::StatisticDuration {
    proto::StatisticDuration {
        count: total.count,
        ns: total.nanoseconds,
    }
}
