//! Futures that are polled by hand: whoever wakes them is on this thread.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use anyhow::Context as _;

/// A future that nobody else polls.
pub struct Waiting<T>(Pin<Box<dyn Future<Output = T>>>);

impl<T> Waiting<T> {
    pub fn new(future: impl Future<Output = T> + 'static) -> Self {
        Self(Box::pin(future))
    }

    fn poll(&mut self) -> Poll<T> {
        self.0.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Goes as far as it gets, which is not to its end.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.poll().is_pending(),
            "a request ended before its batch was answered"
        );
        Ok(())
    }

    /// Goes to its end.
    pub fn end(mut self) -> anyhow::Result<T> {
        match self.poll() {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
        .context("a request waits for something that nobody here does")
    }
}
