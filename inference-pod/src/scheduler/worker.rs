//! A worker: a thread that owns one session and runs one batch after another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::batch;
use super::queue::{Queue, Queued};
use crate::error::{InferenceError, Result as Outcome};
use crate::metrics::FailureReason;
use crate::runtime::{GraphSession, OutputTensor};
use crate::statistics::{Execution, Member, Phases, Statistics};

/// What a worker works for.
pub(super) struct Surroundings {
    pub(super) statistics: Arc<Statistics>,
    /// Where callers wait; nothing where they do not wait in a runtime.
    pub(super) network: Option<Handle>,
}

/// Runs batches until the queue is closed and empty. `_alive` is dropped after the session, when its memory is free.
pub(super) fn work(
    mut session: GraphSession,
    queue: &Queue,
    surroundings: &Surroundings,
    _alive: mpsc::Sender<()>,
) {
    while let Some(batch) = queue.take() {
        // A panic costs its batch, whose callers are told; without this it would cost all later ones an answer.
        let served = catch_unwind(AssertUnwindSafe(|| serve(&mut session, batch, surroundings)));
        if served.is_err() {
            tracing::error!("a worker panicked while it ran a batch; it goes on with the next");
        }
        // On the only processor of a pod, the next batch would begin before the callers hear of this one and before anybody
        // reads what came in meanwhile: it would be a small one.
        std::thread::yield_now();
    }
    drop(session);
}

/// Runs a batch. When it fails, its members are run one by one, so that a bad one does not spoil the others' answers.
fn serve(session: &mut GraphSession, batch: Vec<Queued>, surroundings: &Surroundings) {
    let taken = Instant::now();
    match execute(session, &batch) {
        Ok((outputs, phases)) => answer(batch, outputs, phases, taken, surroundings),
        Err(_) if batch.len() > 1 => {
            for queued in batch {
                serve(session, vec![queued], surroundings);
            }
        }
        Err(message) => {
            for Queued { job, .. } in batch {
                let statistics = &surroundings.statistics;
                statistics.record_failure(FailureReason::Backend, job.received.elapsed());
                // The caller may have gone meanwhile.
                let _ = job.reply.send(Err(InferenceError::internal(format!(
                    "onnx runtime error: {message}"
                ))));
            }
        }
    }
}

type Shares = Vec<Vec<OutputTensor>>;

fn execute(session: &mut GraphSession, batch: &[Queued]) -> Result<(Shares, Phases<Duration>), String> {
    let start = Instant::now();
    let members: Vec<_> = batch.iter().map(|queued| queued.job.inputs.as_slice()).collect();
    let inputs = session.assemble(&batch::join(&members))?;
    let input = start.elapsed();
    let answer = session.run(inputs)?;
    let split_start = Instant::now();
    let rows: Vec<_> = batch.iter().map(|queued| queued.job.rows).collect();
    let shares = batch::split(answer.outputs, &rows)?;
    let output = answer.copy + split_start.elapsed();
    Ok((
        shares,
        Phases {
            input,
            infer: answer.infer,
            output,
        },
    ))
}

fn answer(
    batch: Vec<Queued>,
    shares: Shares,
    phases: Phases<Duration>,
    taken: Instant,
    surroundings: &Surroundings,
) {
    let now = Instant::now();
    let rows = batch.iter().map(|queued| queued.job.rows as u64).sum();
    let members = batch
        .iter()
        .map(|Queued { job, entered, .. }| Member {
            queued: taken.saturating_duration_since(*entered),
            total: now.saturating_duration_since(job.received),
        })
        .collect();
    // Counted before the answers leave, so that a client that reads the statistics finds its own request in them.
    surroundings.statistics.record_execution(&Execution {
        rows,
        phases,
        members,
    });
    let replies = batch.into_iter().map(|queued| queued.job.reply);
    deliver(replies.zip(shares).collect(), surroundings.network.as_ref());
}

type Reply = oneshot::Sender<Outcome<Vec<OutputTensor>>>;

/// Hands the answers to the runtime in which the callers wait, all at once: sent from here, each would wake that runtime with
/// a system call, and the first caller would write its answer before the second has one.
fn deliver(answers: Vec<(Reply, Vec<OutputTensor>)>, network: Option<&Handle>) {
    let send = move || {
        for (reply, outputs) in answers {
            // The caller may have gone meanwhile.
            let _ = reply.send(Ok(outputs));
        }
    };
    match network {
        Some(network) => drop(network.spawn(async { send() })),
        None => send(),
    }
}
