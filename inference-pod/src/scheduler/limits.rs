//! What a queue may hold, and how it puts requests together.

use std::time::Duration;

use crate::configuration::{DynamicBatching, ModelConfig, QueuePolicy, TimeoutAction};

/// The rules of one queue.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most rows of a batch; 1 when requests are not put together.
    pub max_batch_rows: usize,
    /// How long an idle worker waits for the batch to fill.
    pub max_delay: Duration,
    /// Batch sizes that end the wait early; empty for `max_batch_rows` alone.
    pub preferred_rows: Vec<usize>,
    /// Bounds of each priority level, the most urgent first; at least one.
    pub levels: Vec<LevelLimits>,
    /// Whether answers leave in the order in which their requests came.
    pub preserves_order: bool,
}

/// The rules of one priority level.
#[derive(Clone, Copy, Debug)]
pub struct LevelLimits {
    /// Most requests that may wait.
    pub max_requests: usize,
    /// Whether requests past their deadline run once nothing in time waits, rather than never.
    pub delays_late_requests: bool,
}

impl Limits {
    /// Those of a configuration.
    pub fn of(config: &ModelConfig) -> Self {
        let Some(batching) = &config.dynamic_batching else {
            return Self {
                max_batch_rows: 1,
                max_delay: Duration::ZERO,
                preferred_rows: Vec::new(),
                levels: vec![LevelLimits::of(&QueuePolicy::default())],
                preserves_order: false,
            };
        };
        Self {
            max_batch_rows: config.max_batch_size as usize,
            max_delay: batching.max_queue_delay,
            preferred_rows: batching
                .preferred_batch_sizes
                .iter()
                .map(|size| *size as usize)
                .collect(),
            levels: levels(batching),
            preserves_order: batching.preserve_ordering,
        }
    }
}

fn levels(batching: &DynamicBatching) -> Vec<LevelLimits> {
    (1..=batching.priorities.levels.max(1))
        .map(|level| LevelLimits::of(batching.policy(level)))
        .collect()
}

impl LevelLimits {
    fn of(policy: &QueuePolicy) -> Self {
        Self {
            max_requests: policy.bound(),
            delays_late_requests: policy.timeout_action == TimeoutAction::Delay,
        }
    }
}
