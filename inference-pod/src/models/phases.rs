//! What loading a version took, by its phases, for whoever counts it.

use std::time::Duration;

/// Bytes and times of one load. Phases of the same load follow each other but for `verify`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadPhases {
    /// Bytes that came over the network; 0 where the cache or the folder had them.
    pub fetched_bytes: u64,
    /// Time until the files were here and checked.
    pub fetch: Duration,
    /// Time for hashing them, a part of `fetch`; most of it passes while bytes still come.
    pub verify: Duration,
    /// Time in which ONNX Runtime read and optimized the graph, for all instances.
    pub open: Duration,
    /// Time for the first runs.
    pub warm_up: Duration,
    /// Bytes that opening it and its first runs took from the heap and kept. What is mapped, such as external weights, and
    /// what is on a GPU is not among them; an ensemble has none of its own.
    pub heap_bytes: u64,
}
