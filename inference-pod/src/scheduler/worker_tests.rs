//! What a worker makes of runs that fail, without a model.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::join_all;

use super::super::{JobRequest, LevelLimits, Limits, Scheduler};
use super::*;
use crate::error::Result as Answered;
use crate::memory::Budget;
use crate::metrics::Metrics;
use crate::tensor::TensorData;

const FAILS: u8 = 255;
const PANICS: u8 = 254;

/// Answers its input; counts how often each request ran.
#[derive(Clone, Default)]
struct Echo {
    runs: Arc<AtomicUsize>,
    members: Arc<AtomicUsize>,
    /// Milliseconds that a run takes, by its first byte.
    pause: bool,
    /// First bytes of what ran, in the order in which runs ended.
    ended: Arc<Mutex<Vec<u8>>>,
}

fn first_byte(input: &JobInput) -> u8 {
    match &input.data {
        TensorData::Fixed(bytes) => bytes[0],
        TensorData::Strings(_) => 0,
    }
}

impl Execute for Echo {
    fn execute(&mut self, members: &[&[JobInput]], _: &[usize]) -> Result<Executed, String> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        self.members.fetch_add(members.len(), Ordering::SeqCst);
        let bytes: Vec<_> = members.iter().map(|member| first_byte(&member[0])).collect();
        if self.pause {
            std::thread::sleep(Duration::from_millis(u64::from(bytes[0])));
        }
        assert!(!bytes.contains(&PANICS), "a request that panics");
        if bytes.contains(&FAILS) {
            return Err("a request that fails".to_owned());
        }
        self.ended.lock().unwrap().extend(&bytes);
        let share = |member: &&[JobInput]| {
            vec![OutputTensor {
                shape: member[0].shape.clone(),
                data: member[0].data.clone(),
            }]
        };
        Ok(Executed {
            shares: members.iter().map(share).collect(),
            phases: Phases::default(),
        })
    }
}

fn request(byte: u8) -> JobRequest {
    JobRequest {
        inputs: vec![JobInput {
            shape: vec![1, 1],
            data: TensorData::Fixed(Bytes::copy_from_slice(&[byte])),
        }],
        rows: 1,
        level: 0,
        received: Instant::now(),
        deadline: None,
        memory: Arc::new(Budget::of(None).reserve(1)),
        trace: None,
    }
}

fn limits(max_batch_rows: usize, delay_milliseconds: u64) -> Limits {
    Limits {
        max_batch_rows,
        max_delay: Duration::from_millis(delay_milliseconds),
        preferred_rows: vec![],
        levels: vec![LevelLimits {
            max_requests: 1000,
            delays_late_requests: false,
        }],
        preserves_order: false,
    }
}

fn statistics() -> Arc<Statistics> {
    Arc::new(Statistics::new(Metrics::default().of_model("m", 1)))
}

fn byte_of(answer: &Answered<Vec<OutputTensor>>) -> Option<u8> {
    let outputs = answer.as_ref().ok()?;
    match &outputs[0].data {
        TensorData::Fixed(bytes) => Some(bytes[0]),
        TensorData::Strings(_) => None,
    }
}

#[tokio::test]
async fn exactly_the_bad_ones_of_a_batch_fail_and_nobody_runs_more_than_twice() {
    let (echo, statistics) = (Echo::default(), statistics());
    // Full with the last of the eight.
    let scheduler = Scheduler::start("m", vec![echo.clone()], limits(8, 10_000), &statistics).unwrap();
    let bytes = [1, FAILS, 2, 3, PANICS, 4, FAILS, 5];
    let answers = join_all(bytes.map(|byte| scheduler.run(request(byte)))).await;
    for (byte, answer) in bytes.iter().zip(&answers) {
        match (*byte, answer) {
            (FAILS, Err(error)) => assert_eq!(error.message, "onnx runtime error: a request that fails"),
            (PANICS, Err(error)) => assert!(error.message.contains("panicked"), "{error}"),
            (byte, answer) => assert_eq!(byte_of(answer), Some(byte)),
        }
    }
    assert_eq!(echo.runs.load(Ordering::SeqCst), 9);
    assert_eq!(echo.members.load(Ordering::SeqCst), 16);
    let counted = statistics.snapshot();
    assert_eq!((counted.success.count, counted.fail.count), (5, 3));
    assert_eq!(statistics.metrics().failure(FailureReason::Backend).value(), 3);
    // The worker goes on.
    let bytes = [7; 8];
    let answers = join_all(bytes.map(|byte| scheduler.run(request(byte)))).await;
    assert!(answers.iter().all(|answer| byte_of(answer) == Some(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_caller_left_while_its_batch_failed_is_not_run_again() {
    let (echo, statistics) = (
        Echo {
            pause: true,
            ..Echo::default()
        },
        statistics(),
    );
    let scheduler = Scheduler::start("m", vec![echo.clone()], limits(3, 10_000), &statistics).unwrap();
    let scheduler = Arc::new(scheduler);
    let run = |byte| {
        let scheduler = Arc::clone(&scheduler);
        tokio::spawn(async move { scheduler.run(request(byte)).await })
    };
    // The first decides how long the run takes.
    let slow = run(200);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (leaving, bad) = (run(1), run(FAILS));
    tokio::time::sleep(Duration::from_millis(100)).await;
    leaving.abort();
    assert!(slow.await.unwrap().is_ok());
    assert!(bad.await.unwrap().is_err());
    // Nobody is told when the one that left is looked at.
    while statistics.metrics().failure(FailureReason::Canceled).value() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(echo.members.load(Ordering::SeqCst), 5);
}

/// Which answers came in which order, when the first requests run longest.
async fn arrivals(preserves_order: bool) -> (Vec<u8>, Vec<u8>) {
    let echo = Echo {
        pause: true,
        ..Echo::default()
    };
    let limits = Limits {
        preserves_order,
        ..limits(1, 0)
    };
    let scheduler = Scheduler::start("m", vec![echo.clone(); 4], limits, &statistics()).unwrap();
    let arrived = Mutex::new(Vec::new());
    join_all([160, FAILS, 80, 5, 4, 3].map(|byte| {
        let (scheduler, arrived) = (&scheduler, &arrived);
        async move {
            let answer = scheduler.run(request(byte)).await;
            assert_eq!(answer.is_err(), byte == FAILS);
            arrived.lock().unwrap().push(byte);
        }
    }))
    .await;
    let ended = echo.ended.lock().unwrap().clone();
    (arrived.into_inner().unwrap(), ended)
}

#[tokio::test]
async fn answers_of_several_workers_leave_in_the_order_of_their_requests_where_that_is_asked_for() {
    let (arrived, ended) = arrivals(true).await;
    assert_eq!(arrived, [160, FAILS, 80, 5, 4, 3]);
    assert_ne!(
        ended,
        [160, 80, 5, 4, 3],
        "nothing was overtaken, so nothing was shown"
    );
    let (arrived, _) = arrivals(false).await;
    assert_ne!(arrived, [160, FAILS, 80, 5, 4, 3]);
}
