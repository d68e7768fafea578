//! From requests to executions: one queue for each model version, and worker threads that own its sessions.
//!
//! Requests are checked before they come here. Nothing in this room runs on the threads that serve the network.

mod batch;
#[doc(hidden)]
pub mod counted;
mod departures;
mod job;
mod limits;
mod queue;
mod worker;

pub use job::{JobInput, JobRequest};
pub use limits::{LevelLimits, Limits};
pub use worker::{Execute, Executed};

use std::sync::Arc;
use std::time::Instant;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::error::{InferenceError, Result};
use crate::runtime::OutputTensor;
use crate::statistics::Statistics;
use departures::{Answer, Reply};
use job::Job;
use queue::{Queue, Submitted, Ticket};
use worker::Surroundings;

/// The queue of a model version and its workers. Dropping it lets the workers finish what waits and end.
pub struct Scheduler {
    queue: Arc<Queue>,
    /// Whether a level lets requests that are late run.
    delays_late: Vec<bool>,
    /// Ends when the last worker has dropped its session.
    finished: Option<mpsc::Receiver<()>>,
}

impl Scheduler {
    /// Starts one worker thread for each session.
    pub fn start(
        name: &str,
        sessions: Vec<impl Execute>,
        limits: Limits,
        statistics: &Arc<Statistics>,
    ) -> std::io::Result<Self> {
        let delays_late = limits
            .levels
            .iter()
            .map(|level| level.delays_late_requests)
            .collect();
        let queue = Arc::new(Queue::new(limits, Arc::clone(statistics)));
        let (alive, finished) = mpsc::channel(1);
        // Made first, so that workers already started end when a later one cannot be.
        let scheduler = Self {
            queue: Arc::clone(&queue),
            delays_late,
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
    pub async fn run(&self, request: JobRequest) -> Result<Vec<OutputTensor>> {
        let (reply, answer) = oneshot::channel();
        let may_be_late = self.delays_late.get(request.level).is_some_and(|delays| *delays);
        let deadline = request.deadline.filter(|_| !may_be_late);
        let Submitted { ticket, wakes } = self.queue.submit(Job::new(request, Reply::new(reply)))?;
        let mut caller = Caller {
            queue: &self.queue,
            ticket,
            answer,
            is_waiting: true,
        };
        if wakes {
            self.queue.announce().await;
        }
        caller.wait(deadline).await
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
    ticket: Ticket,
    answer: oneshot::Receiver<Answer>,
    is_waiting: bool,
}

impl Caller<'_> {
    /// Waits no longer than until the deadline, unless the request runs then. Workers look too, but they may be busy.
    async fn wait(&mut self, deadline: Option<Instant>) -> Answer {
        if let Some(deadline) = deadline {
            let in_time = tokio::time::timeout_at(deadline.into(), &mut self.answer).await;
            if let Ok(answered) = in_time {
                return self.end(answered);
            }
            if let Some(expired) = self.queue.expire(self.ticket) {
                self.is_waiting = false;
                return Err(expired);
            }
        }
        let answered = (&mut self.answer).await;
        self.end(answered)
    }

    fn end(&mut self, answered: Result<Answer, oneshot::error::RecvError>) -> Answer {
        self.is_waiting = false;
        answered.unwrap_or_else(|_| {
            Err(InferenceError::internal(
                "the worker of this model ended without an answer",
            ))
        })
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        if self.is_waiting {
            self.answer.close();
            self.queue.withdraw(self.ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::Budget;
    use crate::metrics::{FailureReason, Metrics};
    use crate::runtime::GraphSession;
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
            level: 0,
            received: Instant::now(),
            deadline: None,
            memory: Arc::new(memory),
            trace: None,
        })
    }

    /// Without a session nothing is ever answered.
    fn held_scheduler(statistics: &Arc<Statistics>) -> Scheduler {
        let limits = Limits {
            max_batch_rows: 4,
            max_delay: Duration::ZERO,
            preferred_rows: vec![],
            levels: vec![LevelLimits {
                max_requests: 1024,
                delays_late_requests: false,
            }],
            preserves_order: false,
        };
        Scheduler::start("m", Vec::<GraphSession>::new(), limits, statistics).unwrap()
    }

    #[tokio::test]
    async fn a_request_whose_time_is_over_is_answered_while_all_workers_are_busy() {
        let statistics = Arc::new(Statistics::new(Metrics::default().of_model("m", 1)));
        let scheduler = held_scheduler(&statistics);
        let budget = Budget::of(None);
        let mut late = request(&budget).unwrap();
        late.deadline = Some(Instant::now() + Duration::from_millis(20));
        let error = scheduler.run(late).await.unwrap_err();
        assert_eq!(error.message, "Request timeout expired");
        assert_eq!(budget.taken(), 0);
        assert_eq!(statistics.metrics().requests.pending.get(), 0);
        assert_eq!(statistics.metrics().failure(FailureReason::Rejected).value(), 1);
        assert_eq!(statistics.metrics().failure(FailureReason::Canceled).value(), 0);
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
        assert_eq!(statistics.metrics().requests.pending.get(), 0);
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
    fn idle_worker(scheduler: &Scheduler) -> std::thread::JoinHandle<Vec<job::Queued>> {
        let queue = Arc::clone(&scheduler.queue);
        let worker = std::thread::spawn(move || queue.take().unwrap());
        while scheduler.queue.sleeping_workers() == 0 {
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
