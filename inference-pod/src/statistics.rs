//! What a model version did so far: for Prometheus, and in the shape of the protocol's statistics extension.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::metrics::{FailureReason, ModelMetrics};
use crate::traces::{self, RequestTrace};

/// How often something happened and how long it took in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Total {
    /// Times.
    pub count: u64,
    /// Nanoseconds, summed up.
    pub nanoseconds: u64,
}

impl Total {
    fn add(&mut self, count: u64, duration: Duration) {
        self.count += count;
        self.nanoseconds += u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    }
}

/// The three phases of an execution.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases<T> {
    /// Putting the inputs of a batch together.
    pub input: T,
    /// The model itself.
    pub infer: T,
    /// Taking the outputs of a batch apart.
    pub output: T,
}

/// Totals of one model version.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Milliseconds since the epoch of the last inference; 0 for none.
    pub last_inference: u64,
    /// Rows inferred.
    pub inferences: u64,
    /// Batches executed.
    pub executions: u64,
    /// Requests answered, from receipt to answer.
    pub success: Total,
    /// Requests that failed.
    pub fail: Total,
    /// Time in the queue.
    pub queue: Total,
    /// Phases, counted once a request.
    pub phases: Phases<Total>,
    /// Requests answered out of the response cache, and the time of looking them up.
    pub cache_hit: Total,
    /// Requests that were not in the response cache, and the time of looking them up and keeping their answers.
    pub cache_miss: Total,
    /// Phases by number of rows in the batch, counted once a batch.
    pub batches: BTreeMap<u64, Phases<Total>>,
}

/// One executed batch.
pub struct Execution {
    /// Rows of all members.
    pub rows: u64,
    /// When a worker took it; nothing for an ensemble, in whose trace its steps are told of.
    pub started: Option<Instant>,
    /// How long each phase took.
    pub phases: Phases<Duration>,
    /// Its requests.
    pub members: Vec<Member>,
}

/// One request of an executed batch.
pub struct Member {
    /// Time in the queue.
    pub queued: Duration,
    /// Time from receipt to answer.
    pub total: Duration,
    /// Where it is told of, if it is traced.
    pub trace: Option<Arc<RequestTrace>>,
}

impl Member {
    /// The trace that it belongs to.
    pub(crate) fn trace_id(&self) -> Option<String> {
        Some(self.trace.as_ref()?.trace_id()?.to_string())
    }
}

/// Statistics of one model version.
pub struct Statistics {
    metrics: ModelMetrics,
    totals: Mutex<Snapshot>,
}

impl Statistics {
    /// Starts at zero.
    pub fn new(metrics: ModelMetrics) -> Self {
        Self {
            metrics,
            totals: Mutex::default(),
        }
    }

    /// The Prometheus side.
    pub fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    /// All totals as they are now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Counts a request that failed after `total`.
    pub fn record_failure(&self, reason: FailureReason, total: Duration) {
        self.metrics.failure(reason).add(1);
        self.lock().fail.add(1, total);
    }

    /// Counts a batch that ran.
    pub fn record_execution(&self, execution: &Execution) {
        let Execution {
            rows,
            phases,
            members,
            ..
        } = execution;
        self.metrics.executed(execution);
        traces::record(execution, self.metrics.model());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut totals = self.lock();
        totals.last_inference = u64::try_from(now.as_millis()).unwrap_or_default();
        totals.inferences += rows;
        totals.executions += 1;
        for member in members {
            totals.success.add(1, member.total);
            totals.queue.add(1, member.queued);
            totals.phases.add(*phases);
        }
        totals.batches.entry(*rows).or_default().add(*phases);
    }

    /// Counts a request that was answered out of the response cache: it is a success, and no inference.
    pub fn record_cache_hit(&self, lookup: Duration, member: &Member) {
        self.metrics.answered_by_cache(member);
        let mut totals = self.lock();
        totals.success.add(1, member.total);
        totals.queue.add(1, member.queued);
        totals.cache_hit.add(1, lookup);
    }

    /// Counts a request that the response cache did not have.
    pub fn record_cache_miss(&self, duration: Duration) {
        self.lock().cache_miss.add(1, duration);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Snapshot> {
        // Totals are plain numbers: a thread that panicked between two of them has broken nothing.
        self.totals
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Phases<Total> {
    fn add(&mut self, durations: Phases<Duration>) {
        self.input.add(1, durations.input);
        self.infer.add(1, durations.infer);
        self.output.add(1, durations.output);
    }
}
