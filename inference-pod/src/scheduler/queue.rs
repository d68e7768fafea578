//! The queue of one model version: bounded, counted in rows, and keyed by shape.
//!
//! A worker takes a batch when it becomes free, so batches grow while workers are busy. Only a worker that would be idle
//! waits for company, and only for the configured delay.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::metrics::FailureReason;
use crate::runtime::OutputTensor;
use crate::statistics::Statistics;
use crate::tensor::TensorData;

/// Inputs of all waiting requests together may not take more than this.
const MAX_QUEUED_BYTES: usize = 512 << 20;

/// What a queue may hold and how it puts requests together.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most rows of a batch; 1 when requests are not put together.
    pub max_batch_rows: usize,
    /// How long an idle worker waits for the batch to fill.
    pub max_delay: Duration,
    /// Batch sizes that end the wait early; empty for `max_batch_rows` alone.
    pub preferred_rows: Vec<usize>,
    /// Most requests that may wait.
    pub max_requests: usize,
    /// Whether requests past their deadline run once nothing else waits, rather than never.
    pub delays_late_requests: bool,
}

/// One input of a request: the graph's shape, and the data.
#[derive(Clone, Debug)]
pub struct JobInput {
    /// Sizes, the first that of the rows where the model has rows.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: TensorData,
}

/// A request in the queue.
pub struct Job {
    pub(super) inputs: Vec<JobInput>,
    pub(super) rows: usize,
    pub(super) received: Instant,
    pub(super) deadline: Option<Instant>,
    #[expect(dead_code, reason = "held as long as the inputs are")]
    pub(super) memory: Arc<Reservation>,
    pub(super) reply: oneshot::Sender<Result<Vec<OutputTensor>>>,
}

impl Job {
    fn byte_size(&self) -> usize {
        self.inputs.iter().map(|input| input.data.byte_size()).sum()
    }

    /// Requests with the same key can run together: every size but the number of rows is equal.
    fn key(&self) -> Vec<i64> {
        let mut key = Vec::with_capacity(8);
        for input in &self.inputs {
            key.push(input.shape.len() as i64);
            key.extend(input.shape.iter().skip(1));
        }
        key
    }
}

/// A request, and when it entered the queue.
pub(super) struct Queued {
    pub(super) job: Job,
    pub(super) entered: Instant,
    sequence: u64,
    bytes: usize,
}

/// Waiting requests of one shape.
#[derive(Default)]
struct Lane {
    waiting: VecDeque<Queued>,
    /// Past their deadline, where such requests are delayed.
    late: VecDeque<Queued>,
    rows: usize,
}

impl Lane {
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.late.is_empty()
    }

    /// Moves requests whose time is over behind the others.
    fn delay_late(&mut self, now: Instant) {
        let is_late = |queued: &Queued| queued.job.deadline.is_some_and(|deadline| now >= deadline);
        if self.waiting.iter().any(is_late) {
            let (late, waiting): (VecDeque<_>, VecDeque<_>) =
                std::mem::take(&mut self.waiting).into_iter().partition(is_late);
            self.waiting = waiting;
            self.late.extend(late);
        }
    }
}

#[derive(Default)]
struct State {
    lanes: HashMap<Vec<i64>, Lane>,
    requests: usize,
    bytes: usize,
    next_sequence: u64,
    idle_workers: usize,
    closed: bool,
}

pub(super) struct Queue {
    limits: Limits,
    statistics: Arc<Statistics>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether somebody is about to wake a worker.
    is_announced: AtomicBool,
}

impl Queue {
    pub(super) fn new(limits: Limits, statistics: Arc<Statistics>) -> Self {
        Self {
            limits,
            statistics,
            state: Mutex::default(),
            changed: Condvar::new(),
            is_announced: AtomicBool::new(false),
        }
    }

