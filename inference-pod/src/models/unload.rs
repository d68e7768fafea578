//! The end of a version: its last answer, its memory, its files.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::registry::{Registry, State};
use super::version::ModelVersion;

/// Waits until nobody asks a version any more, frees it, and removes its files from the cache.
pub(super) async fn unload(mut old: Arc<ModelVersion>, registry: Arc<Registry>, folder: Option<PathBuf>) {
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
    registry.retain_states(|status| {
        status.state != State::Unloading || status.model != name || status.version != version
    });
    // It may be wanted again meanwhile; then its files are, too.
    let is_wanted = registry
        .states()
        .iter()
        .any(|status| status.model == name && status.version == version);
    if let Some(folder) = folder.filter(|_| !is_wanted)
        && let Err(error) = tokio::fs::remove_dir_all(&folder).await
    {
        tracing::warn!(folder = %folder.display(), %error, "files of an unloaded version stay in the cache");
    }
    tracing::info!(
        model = name,
        version,
        seconds = start.elapsed().as_secs_f64(),
        "model version is unloaded"
    );
}
