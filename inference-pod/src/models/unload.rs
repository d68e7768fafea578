//! The end of a version: its last answer, its memory, its files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keeper::Keeper;
use super::version::ModelVersion;

impl Keeper {
    /// Waits until nobody asks a version any more, frees it, and removes its files from the cache unless they are needed again.
    pub(super) async fn unload(self: Arc<Self>, mut old: Arc<ModelVersion>) {
        let start = Instant::now();
        let unloaded = loop {
            // Requests hold the version while they run, and give it back when they are answered.
            match Arc::try_unwrap(old) {
                Ok(mut version) => break (version.name.clone(), version.version, version.unloaded()),
                Err(shared) => old = shared,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let (name, version, finished) = unloaded;
        finished.await;
        let _ = tokio::task::spawn_blocking(give_memory_back).await;
        self.registry.unloaded(&name, version);
        tracing::info!(
            model = name,
            version,
            seconds = start.elapsed().as_secs_f64(),
            "model version is unloaded"
        );
        self.memory_is_back.notify_one();
        self.clean_cache().await;
    }
}

/// Gives the system the memory that is free within this process. The allocator keeps most of it otherwise, in the hope of
/// needing it again: a container that loads one model after the other would grow up to its limit.
#[cfg(target_env = "gnu")]
#[expect(
    unsafe_code,
    reason = "glibc's own call, which has no precondition; no crate wraps it"
)]
pub(super) fn give_memory_back() {
    // SAFETY: it only looks for pages that nothing uses, under the allocator's locks.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators are asked for nothing.
#[cfg(not(target_env = "gnu"))]
pub(super) fn give_memory_back() {}
