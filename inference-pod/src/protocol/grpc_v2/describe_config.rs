//! Queue policies, optimization and warm-up of a configuration as messages.

use super::describe::data_type;
use super::proto::model_config::SchedulingChoice;
use super::proto::model_ensembling::Step;
use super::proto::model_optimization_policy::Graph;
use super::proto::model_queue_policy::TimeoutAction as Action;
use super::proto::model_warmup::{Input, input::InputDataType};
use super::proto::{ModelEnsembling, ModelOptimizationPolicy, ModelQueuePolicy, ModelWarmup};
use crate::configuration::{
    EnsembleStep, GraphOptimization, ModelConfig, QueuePolicy, SessionSettings, TimeoutAction, WarmUp,
    WarmUpData, WarmUpInput,
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

/// Nothing where the graph is optimized as it is by default.
pub(super) fn optimization(session: &SessionSettings) -> Option<ModelOptimizationPolicy> {
    (session.optimization != GraphOptimization::default()).then(|| ModelOptimizationPolicy {
        graph: Some(Graph {
            level: session.optimization.level(),
        }),
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
