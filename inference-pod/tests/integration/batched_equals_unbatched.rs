//! Whatever comes together, from whom and in whatever order: everybody gets the answer of a request that came alone.
//!
//! The real runtime and the real scheduler, without the protocols around them.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use aiops_inference_pod::configuration::SessionSettings;
use aiops_inference_pod::memory::Budget;
use aiops_inference_pod::metrics::Metrics;
use aiops_inference_pod::runtime::{self, Device, Gpus, GraphSession, OutputTensor, Runtime, SharedWeights};
use aiops_inference_pod::scheduler::{JobInput, JobRequest, LevelLimits, Limits, Scheduler};
use aiops_inference_pod::statistics::Statistics;
use aiops_inference_pod::tensor::{DataType, TensorData};
use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Model {
    /// Gives back each of its fourteen inputs, of two open sizes.
    EveryDatatype,
    /// Divides its first input by its second.
    Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caller {
    Waits,
    /// Goes away after so many microseconds.
    Leaves(u64),
    /// Sends what makes a run fail.
    IsBad,
}

#[derive(Clone, Debug)]
struct Asked {
    rows: usize,
    width: usize,
    seed: u64,
    level: usize,
    caller: Caller,
}

fn asked() -> impl Strategy<Value = Asked> {
    let caller = prop_oneof![
        6 => Just(Caller::Waits),
        2 => (0_u64..3000).prop_map(Caller::Leaves),
        1 => Just(Caller::IsBad),
    ];
    (1_usize..=4, 1_usize..=3, any::<u64>(), 0_usize..2, caller).prop_map(
        |(rows, width, seed, level, caller)| Asked {
            rows,
            width,
            seed,
            level,
            caller,
        },
    )
}

fn limits() -> impl Strategy<Value = Limits> {
    let preferred = prop::collection::vec(1_usize..=4, 0..2);
    (4_usize..=8, 0_u64..3, preferred, 1_usize..=2, any::<bool>()).prop_map(
        |(max_batch_rows, delay, preferred_rows, levels, preserves_order)| Limits {
            max_batch_rows,
            max_delay: Duration::from_millis(delay),
            preferred_rows,
            levels: vec![
                LevelLimits {
                    max_requests: 1000,
                    delays_late_requests: false
                };
                levels
            ],
            preserves_order: preserves_order && levels == 1,
        },
    )
}

fn open(model: Model, sessions: usize) -> Vec<GraphSession> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        let library = std::env::var_os("ORT_DYLIB_PATH");
        let library = runtime::find_library(library.as_deref().map(Path::new)).unwrap();
        Runtime::start(&library, 1, Gpus::Off).unwrap()
    });
    let file = match model {
        Model::EveryDatatype => "every_datatype.onnx",
        Model::Ratio => "ratio.onnx",
    };
    let weights = SharedWeights::read(&crate::support::models().join(file)).unwrap();
    (0..sessions)
        .map(|_| {
            let path = crate::support::models().join(file);
            runtime
                .open(&path, Device::Cpu, &weights, &SessionSettings::default())
                .unwrap()
        })
        .collect()
}

/// Numbers that look random and are the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        state >> 33
    })
}

fn elements(datatype: DataType, count: usize, seed: u64) -> TensorData {
    let numbers = numbers(seed);
    match datatype {
        DataType::Bytes => TensorData::Strings(
            numbers
                .take(count)
                .map(|number| Bytes::from(format!("{}", number % 10_000)))
                .collect(),
        ),
        DataType::Bool => TensorData::Fixed(numbers.take(count).map(|number| (number % 2) as u8).collect()),
        fixed => {
            let size = count * fixed.size().unwrap();
            TensorData::Fixed(numbers.take(size).map(|number| number as u8).collect())
        }
    }
}