    /// Adds a request, or refuses it at once when the queue is full. Answers the number by which it can be withdrawn.
    pub(super) fn submit(&self, job: Job) -> Result<u64> {
        let entered = Instant::now();
        let bytes = job.byte_size();
        let key = job.key();
        let mut state = self.lock();
        if self.is_full(&state, bytes) {
            // Those who went away should not keep others out.
            self.drop_dead(&mut state, entered);
        }
        if self.is_full(&state, bytes) {
            drop(state);
            self.statistics
                .record_failure(FailureReason::Rejected, job.received.elapsed());
            return Err(InferenceError::unavailable("Exceeds maximum queue size"));
        }
        let sequence = state.next_sequence;
        state.next_sequence += 1;
        state.requests += 1;
        state.bytes += bytes;
        let lane = state.lanes.entry(key).or_default();
        lane.rows += job.rows;
        lane.waiting.push_back(Queued {
            job,
            entered,
            sequence,
            bytes,
        });
        self.statistics.metrics().pending.inc();
        Ok(sequence)
    }

    /// Wakes an idle worker for what was submitted, once everything that came in at the same time is in the queue: a worker
    /// that is woken for the first of them runs a batch of one, and takes the processor from those who submit the others.
    pub(super) async fn announce(&self) {
        if self.is_announced.swap(true, Ordering::SeqCst) {
            return;
        }
        let announcement = Announcement(self);
        // The runtime first runs what is ready, and looks at the network again.
        tokio::task::yield_now().await;
        drop(announcement);
    }

    /// Takes a request out whose caller has stopped waiting, unless a worker has it already.
    pub(super) fn withdraw(&self, sequence: u64) {
        let mut state = self.lock();
        let found = state.lanes.iter_mut().find_map(|(key, lane)| {
            let position = lane
                .waiting
                .binary_search_by_key(&sequence, |queued| queued.sequence);
            let queued = lane.waiting.remove(position.ok()?)?;
            lane.rows -= queued.job.rows;
            Some((lane.waiting.is_empty().then(|| key.clone()), queued))
        });
        let Some((emptied, queued)) = found else {
            return;
        };
        if let Some(key) = emptied {
            state.lanes.remove(&key);
        }
        state.requests -= 1;
        state.bytes -= queued.bytes;
        self.statistics.metrics().pending.dec();
        drop(state);
        self.bury(queued.job);
    }

