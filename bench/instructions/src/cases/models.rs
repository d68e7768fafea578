//! The models that are asked, and a service around them.

use std::sync::Arc;

use aiops_inference_pod::lifecycle::Lifecycle;
use aiops_inference_pod::memory::{Budget, Reservation};
use aiops_inference_pod::models::{ModelVersion, Registry, counted};
use aiops_inference_pod::protocol::access::Access;
use aiops_inference_pod::protocol::{Accepted, Intake, ModelControl, Service, SharedMemory};
use aiops_inference_pod::tensor::{DataType, InferenceResponse, Tensor, TensorData};
use aiops_inference_pod::traces::Traces;
use bytes::Bytes;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// Elements of a row of `numbers`.
pub const WIDTH: usize = 256;
/// Features of a row of `patients`.
pub const FEATURES: usize = 16;
/// Rows that the codec reads and writes at once over REST.
pub const ROWS: usize = 8;

const NUMBERS: &str = r#"
max_batch_size: 16
input [ { name: "x" data_type: TYPE_FP32 dims: [ 256 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 256 ] } ]
dynamic_batching { }
"#;

const SERIES: &str = r#"
max_batch_size: 16
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ -1 ] } ]
dynamic_batching { }
"#;

const TEXTS: &str = r#"
max_batch_size: 64
input [ { name: "x" data_type: TYPE_STRING dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
"#;

const PATIENTS: &str = r#"
max_batch_size: 16
input [ { name: "features" data_type: TYPE_FP32 dims: [ 16 ] } ]
output [
  { name: "label" data_type: TYPE_INT64 dims: [ ] },
  { name: "probabilities" data_type: TYPE_FP32 dims: [ 3 ] }
]
"#;

/// A row of numbers in, the same out.
pub fn numbers() -> anyhow::Result<Arc<ModelVersion>> {
    model("numbers", 1, NUMBERS)
}

/// Rows of any length in, the same out.
pub fn series() -> anyhow::Result<Arc<ModelVersion>> {
    model("series", 1, SERIES)
}

/// Takes texts.
pub fn texts() -> anyhow::Result<Arc<ModelVersion>> {
    model("texts", 1, TEXTS)
}

fn model(name: &str, version: u64, config: &str) -> anyhow::Result<Arc<ModelVersion>> {
    Ok(Arc::new(counted::version(name, version, config, None)?))
}

/// A classifier of rows with named features.
pub fn patients() -> anyhow::Result<Arc<ModelVersion>> {
    let manifest = serde_json::from_value(json!({
        "formatVersion": 1,
        "model": "patients",
        "version": 1,
        "digest": format!("sha256:{}", "0".repeat(64)),
        "files": [],
        "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, FEATURES]}],
        "outputs": [],
        "task": "Classification",
        "featureNames": feature_names(),
        "classLabels": ["healthy", "watch", "treat"],
        "classValues": [0, 1, 2],
    }))?;
    Ok(Arc::new(counted::version(
        "patients",
        1,
        PATIENTS,
        Some(manifest),
    )?))
}

/// Names of the features of `patients`.
pub fn feature_names() -> Vec<String> {
    (0..FEATURES).map(|index| format!("feature_{index:02}")).collect()
}

/// A number with as many digits as most have.
pub fn value(index: usize) -> f32 {
    (index * 7919 % 1000) as f32 / 997.0 - 0.25
}

/// So many of them, as tensors have them.
pub fn values(count: usize) -> Bytes {
    (0..count).flat_map(|index| value(index).to_le_bytes()).collect()
}

/// An answer of `numbers`.
pub fn numbers_answer() -> anyhow::Result<InferenceResponse> {
    let data = TensorData::Fixed(values(WIDTH));
    let output = Tensor::new("y".to_owned(), DataType::Fp32, vec![1, WIDTH as i64], data)?;
    Ok(answer("numbers", vec![output]))
}

/// An answer of `patients`.
pub fn patients_answer() -> anyhow::Result<InferenceResponse> {
    let labels = (0..ROWS as i64).flat_map(|row| (row % 3).to_le_bytes()).collect();
    let rows = ROWS as i64;
    let outputs = vec![
        Tensor::new(
            "label".to_owned(),
            DataType::Int64,
            vec![rows],
            TensorData::Fixed(labels),
        )?,
        Tensor::new(
            "probabilities".to_owned(),
            DataType::Fp32,
            vec![rows, 3],
            TensorData::Fixed(values(ROWS * 3)),
        )?,
    ];
    Ok(answer("patients", outputs))
}

fn answer(model: &str, outputs: Vec<Tensor>) -> InferenceResponse {
    InferenceResponse {
        model: model.to_owned(),
        version: 1,
        id: "42".to_owned(),
        outputs,
    }
}

/// A share of memory without a bound.
pub fn memory() -> Arc<Reservation> {
    Arc::new(Budget::of(None).reserve(1))
}

/// A service with `numbers` and more models beside it than most pods have, one of them with three versions that share its
/// requests.
pub fn service() -> anyhow::Result<(Arc<Service>, Arc<ModelVersion>)> {
    let registry = Registry::default();
    let numbers = numbers()?;
    counted::serve(&registry, "numbers", vec![(Arc::clone(&numbers), 100)]);
    for index in 0..30 {
        let name = format!("neighbour-{index:02}");
        let version = model(&name, 1, NUMBERS)?;
        counted::serve(&registry, &name, vec![(version, 100)]);
    }
    let shared = [(1, 80), (2, 15), (3, 5)].map(|(version, weight)| {
        let model = model("shared", version, NUMBERS);
        model.map(|model| (model, weight))
    });
    let shared = shared.into_iter().collect::<anyhow::Result<_>>()?;
    counted::serve(&registry, "shared", shared);
    let lifecycle = Lifecycle::default();
    lifecycle.declared_models_serve();
    let service = Service {
        registry: Arc::new(registry),
        lifecycle: Arc::new(lifecycle),
        intake: Intake {
            max_body_bytes: 64 << 20,
            max_message_bytes: 64 << 20,
            budget: Budget::of(Some(1 << 30)),
            stop: CancellationToken::new(),
            accepted: Accepted::default(),
        },
        control: ModelControl::Repository,
        access: Arc::new(Access::new(&[], &[], &[], false)?),
        trace: Arc::new(Traces::default()),
        http_scheme: "http",
        shared_memory: Arc::new(SharedMemory::new(false)),
    };
    Ok((Arc::new(service), numbers))
}
