//! The operator: three controllers that bring Experiments, ModelVersions and InferenceServices to what their specs say.
//!
//! Each controller reads as one story in its `mod.rs`: dereference, validate, advance or build and apply, status.
//! `framework` holds what they share; `build` the pieces of Kubernetes objects that they share.

pub mod arguments;
mod build;
mod configuration;
mod experiment;
mod framework;
mod inference_service;
mod model_version;
mod process;
pub mod telemetry;

pub use process::{create_buckets, run};
