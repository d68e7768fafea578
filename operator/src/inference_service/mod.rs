//! The InferenceService controller.
use crate::framework::context::Context;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
/// Runs the controller until `shutdown`.
pub async fn control(_context: Arc<Context>, _concurrency: u16, shutdown: CancellationToken) {
    shutdown.cancelled().await;
}
