//! The end of a version: its last answer, its memory, its files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::keeper::Keeper;
use super::version::ModelVersion;
use crate::heap;

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
        let _ = tokio::task::spawn_blocking(heap::give_back).await;
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

    /// Ends what serves, so that the cache is left as large as it may be: its files are in use until then. Nothing that is
    /// read in place is waited for.
    pub async fn end(self: &Arc<Self>) {
        if self.loader.fetched().is_none() {
            return;
        }
        self.registry.retain_models(|_| false);
        let served = self.holdings.lock().await.end();
        let unloading = served.into_iter().map(|old| Arc::clone(self).unload(old));
        join_all(unloading).await;
        self.clean_cache().await;
    }
}
