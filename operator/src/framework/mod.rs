//! What the controllers share: the loop with its backoff, applying children, writing status, reading Jobs, metrics.

pub mod apply;
pub mod backoff;
pub mod call_timeout;
pub mod conditions;
pub mod context;
pub mod controller;
pub mod error;
pub mod finalizer;
pub mod job_outcome;
pub mod metrics;
pub mod observed_job;
pub mod pod_trouble;
#[cfg(test)]
pub mod scripted_api_server;
pub mod status;
pub mod stop_job;
pub mod unreadable;
pub mod verdict;
