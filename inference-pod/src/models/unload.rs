//! The end of a version: its last answer, its memory, its files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::holdings::Holdings;
use super::registry::Registry;
use super::version::ModelVersion;

/// Waits until nobody asks a version any more, frees it, and removes its files from the cache unless they are needed again.
pub(super) async fn unload(
    mut old: Arc<ModelVersion>,
    registry: Arc<Registry>,
    holdings: Arc<Mutex<Holdings>>,
) {
    let start = Instant::now();
    let folder = old.folder.clone();
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
    registry.unloaded(&name, version);
    tracing::info!(
        model = name,
        version,
        seconds = start.elapsed().as_secs_f64(),
        "model version is unloaded"
    );
    // Not while another version is being loaded: it may turn out to be made of the same files.
    let mut holdings = holdings.lock().await;
    holdings.left(&folder);
    holdings.clean_cache().await;
}
