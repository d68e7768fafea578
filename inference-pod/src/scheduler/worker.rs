//! A worker: a thread that owns one session and runs one batch after another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::batch;
use super::queue::{Job, Queue, Queued};
use crate::error::InferenceError;
use crate::metrics::FailureReason;
use crate::runtime::{GraphSession, OutputTensor};
use crate::statistics::{Execution, Member, Phases, Statistics};

/// Runs batches until the queue is closed and empty. `_alive` is dropped after the session, when its memory is free.
pub(super) fn work(
    mut session: GraphSession,
    queue: &Queue,
    statistics: &Statistics,
    _alive: mpsc::Sender<()>,
) {
    let worker = statistics.metrics().saturation.worker();
    while let Some(batch) = queue.take() {
        let _busy = worker.busy();
        // A panic costs its batch, whose callers are told; without this it would cost all later ones an answer.
        let served = catch_unwind(AssertUnwindSafe(|| serve(&mut session, batch, statistics)));
        if served.is_err() {
            tracing::error!("a worker panicked while it ran a batch; it goes on with the next");
        }
    }
    drop(session);
}

/// Runs a batch. When it fails, its members are run one by one, so that a bad one does not spoil the others' answers.
fn serve(session: &mut GraphSession, batch: Vec<Queued>, statistics: &Statistics) {
    let taken = Instant::now();
    match execute(session, &batch) {
        Ok((outputs, phases)) => answer(batch, outputs, phases, taken, statistics),
        Err(_) if batch.len() > 1 => {
            for queued in batch {
                serve(session, vec![queued], statistics);
            }
        }
        Err(message) => {
            for Queued { job, .. } in batch {
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
    statistics: &Statistics,
) {
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
    statistics.record_execution(&Execution {
        rows,
        started: taken,
        phases,
        members,
    });
    for (
        Queued {
            job: Job { reply, .. },
            ..
        },
        outputs,
    ) in batch.into_iter().zip(shares)
    {
        // The caller may have gone meanwhile.
        let _ = reply.send(Ok(outputs));
    }
}
