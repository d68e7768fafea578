//! What the queue promises, without a model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::departures::{Answer, Reply};
use super::super::job::JobInput;
use super::super::limits::LevelLimits;
use super::*;
use crate::error::ErrorKind;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::tensor::TensorData;

pub(super) type Waits = oneshot::Receiver<Answer>;

pub(super) fn limits(max_batch_rows: usize, max_requests: usize, delay_milliseconds: u64) -> Limits {
    Limits {
        max_batch_rows,
        max_delay: Duration::from_millis(delay_milliseconds),
        preferred_rows: vec![],
        levels: vec![LevelLimits {
            max_requests,
            delays_late_requests: false,
        }],
        preserves_order: false,
    }
}

fn queue(max_batch_rows: usize, max_requests: usize, delay_milliseconds: u64) -> Queue {
    of(limits(max_batch_rows, max_requests, delay_milliseconds))
}

pub(super) fn of(limits: Limits) -> Queue {
    Queue::new(
        limits,
        Arc::new(Statistics::new(Metrics::default().of_model("m", 1))),
    )
}

pub(super) fn job(rows: usize, width: i64) -> (Job, Waits) {
    let (reply, answer) = oneshot::channel();
    let input = JobInput {
        shape: vec![rows as i64, width],
        data: TensorData::Fixed(vec![0; rows * width as usize].into()),
    };
    (
        Job {
            inputs: vec![input],
            rows,
            level: 0,
            received: Instant::now(),
            deadline: None,
            memory: Arc::new(Budget::of(None).reserve(1)),
            trace: None,
            reply: Reply::new(reply),
        },
        answer,
    )
}

pub(super) fn submit(queue: &Queue, jobs: impl IntoIterator<Item = (usize, i64)>) -> Vec<(Ticket, Waits)> {
    jobs.into_iter()
        .map(|(rows, width)| {
            let (job, answer) = job(rows, width);
            (queue.submit(job).unwrap().ticket, answer)
        })
        .collect()
}

pub(super) fn rows(batch: &[Queued]) -> Vec<usize> {
    batch.iter().map(|queued| queued.job.rows).collect()
}

#[test]
fn an_idle_worker_waits_for_the_delay_and_no_longer_than_until_the_batch_is_full() {
    let queue = queue(2, 10, 40);
    let (first, _one) = job(1, 2);
    let start = Instant::now();
    queue.submit(first).unwrap();
    assert_eq!(queue.take().unwrap().len(), 1);
    assert!(start.elapsed() >= Duration::from_millis(40));
    let (second, _two) = job(1, 2);
    let (third, _three) = job(1, 2);
    let start = Instant::now();
    queue.submit(second).unwrap();
    queue.submit(third).unwrap();
    assert_eq!(queue.take().unwrap().len(), 2);
    assert!(start.elapsed() < Duration::from_millis(40));
}

#[test]
fn a_closed_queue_hands_out_the_rest_at_once_and_then_ends() {
    let queue = queue(8, 10, 10_000);
    let (waiting, _answer) = job(1, 2);
    queue.submit(waiting).unwrap();
    queue.close();
    assert_eq!(queue.take().unwrap().len(), 1);
    assert!(queue.take().is_none());
}

#[test]
fn rows_are_counted_rather_than_requests() {
    let queue = queue(8, 100, 0);
    let _waiting = submit(&queue, [(3, 2), (3, 2), (3, 2), (1, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [3, 3]);
    assert_eq!(rows(&queue.take().unwrap()), [3, 1]);
}

#[test]
fn other_shapes_do_not_end_a_batch() {
    let queue = queue(8, 100, 0);
    let _waiting = submit(&queue, [(1, 2), (1, 5), (1, 2), (1, 5), (1, 2)]);
    assert_eq!(queue.take().unwrap().len(), 3);
    assert_eq!(queue.take().unwrap().len(), 2);
}

#[test]
fn a_full_queue_refuses_with_the_message_of_triton() {
    let queue = queue(8, 2, 0);
    let _waiting = submit(&queue, [(1, 2), (1, 2)]);
    let error = queue.submit(job(1, 2).0).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Unavailable, "Exceeds maximum queue size")
    );
    assert_eq!(queue.statistics.snapshot().fail.count, 1);
}

