//! From requests to executions: one queue for each model version, and worker threads that own its sessions.
//!
//! Requests are checked before they come here. Nothing in this room runs on the threads that serve the network.

mod batch;
mod queue;
mod worker;

pub use queue::{Job, JobInput, Limits};

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::runtime::{GraphSession, OutputTensor};
use crate::statistics::Statistics;
use queue::Queue;
use worker::Surroundings;

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
            let (queue, alive) = (Arc::clone(&queue), alive.clone());
            let surroundings = Surroundings {
                statistics: Arc::clone(statistics),
                network: Handle::try_current().ok(),
            };
            std::thread::Builder::new()
                .name(format!("{name}/{index}"))
                .spawn(move || worker::work(session, &queue, &surroundings, alive))?;
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
            memory,
        } = job;
        let sequence = self.queue.submit(Job {
            inputs,
            rows,
            received,
            deadline,
            memory,
            reply,
        })?;
        let mut caller = Caller {
            queue: &self.queue,
            sequence,
            answer,
            is_waiting: true,
        };
        self.queue.announce().await;
        let answered = (&mut caller.answer).await;
        caller.is_waiting = false;
        answered.unwrap_or_else(|_| {
            Err(InferenceError::internal(
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

/// Who waits for an answer; dropped before it comes, it takes its request out of the queue. Until a worker looked at it, the
/// request would keep memory from those who still wait.
struct Caller<'a> {
    queue: &'a Queue,
    sequence: u64,
    answer: oneshot::Receiver<Result<Vec<OutputTensor>>>,
    is_waiting: bool,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if self.is_waiting {
            self.answer.close();
            self.queue.withdraw(self.sequence);
        }
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
    /// Its share of the memory for requests, kept until its inputs are gone.
    pub memory: Arc<Reservation>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::Budget;
    use crate::metrics::Metrics;
    use crate::tensor::TensorData;

    const REQUEST_BYTES: usize = 1000;

    fn request(budget: &Arc<Budget>) -> Result<JobRequest> {
        let memory = budget.reserve(2);
        memory.grow(REQUEST_BYTES)?;
        Ok(JobRequest {
            inputs: vec![JobInput {
                shape: vec![1, REQUEST_BYTES as i64],
                data: TensorData::Fixed(vec![0; REQUEST_BYTES].into()),
            }],
            rows: 1,
            received: Instant::now(),
            deadline: None,
            memory: Arc::new(memory),
        })
    }

    /// Without a session nothing is ever answered.
    fn held_scheduler(statistics: &Arc<Statistics>) -> Scheduler {
        let limits = Limits {
            max_batch_rows: 4,
            max_delay: Duration::ZERO,
            preferred_rows: vec![],
            max_requests: 1024,
            delays_late_requests: false,
        };
        Scheduler::start("m", vec![], limits, statistics).unwrap()
    }

    #[tokio::test]
    async fn callers_that_leave_give_their_memory_back_but_for_what_a_worker_has() {
        let statistics = Arc::new(Statistics::new(Metrics::default().of_model("m", 1)));
        let scheduler = held_scheduler(&statistics);
        let budget = Budget::of(Some(10 * 2 * REQUEST_BYTES));
        let mut waiting: Vec<_> = (0..10)
            .map(|_| Box::pin(scheduler.run(request(&budget).unwrap())))
            .collect();
        for caller in &mut waiting {
            assert!(futures::poll!(caller).is_pending());
        }
        assert!(request(&budget).is_err(), "ten fill the budget");
        let batch = scheduler.queue.take().unwrap();
        assert_eq!(batch.len(), 4);
        drop(waiting);
        assert_eq!(budget.taken(), 4 * 2 * REQUEST_BYTES);
        assert_eq!(statistics.metrics().pending.get(), 0);
        assert_eq!(statistics.snapshot().fail.count, 6);

        for _ in 0..1000 {
            let mut caller = Box::pin(scheduler.run(request(&budget).unwrap()));
            assert!(futures::poll!(&mut caller).is_pending());
        }
        assert_eq!(budget.taken(), 4 * 2 * REQUEST_BYTES);
        drop(batch);
        assert_eq!(budget.taken(), 0);
    }

    /// A worker that is idle, and the batch that it takes then.
    fn idle_worker(scheduler: &Scheduler) -> std::thread::JoinHandle<Vec<queue::Queued>> {
        let queue = Arc::clone(&scheduler.queue);
        let worker = std::thread::spawn(move || queue.take().unwrap());
        while scheduler.queue.idle_workers() == 0 {
            std::thread::yield_now();
        }
        worker
    }

    #[tokio::test]
    async fn requests_that_come_in_at_the_same_time_run_together_though_a_worker_is_idle() {
        let statistics = Arc::new(Statistics::new(Metrics::default().of_model("m", 1)));
        let scheduler = held_scheduler(&statistics);
        let budget = Budget::of(None);
        let worker = idle_worker(&scheduler);
        let waiting = (0..4).map(|_| scheduler.run(request(&budget).unwrap()));
        let mut answers = futures::future::join_all(waiting);
        while !worker.is_finished() {
            assert!(futures::poll!(&mut answers).is_pending());
            tokio::task::yield_now().await;
        }
        assert_eq!(worker.join().unwrap().len(), 4);
    }

    #[tokio::test]
    async fn a_caller_that_leaves_before_it_woke_a_worker_does_not_keep_the_others_waiting() {
        let statistics = Arc::new(Statistics::new(Metrics::default().of_model("m", 1)));
        let scheduler = held_scheduler(&statistics);
        let budget = Budget::of(None);
        let worker = idle_worker(&scheduler);
        let mut first = Box::pin(scheduler.run(request(&budget).unwrap()));
        let mut second = Box::pin(scheduler.run(request(&budget).unwrap()));
        assert!(futures::poll!(&mut first).is_pending());
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let end = Instant::now() + Duration::from_secs(5);
        while !worker.is_finished() {
            assert!(Instant::now() < end, "the second waits although a worker is idle");
            std::thread::yield_now();
        }
    }
}
