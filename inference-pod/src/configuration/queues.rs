//! Who may wait in the queue of a version, and for how long, by priority.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{DEFAULT_MAX_QUEUE_SIZE, DynamicBatching, ModelConfig};

/// Bounds of a queue, or of one priority level of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePolicy {
    /// What becomes of a request that has waited too long.
    pub timeout_action: TimeoutAction,
    /// How long a request may wait; zero for as long as it says itself.
    pub default_timeout: Duration,
    /// Whether a request may shorten the default timeout.
    pub allow_timeout_override: bool,
    /// Most requests that may wait; 0 for the default of this server, which is bounded.
    pub max_queue_size: u32,
}

/// What becomes of a request that has waited too long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeoutAction {
    /// It is refused.
    #[default]
    Reject,
    /// It runs once nothing else of its level, or above it, waits.
    Delay,
}

/// Priority levels of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Priorities {
    /// How many there are; 0 where all requests are alike.
    pub levels: u32,
    /// The level of requests that ask for none, or for one that there is not.
    pub default_level: u32,
    /// Levels that have bounds of their own.
    pub policies: BTreeMap<u32, QueuePolicy>,
}

impl QueuePolicy {
    /// How long a request may wait that asks for `wanted`. Where there is no default, its own word counts; Triton would
    /// let it wait for ever.
    pub fn timeout(&self, wanted: Option<Duration>) -> Option<Duration> {
        if self.default_timeout.is_zero() {
            return wanted;
        }
        let shorter = wanted.filter(|wanted| self.allow_timeout_override && *wanted < self.default_timeout);
        Some(shorter.unwrap_or(self.default_timeout))
    }

    /// Most requests that may wait.
    pub fn bound(&self) -> usize {
        (if self.max_queue_size == 0 {
            DEFAULT_MAX_QUEUE_SIZE
        } else {
            self.max_queue_size
        }) as usize
    }
}

impl DynamicBatching {
    /// The level, 1 being the most urgent, of a request that asks for `priority`.
    pub fn level(&self, priority: u64) -> u32 {
        let levels = self.priorities.levels;
        match u32::try_from(priority) {
            _ if levels == 0 => 1,
            Ok(level) if (1..=levels).contains(&level) => level,
            _ => self.priorities.default_level,
        }
    }

    /// The bounds of a level.
    pub fn policy(&self, level: u32) -> &QueuePolicy {
        self.priorities.policies.get(&level).unwrap_or(&self.queue)
    }
}

impl ModelConfig {
    /// Most requests without a priority that may wait.
    pub fn max_queue_size(&self) -> usize {
        match &self.dynamic_batching {
            Some(batching) => batching.policy(batching.level(0)).bound(),
            None => QueuePolicy::default().bound(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_a_level_or_with_one_that_there_is_not_has_the_default_level() {
        let mut batching = DynamicBatching {
            priorities: Priorities {
                levels: 3,
                default_level: 2,
                policies: BTreeMap::from([(
                    3,
                    QueuePolicy {
                        max_queue_size: 7,
                        ..QueuePolicy::default()
                    },
                )]),
            },
            ..DynamicBatching::default()
        };
        let levels = [0, 1, 2, 3, 4, u64::MAX].map(|priority| batching.level(priority));
        assert_eq!(levels, [2, 1, 2, 3, 2, 2]);
        assert_eq!([1, 3].map(|level| batching.policy(level).bound()), [1024, 7]);
        batching.priorities = Priorities::default();
        assert_eq!([0, 1, 9].map(|priority| batching.level(priority)), [1, 1, 1]);
    }
}