/// The inputs of a request, and the outputs that a run of nothing else gives.
fn tensors(model: Model, session: &GraphSession, asked: &Asked) -> (Vec<JobInput>, Vec<OutputTensor>) {
    let width = if model == Model::Ratio { 1 } else { asked.width };
    let shape = vec![asked.rows as i64, width as i64];
    let mut inputs: Vec<_> = session
        .inputs()
        .iter()
        .zip(numbers(asked.seed))
        .map(|(input, seed)| JobInput {
            shape: shape.clone(),
            data: elements(input.datatype, asked.rows * width, seed),
        })
        .collect();
    let echo = |input: &JobInput| OutputTensor {
        shape: input.shape.clone(),
        data: input.data.clone(),
    };
    if model == Model::EveryDatatype {
        let outputs = inputs.iter().map(echo).collect();
        if asked.caller == Caller::IsBad {
            // Too few elements for its shape.
            let numbers = inputs
                .iter_mut()
                .find(|input| matches!(input.data, TensorData::Fixed(_)));
            numbers.unwrap().data = TensorData::Fixed(Bytes::new());
        }
        return (inputs, outputs);
    }
    let random: Vec<_> = numbers(asked.seed).take(2 * asked.rows).collect();
    let floats =
        |numbers: &[u64]| -> Vec<f32> { numbers.iter().map(|number| (*number % 1000 + 1) as f32).collect() };
    let (above, below) = (floats(&random[..asked.rows]), floats(&random[asked.rows..]));
    let data = |floats: &mut dyn Iterator<Item = f32>| {
        TensorData::Fixed(floats.flat_map(f32::to_le_bytes).collect())
    };
    inputs[0].data = data(&mut above.iter().copied());
    inputs[1].data = data(&mut below.iter().copied());
    let quotients = data(&mut above.iter().zip(&below).map(|(above, below)| above / below));
    (
        inputs,
        vec![OutputTensor {
            shape,
            data: quotients,
        }],
    )
}

async fn check(model: Model, workers: usize, limits: Limits, mix: Vec<Asked>) {
    let sessions = open(model, workers);
    let prepared: Vec<_> = mix
        .iter()
        .map(|asked| tensors(model, &sessions[0], asked))
        .collect();
    let statistics = Arc::new(Statistics::new(Metrics::default().of_model("m", 1)));
    let levels = limits.levels.len();
    let mut scheduler = Scheduler::start("m", sessions, limits, &statistics).unwrap();
    let budget = Budget::of(Some(1 << 30));
    let callers = mix.iter().zip(prepared).map(|(asked, (inputs, expected))| {
        let memory = budget.reserve(1);
        memory.grow(1).unwrap();
        let request = JobRequest {
            inputs,
            rows: asked.rows,
            level: asked.level % levels,
            received: Instant::now(),
            deadline: None,
            memory: Arc::new(memory),
            trace: None,
        };
        let answer = scheduler.run(request);
        async move {
            let answer = match asked.caller {
                Caller::Leaves(microseconds) => {
                    match tokio::time::timeout(Duration::from_micros(microseconds), answer).await {
                        Ok(answer) => answer,
                        Err(_) => return,
                    }
                }
                Caller::Waits | Caller::IsBad => answer.await,
            };
            if model == Model::EveryDatatype && asked.caller == Caller::IsBad {
                let error = answer.unwrap_err();
                assert!(error.message.contains("length of the data"), "{error}");
            } else {
                assert_eq!(answer.unwrap(), expected, "{asked:?}");
            }
        }
    });
    tokio::time::timeout(Duration::from_secs(60), join_all(callers))
        .await
        .expect("everybody is answered");
    let finished = scheduler.finished();
    drop(scheduler);
    finished.await;
    assert_eq!(budget.taken(), 0);
    let counted = statistics.snapshot();
    assert_eq!(
        counted.success.count + counted.fail.count,
        mix.len() as u64,
        "each is counted once"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(120))]
    #[test]
    fn batched_equals_unbatched(
        model in prop_oneof![Just(Model::EveryDatatype), Just(Model::Ratio)],
        workers in 1_usize..=3,
        limits in limits(),
        mix in prop::collection::vec(asked(), 1..32),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(check(model, workers, limits, mix));
    }
}

#[tokio::test]
async fn requests_that_come_together_do_run_together() {
    let sessions = open(Model::EveryDatatype, 1);
    let asked = |seed| Asked {
        rows: 2,
        width: 3,
        seed,
        level: 0,
        caller: Caller::Waits,
    };
    let prepared: Vec<_> = (0..4)
        .map(|seed| tensors(Model::EveryDatatype, &sessions[0], &asked(seed)))
        .collect();
    let statistics = Arc::new(Statistics::new(Metrics::default().of_model("m", 1)));
    let limits = Limits {
        max_batch_rows: 8,
        max_delay: Duration::from_secs(60),
        preferred_rows: vec![],
        levels: vec![LevelLimits {
            max_requests: 10,
            delays_late_requests: false,
        }],
        preserves_order: false,
    };
    let scheduler = Scheduler::start("m", sessions, limits, &statistics).unwrap();
    let answers = join_all(prepared.iter().map(|(inputs, _)| {
        scheduler.run(JobRequest {
            inputs: inputs.clone(),
            rows: 2,
            level: 0,
            received: Instant::now(),
            deadline: None,
            memory: Arc::new(Budget::of(None).reserve(1)),
            trace: None,
        })
    }))
    .await;
    for (answer, (_, expected)) in answers.into_iter().zip(prepared) {
        assert_eq!(answer.unwrap(), expected);
    }
    assert_eq!(statistics.snapshot().executions, 1);
}
