//! What the queue promises, without a model.

use super::*;
use crate::error::ErrorKind;
use crate::memory::Budget;
use crate::metrics::Metrics;

type Answer = oneshot::Receiver<Result<Vec<OutputTensor>>>;

fn queue(max_batch_rows: usize, max_requests: usize, delay_milliseconds: u64) -> Queue {
    let limits = Limits {
        max_batch_rows,
        max_delay: Duration::from_millis(delay_milliseconds),
        preferred_rows: vec![],
        max_requests,
        delays_late_requests: false,
    };
    of(limits)
}

fn of(limits: Limits) -> Queue {
    Queue::new(
        limits,
        Arc::new(Statistics::new(Metrics::default().of_model("m", 1))),
    )
}

fn job(rows: usize, width: i64) -> (Job, Answer) {
    let (reply, answer) = oneshot::channel();
    let input = JobInput {
        shape: vec![rows as i64, width],
        data: TensorData::Fixed(vec![0; rows * width as usize].into()),
    };
    (
        Job {
            inputs: vec![input],
            rows,
            received: Instant::now(),
            deadline: None,
            memory: Arc::new(Budget::of(None).reserve(1)),
            trace: None,
            reply,
        },
        answer,
    )
}

fn rows(batch: &[Queued]) -> Vec<usize> {
    batch.iter().map(|queued| queued.job.rows).collect()
}

#[test]
fn rows_are_counted_rather_than_requests() {
    let queue = queue(8, 100, 0);
    let answers: Vec<_> = [3, 3, 3, 1]
        .into_iter()
        .map(|rows| {
            let (job, answer) = job(rows, 2);
            queue.submit(job).unwrap();
            answer
        })
        .collect();
    assert_eq!(rows(&queue.take().unwrap()), [3, 3]);
    assert_eq!(rows(&queue.take().unwrap()), [3, 1]);
    drop(answers);
}

#[test]
fn other_shapes_do_not_end_a_batch() {
    let queue = queue(8, 100, 0);
    let _answers: Vec<_> = [(1, 2), (1, 5), (1, 2), (1, 5), (1, 2)]
        .into_iter()
        .map(|(rows, width)| {
            let (job, answer) = job(rows, width);
            queue.submit(job).unwrap();
            answer
        })
        .collect();
    assert_eq!(queue.take().unwrap().len(), 3);
    assert_eq!(queue.take().unwrap().len(), 2);
}

#[test]
fn a_full_queue_refuses_with_the_message_of_triton() {
    let queue = queue(8, 2, 0);
    let _answers: Vec<_> = (0..2)
        .map(|_| {
            let (job, answer) = job(1, 2);
            queue.submit(job).unwrap();
            answer
        })
        .collect();
    let error = queue.submit(job(1, 2).0).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Unavailable, "Exceeds maximum queue size")
    );
}

#[test]
fn callers_that_left_make_room_and_are_never_run() {
    let queue = queue(8, 2, 0);
    for _ in 0..2 {
        queue.submit(job(1, 2).0).unwrap();
    }
    let (alive, _answer) = job(2, 2);
    queue.submit(alive).unwrap();
    assert_eq!(rows(&queue.take().unwrap()), [2]);
    assert_eq!(queue.statistics.snapshot().fail.count, 2);
}

#[test]
fn a_request_that_is_withdrawn_leaves_its_neighbours_and_their_batch_alone() {
    let queue = queue(8, 10, 0);
    let waiting: Vec<_> = [(1, 2), (2, 5), (3, 2), (4, 2)]
        .into_iter()
        .map(|(rows, width)| {
            let (job, answer) = job(rows, width);
            (queue.submit(job).unwrap(), answer)
        })
        .collect();
    for index in [1, 2, 2] {
        queue.withdraw(waiting[index].0);
    }
    assert_eq!(rows(&queue.take().unwrap()), [1, 4]);
    queue.withdraw(waiting[0].0);
    let state = queue.lock();
    assert_eq!((state.requests, state.bytes, state.lanes.len()), (0, 0, 0));
    assert_eq!(queue.statistics.metrics().requests.pending.get(), 0);
}

#[test]
fn a_request_past_its_deadline_is_answered_and_not_run() {
    let queue = queue(8, 10, 0);
    let (mut late, mut answer) = job(1, 2);
    late.deadline = Some(Instant::now());
    queue.submit(late).unwrap();
    let (alive, _answer) = job(2, 2);
    queue.submit(alive).unwrap();
    assert_eq!(rows(&queue.take().unwrap()), [2]);
    assert_eq!(
        answer.try_recv().unwrap().unwrap_err().message,
        "Request timeout expired"
    );
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
fn a_request_larger_than_a_batch_still_runs_alone() {
    let queue = queue(1, 10, 0);
    let (large, _one) = job(5, 2);
    let (small, _two) = job(1, 2);
    queue.submit(large).unwrap();
    queue.submit(small).unwrap();
    assert_eq!(rows(&queue.take().unwrap()), [5]);
    assert_eq!(rows(&queue.take().unwrap()), [1]);
}

#[test]
fn a_late_request_that_may_be_delayed_runs_after_all_others_and_is_answered() {
    let queue = of(Limits {
        max_batch_rows: 1,
        max_delay: Duration::ZERO,
        preferred_rows: vec![],
        max_requests: 10,
        delays_late_requests: true,
    });
    let (mut late, mut answer) = job(1, 7);
    late.deadline = Some(Instant::now());
    queue.submit(late).unwrap();
    let _answers: Vec<_> = [2, 2]
        .into_iter()
        .map(|width| {
            let (job, answer) = job(1, width);
            queue.submit(job).unwrap();
            answer
        })
        .collect();
    let widths: Vec<_> = (0..3)
        .map(|_| queue.take().unwrap()[0].job.inputs[0].shape[1])
        .collect();
    assert_eq!(widths, [2, 2, 7]);
    assert!(answer.try_recv().is_err(), "it was refused rather than taken");
    queue.close();
    assert!(queue.take().is_none());
}

#[test]
fn a_late_request_whose_caller_left_is_not_run_even_where_late_ones_are() {
    let queue = of(Limits {
        max_batch_rows: 8,
        max_delay: Duration::ZERO,
        preferred_rows: vec![],
        max_requests: 10,
        delays_late_requests: true,
    });
    let (mut gone, _) = job(1, 2);
    gone.deadline = Some(Instant::now());
    queue.submit(gone).unwrap();
    let (alive, _answer) = job(2, 2);
    queue.submit(alive).unwrap();
    assert_eq!(rows(&queue.take().unwrap()), [2]);
}
