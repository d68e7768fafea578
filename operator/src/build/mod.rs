//! Pieces of Kubernetes objects that several builders share. Deterministic: no clock, no randomness, no I/O.

pub mod job;
pub mod labels;
pub mod literal;
pub mod object_store;
pub mod pod;
pub mod security;
