//! A worker: a thread that owns one session and runs one batch after another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::batch;
use super::departures::Reply;
use super::job::{JobInput, Queued};
use super::queue::Queue;
use crate::error::InferenceError;
use crate::metrics::FailureReason;
use crate::runtime::{GraphSession, OutputTensor};
use crate::statistics::{Execution, Member, Phases, Statistics};

/// What a worker owns: a session, or what stands for one.
pub trait Execute: Send + 'static {
    /// Runs the inputs of several requests at once, whose rows are given too; answers the outputs of each.
    fn execute(&mut self, members: &[&[JobInput]], rows: &[usize]) -> Result<Executed, String>;
}

/// What a run gave.
pub struct Executed {
    /// The outputs of each member, in the graph's order.
    pub shares: Vec<Vec<OutputTensor>>,
    /// How long each phase took.
    pub phases: Phases<Duration>,
}

impl Execute for GraphSession {
    fn execute(&mut self, members: &[&[JobInput]], rows: &[usize]) -> Result<Executed, String> {
        let start = Instant::now();
        let inputs = self.assemble(&batch::join(members))?;
        let input = start.elapsed();
        let answer = self.run(inputs)?;
        let split_start = Instant::now();
        let shares = batch::split(answer.outputs, rows)?;
        let output = answer.copy + split_start.elapsed();
        Ok(Executed {
            shares,
            phases: Phases {
                input,
                infer: answer.infer,
                output,
            },
        })
    }
}

/// What a worker works for.
pub(super) struct Surroundings {
    pub(super) statistics: Arc<Statistics>,
    /// Where callers wait; nothing where they do not wait in a runtime.
    pub(super) network: Option<Handle>,
}

/// Runs batches until the queue is closed and empty. `_alive` is dropped after the session, when its memory is free.
pub(super) fn work(
    mut session: impl Execute,
    queue: &Queue,
    surroundings: &Surroundings,
    _alive: mpsc::Sender<()>,
) {
    let worker = surroundings.statistics.metrics().saturation.worker();
    while let Some(batch) = queue.take() {
        let busy = worker.busy();
        // Runs catch their own panics. One around them costs its batch, whose callers are told; without this it would
        // cost all later ones an answer.
        let served = catch_unwind(AssertUnwindSafe(|| serve(&mut session, batch, surroundings)));
        if served.is_err() {
            tracing::error!("a worker panicked between two runs; it goes on with the next batch");
        }
        drop(busy);
        // On the only processor of a pod, the next batch would begin before the callers hear of this one and before anybody
        // reads what came in meanwhile: it would be a small one.
        std::thread::yield_now();
    }
    drop(session);
}

/// Runs a batch. When it fails, its members are run one by one, so that a bad one does not spoil the others' answers: no
/// request runs more than twice.
pub(super) fn serve(session: &mut impl Execute, batch: Vec<Queued>, surroundings: &Surroundings) {
    let taken = Instant::now();
    match run(session, &batch) {
        Ok(executed) => answer(batch, executed, taken, surroundings),
        Err(_) if batch.len() > 1 => {
            for queued in batch {
                serve_alone(session, queued, taken, surroundings);
            }
        }
        Err(message) => {
            for queued in batch {
                fail(queued, &message, &surroundings.statistics);
            }
        }
    }
}

fn serve_alone(session: &mut impl Execute, queued: Queued, taken: Instant, surroundings: &Surroundings) {
    if queued.job.reply.is_closed() {
        let statistics = &surroundings.statistics;
        statistics.record_failure(FailureReason::Canceled, queued.job.received.elapsed());
        return;
    }
    match run(session, std::slice::from_ref(&queued)) {
        Ok(executed) => answer(vec![queued], executed, taken, surroundings),
        Err(message) => fail(queued, &message, &surroundings.statistics),
    }
}

/// A panic is a failure like any other, whose members are found one by one.
fn run(session: &mut impl Execute, batch: &[Queued]) -> Result<Executed, String> {
    let members: Vec<_> = batch.iter().map(|queued| queued.job.inputs.as_slice()).collect();
    let rows: Vec<_> = batch.iter().map(|queued| queued.job.rows).collect();
    let ran = catch_unwind(AssertUnwindSafe(|| session.execute(&members, &rows)));
    match ran {
        Ok(Ok(executed)) => Ok(executed),
        Ok(Err(message)) => Err(format!("onnx runtime error: {message}")),
        Err(_) => {
            tracing::error!(
                requests = batch.len(),
                "a worker panicked while it ran requests; it goes on with the next"
            );
            Err("the worker of this model panicked while it ran the request".to_owned())
        }
    }
}

fn fail(queued: Queued, message: &str, statistics: &Statistics) {
    statistics.record_failure(FailureReason::Backend, queued.job.received.elapsed());
    queued.job.reply.send(Err(InferenceError::internal(message)));
}

fn answer(batch: Vec<Queued>, executed: Executed, taken: Instant, surroundings: &Surroundings) {
    let now = Instant::now();
    let rows = batch.iter().map(|queued| queued.job.rows as u64).sum();
    let members = batch
        .iter()
        .map(|Queued { job, entered, .. }| Member {
            queued: taken.saturating_duration_since(*entered),
            total: now.saturating_duration_since(job.received),
            trace: job.trace.clone(),
        })
        .collect();
    // Counted before the answers leave, so that a client that reads the statistics finds its own request in them.
    surroundings.statistics.record_execution(&Execution {
        rows,
        started: Some(taken),
        phases: executed.phases,
        members,
    });
    let replies = batch.into_iter().map(|queued| queued.job.reply);
    deliver(
        replies.zip(executed.shares).collect(),
        surroundings.network.as_ref(),
    );
}

/// Hands the answers to the runtime in which the callers wait, all at once: sent from here, each would wake that runtime with
/// a system call, and the first caller would write its answer before the second has one.
fn deliver(answers: Vec<(Reply, Vec<OutputTensor>)>, network: Option<&Handle>) {
    let send = move || {
        for (reply, outputs) in answers {
            reply.send(Ok(outputs));
        }
    };
    match network {
        Some(network) => drop(network.spawn(async { send() })),
        None => send(),
    }
}

#[cfg(test)]
#[path = "worker_tests.rs"]
mod tests;
