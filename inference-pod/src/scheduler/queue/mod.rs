//! The queue of one model version: bounded, counted in rows, by priority, and in lanes by shape.
//!
//! A worker takes a batch when it becomes free, so batches grow while workers are busy. Only a worker that would be idle
//! waits for company, and only for the configured delay.

mod lane;
mod order;
mod slots;
mod waiting;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::departures::Departures;
use super::job::{Job, Queued};
use super::limits::Limits;
use crate::error::{InferenceError, Result};
use crate::metrics::FailureReason;
use crate::statistics::Statistics;
pub(super) use waiting::Ticket;
use waiting::{Next, Waiting};

struct State {
    waiting: Waiting,
    /// Workers that wait for a change.
    sleeping: usize,
    /// Those of them that were told of one and are on their way.
    notified: usize,
    /// When one of them looks again by itself.
    alarm: Option<Instant>,
}

impl State {
    /// Whether a worker sleeps that has something to do.
    fn has_to_wake(&self) -> bool {
        self.sleeping > self.notified
            && (self.waiting.has_ready()
                || match (self.waiting.next_event(), self.alarm) {
                    (Some(event), Some(alarm)) => event < alarm,
                    (event, None) => event.is_some(),
                    (None, Some(_)) => false,
                })
    }
}

/// A request that is in the queue.
#[derive(Debug)]
pub(super) struct Submitted {
    /// By which it can be withdrawn.
    pub(super) ticket: Ticket,
    /// Whether a worker has to be woken for it.
    pub(super) wakes: bool,
}

/// The promise to wake a worker, which a caller keeps that goes away meanwhile.
struct Announcement<'a>(&'a Queue);

impl Drop for Announcement<'_> {
    fn drop(&mut self) {
        // In this order: who submits after the first of these two announces for himself.
        self.0.is_announced.store(false, Ordering::SeqCst);
        self.0.wake(self.0.lock());
    }
}

pub(super) struct Queue {
    statistics: Arc<Statistics>,
    state: Mutex<State>,
    changed: Condvar,
    /// Whether somebody is about to wake a worker.
    is_announced: AtomicBool,
    departures: Option<Arc<Departures>>,
}

impl Queue {
    pub(super) fn new(limits: Limits, statistics: Arc<Statistics>) -> Self {
        let departures = limits.preserves_order.then(Arc::default);
        let most = limits
            .levels
            .iter()
            .fold(0_usize, |sum, level| sum.saturating_add(level.max_requests));
        statistics.metrics().saturation.set_queue_limit(most);
        Self {
            statistics,
            state: Mutex::new(State {
                waiting: Waiting::new(limits),
                sleeping: 0,
                notified: 0,
                alarm: None,
            }),
            changed: Condvar::new(),
            is_announced: AtomicBool::new(false),
            departures,
        }
    }

    /// Adds a request, or refuses it at once when the queue is full. Who added it announces it where a worker is to wake.
    pub(super) fn submit(&self, mut job: Job) -> Result<Submitted> {
        let bytes = job.byte_size();
        let now = Instant::now();
        let mut state = self.lock();
        let parked = self
            .departures
            .as_ref()
            .map_or(0, |departures| departures.parked());
        if state.waiting.is_full(job.level, bytes, parked) {
            drop(state);
            self.statistics
                .record_failure(FailureReason::Rejected, job.received.elapsed());
            return Err(InferenceError::unavailable("Exceeds maximum queue size"));
        }
        if let Some(departures) = &self.departures {
            job.reply.join(departures);
        }
        let ticket = state.waiting.enter(job, bytes, now);
        self.statistics.metrics().requests.pending.inc();
        let wakes = state.has_to_wake();
        Ok(Submitted { ticket, wakes })
    }

    /// Wakes a worker for what was submitted, once everything that came in at the same time is in the queue: woken for the
    /// first of them, it would run a batch of one, and take the processor from those who submit the others.
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
    pub(super) fn withdraw(&self, ticket: Ticket) {
        if let Some(queued) = self.leave(ticket) {
            self.bury(queued.job);
        }
    }

    /// Takes a request out whose time is over; nothing is done where a worker has it already.
    pub(super) fn expire(&self, ticket: Ticket) -> Option<InferenceError> {
        let Queued { job, .. } = self.leave(ticket)?;
        self.statistics
            .record_failure(FailureReason::Rejected, job.received.elapsed());
        Some(expired())
    }

    fn leave(&self, ticket: Ticket) -> Option<Queued> {
        let now = Instant::now();
        let mut state = self.lock();
        let queued = state.waiting.leave(ticket, now)?;
        self.statistics.metrics().requests.pending.dec();
        self.wake(state);
        Some(queued)
    }

    /// Waits for work and takes a batch of it; nothing once the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Vec<Queued>> {
        let mut dead = Vec::new();
        let mut state = self.lock();
        loop {
            let next = state.waiting.next(Instant::now(), &mut dead);
            if !dead.is_empty() {
                state = self.bury_all(state, &mut dead);
                if let Next::Wait(_) = next {
                    // Something may have come meanwhile.
                    continue;
                }
            }
            match next {
                Next::Batch(batch) => {
                    self.statistics
                        .metrics()
                        .requests
                        .pending
                        .dec_by(batch.len() as i64);
                    // Another worker may be told of the rest, or have to wait for it.
                    state.alarm = None;
                    self.wake(state);
                    return Some(batch);
                }
                Next::Wait(_) if state.waiting.is_finished() => return None,
                Next::Wait(until) => state = self.sleep(state, until),
            }
        }
    }

    /// Lets workers end once nothing waits any more.
    pub(super) fn close(&self) {
        self.lock().waiting.close(Instant::now());
        self.changed.notify_all();
    }

    fn sleep<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        until: Option<Instant>,
    ) -> MutexGuard<'a, State> {
        state.sleeping += 1;
        let mut state = match until {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                state.alarm = Some(until);
                let pause = until.saturating_duration_since(Instant::now());
                self.changed
                    .wait_timeout(state, pause)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            }
        };
        state.sleeping -= 1;
        state.notified = state.notified.saturating_sub(1);
        state.alarm = None;
        state
    }

    /// Wakes a worker if one sleeps that has something to do; to wake costs more than all the rest.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        if state.has_to_wake() {
            state.notified += 1;
            drop(state);
            self.changed.notify_one();
        }
    }

    #[cfg(test)]
    pub(super) fn sleeping_workers(&self) -> usize {
        self.lock().sleeping
    }

    /// Without the lock, since those who wait are told.
    fn bury_all<'a>(&'a self, state: MutexGuard<'a, State>, dead: &mut Vec<Queued>) -> MutexGuard<'a, State> {
        drop(state);
        self.statistics
            .metrics()
            .requests
            .pending
            .dec_by(dead.len() as i64);
        for queued in dead.drain(..) {
            self.bury(queued.job);
        }
        self.lock()
    }

    /// Counts a request that will not run, and tells its caller if there still is one.
    fn bury(&self, job: Job) {
        let reason = if job.reply.is_closed() {
            FailureReason::Canceled
        } else {
            FailureReason::Rejected
        };
        self.statistics.record_failure(reason, job.received.elapsed());
        job.reply.refuse(expired());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is complete before anything that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn expired() -> InferenceError {
    InferenceError::unavailable("Request timeout expired")
}

#[cfg(test)]
mod level_tests;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
