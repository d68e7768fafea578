//! Queue policies, optimization and warm-up of a configuration as messages.

use super::describe::data_type;
use super::proto::model_optimization_policy::{Graph, PinnedMemoryBuffer};
use super::proto::model_queue_policy::TimeoutAction as Action;
use super::proto::model_warmup::{Input, input::InputDataType};
use super::proto::{ModelOptimizationPolicy, ModelQueuePolicy, ModelWarmup};
use crate::configuration::{
    GraphOptimization, ModelConfig, QueuePolicy, SessionSettings, TimeoutAction, WarmUp, WarmUpData,
    WarmUpInput,
};

/// With the bound that really holds where the configuration has none.
pub(super) fn queue_policy(config: &ModelConfig, policy: &QueuePolicy) -> ModelQueuePolicy {
    let action = match policy.timeout_action {
        TimeoutAction::Reject => Action::Reject,
        TimeoutAction::Delay => Action::Delay,
    };
    ModelQueuePolicy {
        timeout_action: action.into(),
        default_timeout_microseconds: u64::try_from(policy.default_timeout.as_micros()).unwrap_or(u64::MAX),
        allow_timeout_override: policy.allow_timeout_override,
        max_queue_size: u32::try_from(config.max_queue_size()).unwrap_or(u32::MAX),
    }
}

/// With the graph only where it is not optimized as it is by default, and with what Triton says whatever it is.
pub(super) fn optimization(session: &SessionSettings) -> Option<ModelOptimizationPolicy> {
    let pinned = Some(PinnedMemoryBuffer { enable: true });
    let changed = session.optimization != GraphOptimization::default();
    Some(ModelOptimizationPolicy {
        graph: changed.then(|| Graph {
            level: session.optimization.level(),
        }),
        input_pinned_memory: pinned,
        output_pinned_memory: pinned,
        ..Default::default()
    })
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