    /// Waits for work and takes a batch of it; nothing once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Queued>> {
        let mut state = self.lock();
        loop {
            let now = Instant::now();
            if self.limits.delays_late_requests {
                state.lanes.values_mut().for_each(|lane| lane.delay_late(now));
            }
            let Some(pick) = self.pick(&state, now) else {
                if state.closed {
                    return None;
                }
                state.idle_workers += 1;
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle_workers -= 1;
                continue;
            };
            match pick {
                Pick::Wait(pause) => {
                    state.idle_workers += 1;
                    state = self
                        .changed
                        .wait_timeout(state, pause)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                    state.idle_workers -= 1;
                }
                Pick::Take(key) => {
                    let batch = self.take_from(&mut state, &key, now);
                    if !batch.is_empty() {
                        // A worker that waits for company in another lane may find this one's rest.
                        if state.requests > 0 && state.idle_workers > 0 {
                            self.changed.notify_one();
                        }
                        return Some(batch);
                    }
                }
            }
        }
    }

    /// Lets workers end once nothing waits any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// The lane to serve now: of those that are full or have waited long enough, the one with the oldest request.
    fn pick(&self, state: &State, now: Instant) -> Option<Pick> {
        let mut oldest_due: Option<(u64, &Vec<i64>)> = None;
        let mut oldest_late: Option<(u64, &Vec<i64>)> = None;
        let mut shortest_wait: Option<Duration> = None;
        for (key, lane) in &state.lanes {
            let Some(head) = lane.waiting.front() else {
                if let Some(late) = lane.late.front()
                    && oldest_late.is_none_or(|(sequence, _)| late.sequence < sequence)
                {
                    oldest_late = Some((late.sequence, key));
                }
                continue;
            };
            let waited = now.saturating_duration_since(head.entered);
            let due = state.closed || self.is_worth_running(lane.rows) || waited >= self.limits.max_delay;
            if due && oldest_due.is_none_or(|(sequence, _)| head.sequence < sequence) {
                oldest_due = Some((head.sequence, key));
            } else if !due {
                let rest = self.limits.max_delay - waited;
                shortest_wait = Some(shortest_wait.map_or(rest, |shortest| shortest.min(rest)));
            }
        }
        // A worker that would only wait for company has time for those that are late.
        match (oldest_due.or(oldest_late), shortest_wait) {
            (Some((_, key)), _) => Some(Pick::Take(key.clone())),
            (None, Some(pause)) => Some(Pick::Wait(pause)),
            (None, None) => None,
        }
    }

    fn is_worth_running(&self, rows: usize) -> bool {
        rows >= self.limits.max_batch_rows || self.limits.preferred_rows.contains(&rows)
    }

    fn take_from(&self, state: &mut State, key: &[i64], now: Instant) -> Vec<Queued> {
        let mut batch = Vec::new();
        let mut rows = 0;
        let Some(lane) = state.lanes.get_mut(key) else {
            return batch;
        };
        while let Some(head) = lane.waiting.front().or(lane.late.front()) {
            let alive = self.is_alive(&head.job, now);
            if alive && !batch.is_empty() && rows + head.job.rows > self.limits.max_batch_rows {
                break;
            }
            let Some(queued) = lane.waiting.pop_front().or_else(|| lane.late.pop_front()) else {
                break;
            };
            lane.rows -= queued.job.rows;
            state.requests -= 1;
            state.bytes -= queued.bytes;
            self.statistics.metrics().pending.dec();
            if alive {
                rows += queued.job.rows;
                batch.push(queued);
            } else {
                self.bury(queued.job);
            }
        }
        if lane.is_empty() {
            state.lanes.remove(key);
        }
        batch
    }

    fn is_full(&self, state: &State, bytes: usize) -> bool {
        state.requests >= self.limits.max_requests
            || (state.requests > 0 && state.bytes + bytes > MAX_QUEUED_BYTES)
    }

    fn drop_dead(&self, state: &mut State, now: Instant) {
        let mut dead = Vec::new();
        for lane in state.lanes.values_mut() {
            for waiting in [&mut lane.waiting, &mut lane.late] {
                let (alive, gone): (VecDeque<_>, VecDeque<_>) = std::mem::take(waiting)
                    .into_iter()
                    .partition(|queued| self.is_alive(&queued.job, now));
                *waiting = alive;
                lane.rows -= gone.iter().map(|queued| queued.job.rows).sum::<usize>();
                dead.extend(gone);
            }
        }
        state.lanes.retain(|_, lane| !lane.is_empty());
        for queued in dead {
            state.requests -= 1;
            state.bytes -= queued.bytes;
            self.statistics.metrics().pending.dec();
            self.bury(queued.job);
        }
    }

    /// Counts a request that will not run, and tells its caller if there still is one.
    fn bury(&self, job: Job) {
        let reason = if job.reply.is_closed() {
            FailureReason::Canceled
        } else {
            FailureReason::Rejected
        };
        self.statistics.record_failure(reason, job.received.elapsed());
        // The receiver may be gone, which is why we are here.
        let _ = job
            .reply
            .send(Err(InferenceError::unavailable("Request timeout expired")));
    }

    /// Whether it is still to run: somebody waits for it, and it is in time or may be late.
    fn is_alive(&self, job: &Job, now: Instant) -> bool {
        let in_time = job.deadline.is_none_or(|deadline| now < deadline);
        !job.reply.is_closed() && (in_time || self.limits.delays_late_requests)
    }

    #[cfg(test)]
    pub(super) fn idle_workers(&self) -> usize {
        self.lock().idle_workers
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The promise to wake a worker, which a caller keeps that goes away meanwhile.
struct Announcement<'a>(&'a Queue);

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        // In this order: who submits after the first of these two announces for himself.
        self.0.is_announced.store(false, Ordering::SeqCst);
        if self.0.lock().idle_workers > 0 {
            self.0.changed.notify_one();
        }
    }
}

enum Pick {
    Take(Vec<i64>),
    Wait(Duration),
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
