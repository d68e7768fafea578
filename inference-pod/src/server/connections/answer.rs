//! Answers on their way to a client: how far it takes them, and the time that a call has.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http::HeaderMap;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::Status;

use super::stream::Activity;

/// The body of an answer, whose pieces note when they leave.
pub(super) struct Answer {
    body: Body,
    /// When a call over gRPC ends, whatever it still had to say.
    deadline: Option<Pin<Box<Sleep>>>,
    activity: Arc<Activity>,
}

impl Answer {
    pub(super) fn new(body: Body, deadline: Option<Instant>, activity: &Arc<Activity>) -> Self {
        // Most answers are whole: there is nothing that a deadline could cut short.
        let deadline = deadline.filter(|_| body.size_hint().exact().is_none());
        Self {
            body,
            deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
            activity: Arc::clone(activity),
        }
    }
}

/// What a call whose time is over is told.
pub(super) fn expired() -> Status {
    Status::deadline_exceeded("Timeout expired")
}

impl HttpBody for Answer {
    type Data = Piece;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, axum::Error>>> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            self.deadline = None;
            // What makes the rest of the answer is told so by being dropped.
            self.body = Body::empty();
            let mut trailers = HeaderMap::new();
            let written = expired().add_header(&mut trailers);
            debug_assert!(written.is_ok(), "{written:?}");
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let piece = |frame: Frame<Bytes>| frame.map_data(|bytes| Piece::new(bytes, &self.activity));
        polled.map(|frame| frame.map(|frame| frame.map(piece)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Bytes of an answer that are held for a client until it takes them.
pub(super) struct Piece {
    bytes: Bytes,
    activity: Arc<Activity>,
}

impl Piece {
    fn new(bytes: Bytes, activity: &Arc<Activity>) -> Self {
        activity.hold();
        Self {
            bytes,
            activity: Arc::clone(activity),
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.activity.sent(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.activity.let_go();
    }
}
