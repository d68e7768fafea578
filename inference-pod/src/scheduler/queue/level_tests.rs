//! What the queue promises about priorities and late requests.

use super::super::limits::LevelLimits;
use super::tests::{Waits, job, limits, of, rows, submit};
use super::*;

fn with_levels(delays: &[(usize, bool)]) -> Queue {
    let levels = delays.iter().map(|(max_requests, delays)| LevelLimits {
        max_requests: *max_requests,
        delays_late_requests: *delays,
    });
    of(Limits {
        levels: levels.collect(),
        ..limits(2, 0, 0)
    })
}

fn submit_at(queue: &Queue, level: usize, width: i64, is_late: bool) -> Result<Waits> {
    let (mut job, answer) = job(1, width);
    job.level = level;
    job.deadline = is_late.then(Instant::now);
    queue.submit(job).map(|_| answer)
}

fn widths(queue: &Queue, batches: usize) -> Vec<Vec<i64>> {
    let width = |queued: &Queued| queued.job.inputs[0].shape[1];
    (0..batches)
        .map(|_| queue.take().unwrap().iter().map(width).collect())
        .collect()
}

#[test]
fn the_most_urgent_level_goes_first_and_lower_ones_fill_its_batch() {
    let queue = with_levels(&[(10, false); 3]);
    let levels = [2, 1, 1, 0, 2];
    let _waiting: Vec<_> = levels
        .iter()
        .map(|level| submit_at(&queue, *level, 7, false).unwrap())
        .collect();
    let taken: Vec<Vec<_>> = (0..3)
        .map(|_| {
            queue
                .take()
                .unwrap()
                .iter()
                .map(|queued| queued.job.level)
                .collect()
        })
        .collect();
    assert_eq!(taken, [vec![0, 1], vec![1, 2], vec![2]]);
    // Between shapes too.
    let _waiting =
        [(2, 5), (1, 6), (0, 7)].map(|(level, width)| submit_at(&queue, level, width, false).unwrap());
    assert_eq!(widths(&queue, 3), [[7], [6], [5]]);
}

#[test]
fn each_level_has_its_own_bound() {
    let queue = with_levels(&[(1, false), (2, false)]);
    let results = [0, 0, 1, 1, 1].map(|level| submit_at(&queue, level, 7, false));
    let accepted = results.each_ref().map(|result| result.is_ok());
    assert_eq!(accepted, [true, false, true, true, false]);
    assert_eq!(queue.lock().waiting.counts().2, [1, 2]);
}

#[test]
fn a_late_request_that_may_be_delayed_runs_after_those_in_time_of_its_level_and_before_lower_ones() {
    let queue = with_levels(&[(10, true), (10, false)]);
    let mut late = submit_at(&queue, 0, 7, true).unwrap();
    let _waiting =
        [(1, 3), (0, 2), (0, 2)].map(|(level, width)| submit_at(&queue, level, width, false).unwrap());
    assert_eq!(widths(&queue, 3), [vec![2, 2], vec![7], vec![3]]);
    assert!(late.try_recv().is_err(), "it was refused rather than taken");
    // Within a shape too, and those of a level that refuses are refused.
    let _late = submit_at(&queue, 0, 2, true).unwrap();
    let mut refused = submit_at(&queue, 1, 2, true).unwrap();
    let _waiting = submit_at(&queue, 0, 2, false).unwrap();
    let batch = queue.take().unwrap();
    let late: Vec<_> = batch.iter().map(|queued| queued.job.deadline.is_some()).collect();
    assert_eq!(late, [false, true]);
    queue.close();
    assert!(queue.take().is_none());
    assert!(refused.try_recv().unwrap().is_err());
}

#[test]
fn a_late_request_whose_caller_left_is_not_run_even_where_late_ones_are() {
    let queue = with_levels(&[(10, true)]);
    drop(submit_at(&queue, 0, 2, true).unwrap());
    let _waiting = submit(&queue, [(2, 2)]);
    assert_eq!(rows(&queue.take().unwrap()), [2]);
}
