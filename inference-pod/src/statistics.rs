//! What a model version did so far: for Prometheus, and in the shape of the protocol's statistics extension.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::metrics::{FailureReason, ModelMetrics, microseconds};

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
    /// Phases by number of rows in the batch, counted once a batch.
    pub batches: BTreeMap<u64, Phases<Total>>,
}

/// One executed batch.
pub struct Execution {
    /// Rows of all members.
    pub rows: u64,
    /// How long each phase took.
    pub phases: Phases<Duration>,
    /// For each member: its rows, its time in the queue, and its time from receipt to answer.
    pub members: Vec<Member>,
}

/// One request of an executed batch.
pub struct Member {
    /// Time in the queue.
    pub queued: Duration,
    /// Time from receipt to answer.
    pub total: Duration,
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
        } = execution;
        let requests = members.len() as u64;
        let metrics = &self.metrics;
        metrics.requests.success.add(requests);
        metrics.requests.inferences.add(*rows);
        metrics.requests.executions.add(1);
        metrics.distributions.batch_rows.observe(*rows as f64);
        metrics
            .distributions
            .compute_seconds
            .observe((phases.input + phases.infer + phases.output).as_secs_f64());
        metrics
            .requests
            .compute_input_duration_us
            .add(microseconds(phases.input) * requests);
        metrics
            .requests
            .compute_infer_duration_us
            .add(microseconds(phases.infer) * requests);
        metrics
            .requests
            .compute_output_duration_us
            .add(microseconds(phases.output) * requests);
        for member in members {
            metrics
                .requests
                .request_duration_us
                .add(microseconds(member.total));
            metrics
                .distributions
                .request_seconds
                .observe(member.total.as_secs_f64());
            metrics
                .requests
                .queue_duration_us
                .add(microseconds(member.queued));
            metrics
                .distributions
                .queue_seconds
                .observe(member.queued.as_secs_f64());
        }
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
