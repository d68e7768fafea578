//! Pauses within a message, and its size. A stream may be idle between two, but half a message keeps its share of the memory
//! for requests.

use axum::body::Body;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tonic::Status;

use crate::error::{ErrorKind, InferenceError};
use crate::protocol::intake::LONGEST_PAUSE;

/// Before a message: a flag, and its length in four bytes.
pub(super) const PREFIX_BYTES: usize = 5;

/// Where a call's bytes are among its messages.
#[derive(Default)]
struct Position {
    prefix: [u8; PREFIX_BYTES],
    /// Bytes of the prefix that came.
    begun: usize,
    /// Bytes of the message that are to come after its prefix.
    left: usize,
}

impl Position {
    /// The length of the longest message that begins in the piece.
    fn pass(&mut self, mut piece: &[u8]) -> usize {
        let mut longest = 0;
        while !piece.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(piece.len());
                self.left -= taken;
                piece = &piece[taken..];
                continue;
            }
            let taken = (PREFIX_BYTES - self.begun).min(piece.len());
            self.prefix[self.begun..self.begun + taken].copy_from_slice(&piece[..taken]);
            self.begun += taken;
            piece = &piece[taken..];
            if let (PREFIX_BYTES, [_, length @ ..]) = (self.begun, self.prefix) {
                self.left = u32::from_be_bytes(length) as usize;
                self.begun = 0;
                longest = longest.max(self.left);
            }
        }
        longest
    }

    fn is_within_a_message(&self) -> bool {
        self.begun > 0 || self.left > 0
    }
}

/// The same bytes; an error when a message is begun and does not go on, or will be larger than the largest.
pub(super) fn bounded(body: Body, largest: usize) -> Body {
    Body::from_stream(pieces(body, largest))
}

fn pieces(body: Body, largest: usize) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
    let first = (body.into_data_stream(), Position::default());
    stream::try_unfold(first, move |(mut pieces, mut position)| async move {
        let piece = tokio::select! {
            biased;
            piece = pieces.next() => piece,
            () = tokio::time::sleep(LONGEST_PAUSE), if position.is_within_a_message() => {
                return Err(stalled().into());
            }
        };
        let Some(piece) = piece else { return Ok(None) };
        let piece = piece.map_err(|error| Status::from_error(error.into_inner()))?;
        if position.pass(&piece) > largest {
            return Err(too_large(largest).into());
        }
        Ok(Some((piece, (pieces, position))))
    })
}

pub(super) fn too_large(largest: usize) -> InferenceError {
    InferenceError {
        kind: ErrorKind::TooLarge,
        message: format!("the message is larger than the {largest} bytes of --grpc-max-input-size"),
    }
}

fn stalled() -> InferenceError {
    InferenceError {
        kind: ErrorKind::Timeout,
        message: format!(
            "no byte of the message came for {} seconds, send the request again",
            LONGEST_PAUSE.as_secs()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};
    use tonic::Code;

    use super::*;

    /// These pieces, and then nothing more without an end.
    fn stalling(sent: &[&'static [u8]]) -> Body {
        let sent: Vec<_> = sent
            .iter()
            .map(|piece| Ok::<_, Infallible>(Bytes::from_static(piece)))
            .collect();
        let pieces = stream::iter(sent).chain(stream::pending());
        bounded(Body::from_stream(pieces), 1000)
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_stalls_ends_its_call() {
        let cases: [&[&'static [u8]]; 4] = [
            &[&[0, 0, 0, 0, 3, 1, 2]],
            &[&[0, 0]],
            &[&[0, 0, 0], &[0, 3, 1]],
            &[&[0, 0, 0, 0, 1, 7, 0, 0, 0, 1, 0], &[1, 2, 3]],
        ];
        for sent in cases {
            let start = Instant::now();
            let mut pieces = stalling(sent).into_data_stream();
            let error = loop {
                if let Err(error) = pieces.next().await.unwrap() {
                    break Status::from_error(error.into_inner());
                }
            };
            assert_eq!(error.code(), Code::DeadlineExceeded, "{sent:?}: {error}");
            assert_eq!(start.elapsed(), LONGEST_PAUSE, "{sent:?}");
        }
    }

    #[tokio::test]
    async fn a_message_that_will_be_too_large_is_refused_when_it_begins() {
        for sent in [
            &[&[0, 0, 0, 4, 0][..]][..],
            &[&[0, 0, 0, 0, 1, 7, 0, 0], &[0, 4, 0]],
        ] {
            let mut pieces = stalling(sent).into_data_stream();
            let error = loop {
                if let Err(error) = pieces.next().await.unwrap() {
                    break Status::from_error(error.into_inner());
                }
            };
            assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
            assert!(
                error.message().contains("1000 bytes of --grpc-max-input-size"),
                "{error}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_may_be_idle_between_two_messages() {
        let cases: [&[&'static [u8]]; 3] = [
            &[],
            &[&[0, 0, 0, 0, 0]],
            &[&[0, 0, 0, 0, 2, 1], &[2, 0, 0], &[0, 0, 1, 7]],
        ];
        for sent in cases {
            let mut pieces = stalling(sent).into_data_stream();
            for piece in sent {
                assert_eq!(pieces.next().await.unwrap().unwrap(), piece);
            }
            let idle = timeout(Duration::from_secs(3600), pieces.next()).await;
            assert!(idle.is_err(), "{sent:?}");
        }
    }
}
