//! A model server for ONNX models: Triton's protocol, flags and repository, in one process that fits a pod.
//!
//! A request comes in by one of the fronts of `protocol`, becomes one internal request (`tensor`), finds its model
//! version (`models`), waits in that version's queue (`scheduler`) and runs on a worker thread (`runtime`).

pub mod arguments;
pub mod configuration;
pub mod error;
pub mod heap;
pub mod lifecycle;
pub mod logging;
pub mod memory;
pub mod metrics;
pub mod models;
mod onnx;
pub mod protocol;
pub mod publish;
pub mod runtime;
pub mod scheduler;
pub mod server;
pub mod shutdown;
pub mod statistics;
pub mod tensor;
pub mod tls;
pub mod traces;
