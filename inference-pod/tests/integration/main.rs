//! The real server, started as a process, asked by every protocol it speaks.
//!
//! The models are those of `tests/models`; ONNX Runtime is found as the server finds it (`ORT_DYLIB_PATH` or the cache).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot set up its world should stop there"
)]

mod bad_input;
mod batching;
mod classification;
mod compression;
mod configuration;
mod grpc;
mod http;
mod limits;
mod metrics;
mod object_store;
mod publish;
mod raw_and_halves;
mod repository;
mod request_log;
mod rest;
mod serving_plan;
mod settings;
mod shutdown;
mod support;
mod traces;