#[test]
fn a_queue_is_bounded_in_bytes_too_but_for_a_request_alone() {
    let queue = queue(8, 100, 0);
    let huge = |bytes: usize| {
        let (mut job, answer) = job(1, 1);
        job.inputs[0].data = TensorData::Fixed(bytes::Bytes::from_static(&[0; 1 << 20]));
        job.inputs = vec![job.inputs[0].clone(); bytes >> 20];
        (queue.submit(job), answer)
    };
    let (alone, _one) = huge(waiting::MAX_QUEUED_BYTES + (1 << 20));
    alone.unwrap();
    assert_eq!(huge(1 << 20).0.unwrap_err().message, "Exceeds maximum queue size");
    assert_eq!(queue.take().unwrap().len(), 1);
    let _fits = [huge(waiting::MAX_QUEUED_BYTES - (1 << 20)), huge(1 << 20)].map(|(ticket, answer)| {
        ticket.unwrap();
        answer
    });
    assert!(huge(1 << 20).0.is_err());
}

#[test]
fn callers_that_left_make_room_and_are_never_run() {
    let queue = queue(8, 2, 0);
    for (ticket, answer) in submit(&queue, [(1, 2), (1, 2)]) {
        drop(answer);
        queue.withdraw(ticket);
    }
    let _waiting = submit(&queue, [(2, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [2]);
    assert_eq!(
        queue
            .statistics
            .metrics()
            .failure(FailureReason::Canceled)
            .value(),
        2
    );
}

#[test]
fn a_caller_that_left_a_moment_ago_is_not_run() {
    let queue = queue(8, 10, 0);
    for (_, answer) in submit(&queue, [(1, 2), (1, 2)]) {
        drop(answer);
    }
    let _waiting = submit(&queue, [(2, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [2]);
    assert_eq!(
        queue
            .statistics
            .metrics()
            .failure(FailureReason::Canceled)
            .value(),
        2
    );
    assert_eq!(queue.statistics.metrics().requests.pending.get(), 0);
}

#[test]
fn a_request_that_is_withdrawn_leaves_its_neighbours_and_their_batch_alone() {
    let queue = queue(8, 10, 0);
    let waiting = submit(&queue, [(1, 2), (2, 5), (3, 2), (4, 2)]);
    for index in [1, 2, 2] {
        queue.withdraw(waiting[index].0);
    }
    assert_eq!(rows(&queue.take().unwrap()), [1, 4]);
    queue.withdraw(waiting[0].0);
    assert_eq!(queue.lock().waiting.counts(), (0, 0, &[0][..]));
    assert_eq!(queue.statistics.metrics().requests.pending.get(), 0);
    // Another has the place of one of them.
    let next = submit(&queue, [(5, 2)]);
    for (ticket, _) in &waiting {
        queue.withdraw(*ticket);
    }
    assert_eq!(rows(&queue.take().unwrap()), [5]);
    drop(next);
}

#[test]
fn a_request_past_its_deadline_is_answered_and_not_run() {
    let queue = queue(8, 10, 0);
    let (mut late, mut answer) = job(1, 2);
    late.deadline = Some(Instant::now());
    queue.submit(late).unwrap();
    let _waiting = submit(&queue, [(2, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [2]);
    assert_eq!(
        answer.try_recv().unwrap().unwrap_err().message,
        "Request timeout expired"
    );
    assert_eq!(
        queue
            .statistics
            .metrics()
            .failure(FailureReason::Rejected)
            .value(),
        1
    );
}

#[test]
fn a_worker_that_was_busy_for_the_delay_waits_for_nobody() {
    let queue = queue(8, 10, 40);
    let _waiting = submit(&queue, [(1, 2), (1, 5)]);
    std::thread::sleep(Duration::from_millis(45));
    let start = Instant::now();
    assert_eq!(queue.take().unwrap().len() + queue.take().unwrap().len(), 2);
    assert!(
        start.elapsed() < Duration::from_millis(20),
        "{:?}",
        start.elapsed()
    );
}

/// Workers that take what they can, and how much that was.
fn start_workers(queue: &Arc<Queue>, count: usize) -> (Vec<std::thread::JoinHandle<()>>, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let workers = (0..count).map(|_| {
        let (queue, taken) = (Arc::clone(queue), Arc::clone(&taken));
        std::thread::spawn(move || {
            while let Some(batch) = queue.take() {
                taken.fetch_add(batch.len(), Ordering::SeqCst);
                // As if it ran: the others must not wait for this one.
                std::thread::sleep(Duration::from_millis(1));
            }
        })
    });
    (workers.collect(), taken)
}

#[test]
fn every_sleeping_worker_gets_what_it_can_run() {
    for delay_milliseconds in [0, 2] {
        let queue = Arc::new(queue(2, 1000, delay_milliseconds));
        let (workers, taken) = start_workers(&queue, 4);
        let mut waiting = Vec::new();
        for round in 1..=60 {
            for width in 1..=3 {
                waiting.extend(submit(&queue, [(1, width)]));
                futures::executor::block_on(queue.announce());
                // Lanes ripen one after another.
                std::thread::sleep(Duration::from_micros(round as u64 * 37 % 1000));
            }
            let start = Instant::now();
            while taken.load(Ordering::SeqCst) < 3 * round {
                assert!(start.elapsed() < Duration::from_secs(10), "a wake-up was lost");
                std::thread::yield_now();
            }
        }
        queue.close();
        for worker in workers {
            worker.join().unwrap();
        }
    }
}

#[test]
fn a_request_larger_than_a_batch_still_runs_alone() {
    let queue = queue(1, 10, 0);
    let _waiting = submit(&queue, [(5, 2), (1, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [5]);
    assert_eq!(rows(&queue.take().unwrap()), [1]);
}

#[test]
fn a_batch_of_a_preferred_size_runs_at_once_and_the_rest_waits() {
    let queue = of(Limits {
        preferred_rows: vec![2, 4],
        ..limits(8, 100, 10_000)
    });
    let start = Instant::now();
    let _waiting = submit(&queue, [(1, 2); 7]);
    let sizes = [queue.take().unwrap().len(), queue.take().unwrap().len()];
    assert_eq!(sizes, [4, 2]);
    let _more = submit(&queue, [(1, 2)]);
    assert_eq!(queue.take().unwrap().len(), 2);
    // Three rows and two skip over all preferred sizes: what stays below runs.
    let _skipping = submit(&queue, [(3, 2), (2, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [3]);
    assert_eq!(rows(&queue.take().unwrap()), [2]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_preferred_size_that_is_there_once_somebody_left_runs_at_once() {
    let queue = of(Limits {
        preferred_rows: vec![4, 8],
        ..limits(8, 100, 10_000)
    });
    let waiting = submit(&queue, [(3, 2), (2, 2), (1, 2), (1, 2)]);
    let start = Instant::now();
    queue.withdraw(waiting[1].0);
    assert_eq!(rows(&queue.take().unwrap()), [3, 1]);
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn after_the_delay_as_much_as_fits_runs_whatever_is_preferred() {
    let queue = of(Limits {
        preferred_rows: vec![4],
        ..limits(8, 100, 40)
    });
    let _waiting = submit(&queue, [(1, 2); 7]);
    std::thread::sleep(Duration::from_millis(45));
    assert_eq!(queue.take().unwrap().len(), 7);
    let start = Instant::now();
    let _waiting = submit(&queue, [(1, 2); 3]);
    assert_eq!(queue.take().unwrap().len(), 3);
    assert!(start.elapsed() >= Duration::from_millis(40));
}

#[test]
fn without_a_delay_the_largest_preferred_size_runs_or_all_there_is() {
    let queue = of(Limits {
        preferred_rows: vec![2, 4],
        ..limits(8, 100, 0)
    });
    let _waiting = submit(&queue, [(1, 2); 7]);
    let sizes: Vec<_> = (0..3).map(|_| queue.take().unwrap().len()).collect();
    assert_eq!(sizes, [4, 2, 1]);
}

#[test]
fn answers_that_wait_for_their_turn_count_as_requests_that_wait() {
    let queue = of(Limits {
        preserves_order: true,
        ..limits(1, 2, 0)
    });
    let mut slow = submit(&queue, [(1, 2)]);
    let first = queue.take().unwrap();
    let parked: Vec<_> = (0..2).map(|_| submit_and_answer(&queue)).collect();
    assert!(queue.submit(job(1, 2).0).is_err(), "two answers are parked");
    for queued in first {
        queued.job.reply.send(Ok(vec![]));
    }
    assert!(slow[0].1.try_recv().is_ok());
    for mut answer in parked {
        assert!(answer.try_recv().is_ok());
    }
    assert!(queue.submit(job(1, 2).0).is_ok());
}

fn submit_and_answer(queue: &Queue) -> Waits {
    let (job, answer) = job(1, 2);
    queue.submit(job).unwrap();
    for queued in queue.take().unwrap() {
        queued.job.reply.send(Ok(vec![]));
    }
    answer
}
