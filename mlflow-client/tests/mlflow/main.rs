//! The client against a real MLflow server, which is started once for all of these tests.
//!
//! `AIOPS_MLFLOW` names the `mlflow` executable of an installed `mlflow==3.17.2`.

// All of this is tests, what they share included.
#![allow(clippy::unwrap_used, clippy::panic)]

mod artifacts;
mod experiments;
mod failures;
mod model_versions;
mod network;
mod registry;
mod runs;
mod server;
