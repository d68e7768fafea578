//! Taking requests in: what they may take, how long their bytes may take to come, and how many are being answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::memory::Budget;

/// The longest pause within the body of a request.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The same once the server accepts nothing more.
const LONGEST_PAUSE_AT_THE_END: Duration = Duration::from_secs(1);

/// How many times their size requests with tensors take: a digit and a comma become eight bytes, an empty string's length
/// becomes a handle of 32.
pub(super) const TENSOR_EXPANSION: usize = 8;
/// The same for rows of JSON, whose values are first kept one by one.
pub(super) const ROW_EXPANSION: usize = 16;

/// What all fronts share when they take requests in.
pub struct Intake {
    /// Most bytes of a request over HTTP.
    pub max_body_bytes: usize,
    /// Most bytes of a message over gRPC.
    pub max_message_bytes: usize,
    /// Memory for requests.
    pub budget: Arc<Budget>,
    /// Cancelled when nothing more is accepted.
    pub stop: CancellationToken,
    /// Requests that were received and are not answered yet.
    pub accepted: Accepted,
}

/// Counts requests between their last byte and their answer.
#[derive(Clone, Default)]
pub struct Accepted(Arc<AtomicUsize>);

/// One request that is being answered.
pub(super) struct AcceptedGuard(Accepted);

impl Accepted {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn begin(&self) -> AcceptedGuard {
        self.0.fetch_add(1, Ordering::SeqCst);
        AcceptedGuard(self.clone())
    }
}

impl Drop for AcceptedGuard {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Intake {
    /// Done when a pause within a request has become too long because the server ends. Nobody who has stopped sending
    /// can hold it up.
    pub(super) async fn too_late(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(LONGEST_PAUSE_AT_THE_END).await;
    }
}
