//! Scenarios on a real cluster with the product installed, and the demonstration that `make demo` shows.
//!
//! Everything is done as a user would: through the Kubernetes API, the clients of Triton, KServe and MLflow, kubectl and
//! Helm. Nothing here is linked into the product.

pub mod cluster;
pub mod conditions;
pub mod demo;
mod diagnosis;
mod faults;
mod load;
mod namespace;
mod network;
mod programs;
mod progress;
pub mod runner;
mod scenario;
mod scenarios;
mod serving;
mod wait;
