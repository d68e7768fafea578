//! What happens on a connection, noted as its bytes and requests pass: enough to tell one that works from one that only waits.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::version::{PREFACE, Version};

/// What happened on a connection.
#[derive(Default)]
pub(super) struct Activity {
    /// Bytes that came.
    bytes: AtomicU64,
    /// The same when the last request was answered.
    bytes_at_answer: AtomicU64,
    /// Requests that began.
    begun: AtomicU64,
    /// Requests that are not answered yet.
    running: AtomicU64,
    /// Pieces of answers that have not left.
    held: AtomicU64,
    /// Bytes of answers that have left.
    sent: AtomicU64,
    /// Whether the kernel takes no more bytes. It closes such a connection by itself.
    is_blocked: AtomicBool,
}

/// A request between its headers and those of its answer.
pub(super) struct Running(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.begun.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        Running(Arc::clone(self))
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed) > 0
    }

    /// Whether a request may be on its way: the first one, or one of which a part is here.
    pub(super) fn expects_request(&self, version: Version) -> bool {
        let idle = self.running.load(Relaxed) == 0;
        idle && (!self.has_begun() || self.waits_for_headers(version))
    }

    /// Done when the headers of a request take too long: within one and a half times `timeout` after their first byte.
    pub(super) async fn stalls(&self, version: Version, timeout: Duration) {
        let mut seen = (0, 0);
        loop {
            tokio::time::sleep(timeout / 2).await;
            let begun = self.begun.load(Relaxed);
            seen = match (self.waits_for_headers(version), seen) {
                (false, _) => (0, begun),
                (true, (times, before)) if before == begun => (times + 1, begun),
                (true, _) => (1, begun),
            };
            if seen.0 == 3 {
                return;
            }
        }
    }

    pub(super) fn hold(&self) {
        self.held.fetch_add(1, Relaxed);
    }

    pub(super) fn let_go(&self) {
        self.held.fetch_sub(1, Relaxed);
    }

    pub(super) fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Relaxed);
    }

    /// Done when for `timeout`, or a quarter more, a client lets nothing of its answers go although the socket would take it:
    /// HTTP/2 lets it withhold its leave.
    pub(super) async fn withholds(&self, timeout: Duration) {
        let (mut seen, mut times) = (0, 0);
        while times < 4 {
            tokio::time::sleep(timeout / 4).await;
            let sent = self.sent.load(Relaxed);
            let waits = self.held.load(Relaxed) > 0 && !self.is_blocked.load(Relaxed) && sent == seen;
            times = if waits { times + 1 } else { 0 };
            seen = sent;
        }
    }

    fn noted<T>(&self, polled: Poll<T>) -> Poll<T> {
        self.is_blocked.store(polled.is_pending(), Relaxed);
        polled
    }

    /// Whether headers have begun and are not whole, or never came. HTTP/2 has its own way to tell who is away.
    fn waits_for_headers(&self, version: Version) -> bool {
        let bytes = self.bytes.load(Relaxed);
        match version {
            Version::Http1 => {
                self.running.load(Relaxed) == 0 && (bytes == 0 || bytes > self.bytes_at_answer.load(Relaxed))
            }
            Version::Http2 => bytes < PREFACE.len() as u64,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Relaxed);
        self.0.bytes_at_answer.store(self.0.bytes.load(Relaxed), Relaxed);
    }
}

/// A stream whose bytes are counted as they come.
pub(super) struct Counted<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Counted<S> {
    pub(super) fn new(stream: S, activity: &Arc<Activity>) -> Self {
        Self {
            stream,
            activity: Arc::clone(activity),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        let read = buffer.filled().len() - before;
        if read > 0 {
            self.activity.bytes.fetch_add(read as u64, Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.noted(polled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.activity.noted(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.activity.noted(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn stalls_after(activity: &Activity, version: Version) -> Option<Duration> {
        let start = Instant::now();
        let stalled = timeout(10 * LIMIT, activity.stalls(version, LIMIT)).await;
        stalled.is_ok().then(|| start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn headers_that_do_not_come_are_told_from_a_connection_that_is_idle_or_at_work() {
        let activity = Arc::new(Activity::default());
        let late = LIMIT..=LIMIT + LIMIT / 2;
        for version in [Version::Http1, Version::Http2] {
            let stalled = stalls_after(&activity, version).await;
            assert!(late.contains(&stalled.unwrap()), "{version:?}: {stalled:?}");
        }
        activity.bytes.store(500, Relaxed);
        let running = activity.begin();
        assert_eq!(stalls_after(&activity, Version::Http1).await, None, "at work");
        drop(running);
        for version in [Version::Http1, Version::Http2] {
            assert_eq!(stalls_after(&activity, version).await, None, "idle");
        }
        activity.bytes.fetch_add(1, Relaxed);
        let stalled = stalls_after(&activity, Version::Http1).await;
        assert!(late.contains(&stalled.unwrap()), "half of the next: {stalled:?}");
    }
}
