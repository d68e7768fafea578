//! The real server, started as a process, asked by every protocol it speaks.
//!
//! The models are those of `tests/models`; ONNX Runtime is found as the server finds it (`ORT_DYLIB_PATH` or the cache).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up its world should stop there"
)]

mod access;
mod bad_input;
mod batched_equals_unbatched;
mod batching;
mod choosing_versions;
mod classification;
mod compression;
mod configuration;
mod connections;
mod ensembles;
mod ensembles_that_come_and_go;
mod gpus;
mod graph;
mod grpc;
mod http;
mod instances;
mod limits;
mod loading;
mod memory_usage;
mod metrics;
mod object_store;
mod publish;
mod raw_and_halves;
mod repository;
mod request_log;
mod response_cache;
mod rest;
mod rest_documents;
mod rest_front;
mod rest_values;
mod restarts;
mod schedule_policy;
mod serving_plan;
mod settings;
mod shared_memory;
mod shutdown;
mod soak;
mod support;
mod telemetry;
mod tls;
mod traces;
