//! Queue policies, optimization and warm-up of a configuration as messages.

use super::describe::data_type;
use super::proto::model_config::SchedulingChoice;
use super::proto::model_ensembling::Step;
use super::proto::model_instance_group::Kind;
use super::proto::model_optimization_policy::execution_accelerators::Accelerator;
use super::proto::model_optimization_policy::{Cuda, ExecutionAccelerators, Graph, PinnedMemoryBuffer};
use super::proto::model_queue_policy::TimeoutAction as Action;
use super::proto::model_warmup::{Input, input::InputDataType};
use super::proto::{
    ModelEnsembling, ModelInstanceGroup, ModelOptimizationPolicy, ModelQueuePolicy, ModelWarmup,
};
use crate::configuration::{
    EnsembleStep, GraphOptimization, InstanceGroup, InstanceKind, ModelConfig, QueuePolicy, TimeoutAction,
    WarmUp, WarmUpData, WarmUpInput,
};

/// With the bound that really holds where the configuration has none.
pub(super) fn queue_policy(policy: &QueuePolicy) -> ModelQueuePolicy {
    let action = match policy.timeout_action {
        TimeoutAction::Reject => Action::Reject,
        TimeoutAction::Delay => Action::Delay,
    };
    ModelQueuePolicy {
        timeout_action: action.into(),
        default_timeout_microseconds: u64::try_from(policy.default_timeout.as_micros()).unwrap_or(u64::MAX),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: u32::try_from(policy.bound()).unwrap_or(u32::MAX),
    }
}

/// Named as Triton names groups without a name; an ensemble has none.
pub(super) fn instance_groups(config: &ModelConfig) -> Vec<ModelInstanceGroup> {
    if config.ensemble.is_some() {
        return Vec::new();
    }
    let describe = |(index, group): (usize, &InstanceGroup)| {
        let kind = match group.kind {
            InstanceKind::Auto => Kind::Auto,
            InstanceKind::Cpu => Kind::Cpu,
            InstanceKind::Gpu => Kind::Gpu,
        };
        ModelInstanceGroup {
            name: format!("{}_{index}", config.name),
            kind: kind.into(),
            count: i32::try_from(group.count).unwrap_or(i32::MAX),
            gpus: group
                .gpus
                .iter()
                .filter_map(|gpu| i32::try_from(*gpu).ok())
                .collect(),
            ..Default::default()
        }
    };
    config.instance_groups.iter().enumerate().map(describe).collect()
}

/// What differs from the default, and what Triton says whatever it is; an ensemble has none.
pub(super) fn optimization(config: &ModelConfig) -> Option<ModelOptimizationPolicy> {
    if config.ensemble.is_some() {
        return None;
    }
    let session = &config.session;
    let graph = (session.optimization != GraphOptimization::default()).then(|| Graph {
        level: session.optimization.level(),
    });
    let cuda = session.gpu.graphs.then(|| Cuda {
        graphs: true,
        ..Default::default()
    });
    let execution_accelerators = session
        .gpu
        .tensorrt
        .as_ref()
        .map(|options| ExecutionAccelerators {
            gpu_execution_accelerator: vec![Accelerator {
                name: "tensorrt".to_owned(),
                parameters: options.clone().into_iter().collect(),
            }],
            ..Default::default()
        });
    let pinned = Some(PinnedMemoryBuffer { enable: true });
    Some(ModelOptimizationPolicy {
        graph,
        cuda,
        execution_accelerators,
        input_pinned_memory: pinned,
        output_pinned_memory: pinned,
        ..Default::default()
    })
}

/// The steps of an ensemble.
pub(super) fn ensemble(config: &ModelConfig) -> Option<SchedulingChoice> {
    let scheduling = config.ensemble.as_ref()?;
    let step = |step: &EnsembleStep| Step {
        model_name: step.model.clone(),
        model_version: step
            .version
            .map_or(-1, |version| i64::try_from(version).unwrap_or(i64::MAX)),
        input_map: step.inputs.clone().into_iter().collect(),
        output_map: step.outputs.clone().into_iter().collect(),
        model_namespace: String::new(),
    };
    Some(SchedulingChoice::EnsembleScheduling(ModelEnsembling {
        step: scheduling.steps.iter().map(step).collect(),
        max_inflight_requests: scheduling.max_inflight_requests,
    }))
}

pub(super) fn warm_ups(samples: &[WarmUp]) -> Vec<ModelWarmup> {
    let describe = |sample: &WarmUp| ModelWarmup {
        name: sample.name.clone(),
        batch_size: sample.batch_size,
        inputs: sample
            .inputs
            .iter()
            .map(|(name, input)| (name.clone(), warm_up_input(input)))
            .collect(),
        count: sample.count,
    };
    samples.iter().map(describe).collect()
}

fn warm_up_input(input: &WarmUpInput) -> Input {
    let data = match &input.data {
        WarmUpData::Zero => InputDataType::ZeroData(true),
        WarmUpData::Random => InputDataType::RandomData(true),
        WarmUpData::File(file) => InputDataType::InputDataFile(file.clone()),
    };
    Input {
        data_type: data_type(input.datatype).into(),
        dims: input.dims.clone(),
        input_data_type: Some(data),
    }
}
