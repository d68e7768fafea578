//! From requests to executions: one queue for each model version, and worker threads that own its sessions.
//!
//! Requests are checked before they come here. Nothing in this room runs on the threads that serve the network.

mod batch;
mod queue;
mod worker;

pub use queue::{Job, JobInput, Limits};

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot};

use crate::error::Result;
use crate::runtime::{GraphSession, OutputTensor};
use crate::statistics::Statistics;
use queue::Queue;

/// The queue of a model version and its workers. Dropping it lets the workers finish what waits and end.
pub struct Scheduler {
    queue: Arc<Queue>,
    /// Ends when the last worker has dropped its session.
    finished: Option<mpsc::Receiver<()>>,
}

impl Scheduler {
    /// Starts one worker thread for each session.
    pub fn start(
        name: &str,
        sessions: Vec<GraphSession>,
        limits: Limits,
        statistics: &Arc<Statistics>,
    ) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::new(limits, Arc::clone(statistics)));
        let (alive, finished) = mpsc::channel(1);
        // Made first, so that workers already started end when a later one cannot be.
        let scheduler = Self {
            queue: Arc::clone(&queue),
            finished: Some(finished),
        };
        for (index, session) in sessions.into_iter().enumerate() {
            let (queue, statistics, alive) = (Arc::clone(&queue), Arc::clone(statistics), alive.clone());
            std::thread::Builder::new()
                .name(format!("{name}/{index}"))
                .spawn(move || worker::work(session, &queue, &statistics, alive))?;
        }
        Ok(scheduler)
    }

    /// Puts a request into the queue and waits for its answer: the outputs in the graph's order. A caller that stops
    /// waiting takes its request back, unless it runs already.
    pub async fn run(&self, job: JobRequest) -> Result<Vec<OutputTensor>> {
        let (reply, answer) = oneshot::channel();
        let JobRequest {
            inputs,
            rows,
            received,
            deadline,
        } = job;
        self.queue.submit(Job {
            inputs,
            rows,
            received,
            deadline,
            reply,
        })?;
        answer.await.unwrap_or_else(|_| {
            Err(crate::error::InferenceError::internal(
                "the worker of this model ended without an answer",
            ))
        })
    }

    /// A future that is done when all workers have ended and given their memory back. To be taken before the drop.
    pub fn finished(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let finished = self.finished.take();
        async move {
            if let Some(mut finished) = finished {
                while finished.recv().await.is_some() {}
            }
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// A checked request.
pub struct JobRequest {
    /// Inputs in the graph's order and with the graph's shapes.
    pub inputs: Vec<JobInput>,
    /// Rows; 1 where the first dimension is none of rows.
    pub rows: usize,
    /// When the request came in.
    pub received: Instant,
    /// When it is no longer wanted.
    pub deadline: Option<Instant>,
}
