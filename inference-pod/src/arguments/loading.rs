//! How models are loaded: beside what serves, and within what there is.

use clap::{ArgAction, Args};

/// Loading models.
#[derive(Debug, Args)]
pub struct LoadingArguments {
    /// Models that are loaded at the same time; by default 4, or as many as there are CPUs for this process.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub model_load_thread_count: Option<u16>,
    /// How often the loading of a model is tried again before it counts as failed.
    #[arg(long, default_value_t = 0, value_name = "COUNT")]
    pub model_load_retry_count: u32,
    /// Refuse to load what would not fit the memory, estimated from the size of its files. Without a limit of memory nothing is
    /// checked.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub model_load_memory_check: bool,
    /// Most bytes of memory for models and the server itself; by default the container's limit less --max-request-memory.
    #[arg(long, value_name = "BYTES")]
    pub max_model_memory: Option<u64>,
    /// Most bytes of fetched models in --model-cache. What no server uses goes first, the least recently used before others; what
    /// one serves always stays. 0 keeps nothing that no server uses.
    #[arg(
        long,
        default_value_t = 0,
        env = "AIOPS_MODEL_CACHE_SIZE",
        value_name = "BYTES"
    )]
    pub model_cache_size: u64,
}
