//! Reading the body of an HTTP request, within its limits of size, memory and time.

use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use http::{HeaderMap, header};

use super::compression::Encoding;
use super::intake::{Intake, LONGEST_PAUSE};
use crate::error::{ErrorKind, InferenceError, Result};
use crate::memory::Reservation;

/// Bodies above this are decoded and encoded on a thread that may block, so that the network goes on being served.
const LARGE_BODY_BYTES: usize = 256 << 10;

/// Compressed bodies above this are inflated on such a thread too: they may be a thousand times as large then.
const LARGE_COMPRESSED_BYTES: usize = 4 << 10;

/// A whole body, and its share of the memory for requests, to be kept until the request is answered.
pub(super) struct Received {
    pub(super) bytes: Bytes,
    pub(super) reservation: Reservation,
}

/// The whole body of a request that takes `expansion` times its size.
pub(super) async fn read(
    intake: &Intake,
    headers: &HeaderMap,
    body: Body,
    expansion: usize,
) -> Result<Received> {
    let encoding = Encoding::of_request(headers)?;
    let reservation = intake.budget.reserve(expansion);
    let Some(encoding) = encoding else {
        return receive(intake, headers, body, reservation).await;
    };
    let compressed = receive(intake, headers, body, intake.budget.reserve(1)).await?;
    let compressed_size = compressed.bytes.len();
    let (most, too_large) = (intake.max_body_bytes, too_large(intake));
    let inflate = move || {
        let bytes = encoding.inflate(&compressed.bytes, most, &too_large, &reservation)?;
        Ok(Received { bytes, reservation })
    };
    inflated(compressed_size, inflate).await
}

/// Runs `inflate` here when what it inflates is small, elsewhere when it is not.
pub(super) async fn inflated<T: Send + 'static>(
    compressed_bytes: usize,
    inflate: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    decode(
        compressed_bytes.saturating_mul(LARGE_BODY_BYTES / LARGE_COMPRESSED_BYTES),
        inflate,
    )
    .await
}

/// The body as it comes.
async fn receive(
    intake: &Intake,
    headers: &HeaderMap,
    body: Body,
    reservation: Reservation,
) -> Result<Received> {
    let mut pieces = body.into_data_stream();
    let received = match check_length(intake, &reservation, headers) {
        Ok(()) => collect(intake, &reservation, &mut pieces).await,
        Err(refusal) => Err(refusal),
    };
    match received {
        Ok(bytes) => Ok(Received { bytes, reservation }),
        Err(refusal) => {
            drop(reservation);
            if matches!(refusal.kind, ErrorKind::TooLarge | ErrorKind::Unavailable) {
                discard(intake, &mut pieces).await;
            }
            Err(refusal)
        }
    }
}

fn check_length(intake: &Intake, reservation: &Reservation, headers: &HeaderMap) -> Result<()> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > intake.max_body_bytes => Err(too_large(intake)),
        Some(length) => reservation.check(length),
        None => Ok(()),
    }
}

fn too_large(intake: &Intake) -> InferenceError {
    InferenceError {
        kind: ErrorKind::TooLarge,
        message: format!(
            "the request is larger than the {} bytes of --http-max-input-size",
            intake.max_body_bytes
        ),
    }
}

async fn collect(intake: &Intake, reservation: &Reservation, pieces: &mut BodyDataStream) -> Result<Bytes> {
    // Most requests come in one piece, which needs no copy.
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut size = 0;
    while let Some(piece) = next(intake, pieces).await? {
        size += piece.len();
        if size > intake.max_body_bytes {
            return Err(too_large(intake));
        }
        reservation.grow(piece.len())?;
        if first.is_empty() && joined.is_empty() {
            first = piece;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&piece);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

/// The next piece; an error when it does not come in time.
async fn next(intake: &Intake, pieces: &mut BodyDataStream) -> Result<Option<Bytes>> {
    let too_late = pin!(intake.too_late());
    tokio::select! {
        biased;
        piece = pieces.next() => piece.transpose().map_err(|error| {
            InferenceError::invalid(format!("the body of the request could not be read: {error}"))
        }),
        () = tokio::time::sleep(LONGEST_PAUSE) => Err(InferenceError {
            kind: ErrorKind::Timeout,
            message: format!(
                "no byte of the body came for {} seconds, send the request again",
                LONGEST_PAUSE.as_secs()
            ),
        }),
        () = too_late => Err(InferenceError {
            kind: ErrorKind::Timeout,
            message: "this server ends, and the rest of the body did not come in time; send the request again".to_owned(),
        }),
    }
}

/// Lets a client that is refused finish sending: one whose connection is reset meanwhile may never read why.
async fn discard(intake: &Intake, pieces: &mut BodyDataStream) {
    let mut size = 0;
    while size <= intake.max_body_bytes {
        match next(intake, pieces).await {
            Ok(Some(piece)) => size += piece.len(),
            Ok(None) | Err(_) => return,
        }
    }
}

/// Runs `work` here when it is small, elsewhere when it is not.
pub(super) async fn decode<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= LARGE_BODY_BYTES {
        return work();
    }
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|panic| Err(InferenceError::internal(format!("decoding failed: {panic}"))))
}

/// The same for work on a request's bytes. A caller that goes away does not end it, so it keeps the request's share too.
pub(super) async fn decode_held<T: Send + 'static>(
    bytes: usize,
    memory: &Arc<Reservation>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let memory = Arc::clone(memory);
    decode(bytes, move || {
        let _memory = memory;
        work()
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use futures::stream;
    use tokio::time::Instant;
    use tokio_util::sync::CancellationToken;

    use super::super::intake::Accepted;
    use super::*;
    use crate::memory::Budget;

    fn intake(memory: Option<usize>) -> Intake {
        Intake {
            max_body_bytes: 100,
            max_message_bytes: 100,
            budget: Budget::of(memory),
            stop: CancellationToken::new(),
            accepted: Accepted::default(),
        }
    }

    fn pieces(count: usize) -> impl futures::Stream<Item = Result<Bytes, Infallible>> + Send + 'static {
        stream::iter((0..count).map(|_| Ok(Bytes::from_static(b"0123456789"))))
    }

    async fn read_all(intake: &Intake, body: Body) -> Result<usize> {
        let received = read(intake, &HeaderMap::new(), body, 2).await?;
        Ok(received.bytes.len())
    }

    #[tokio::test]
    async fn a_body_is_bounded_in_bytes_and_in_memory() {
        assert_eq!(
            read_all(&intake(None), Body::from_stream(pieces(10)))
                .await
                .unwrap(),
            100
        );
        let error = read_all(&intake(None), Body::from_stream(pieces(11)))
            .await
            .unwrap_err();
        assert!(error.message.contains("--http-max-input-size"), "{error}");
        let error = read_all(&intake(Some(100)), Body::from_stream(pieces(6)))
            .await
            .unwrap_err();
        assert!(
            error.kind == ErrorKind::TooLarge && error.message.contains("--max-request-memory"),
            "{error}"
        );
        let intake = intake(Some(200));
        let other = intake.budget.reserve(2);
        other.grow(60).unwrap();
        let error = read_all(&intake, Body::from_stream(pieces(5))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        drop(other);
        assert_eq!(read_all(&intake, Body::from_stream(pieces(5))).await.unwrap(), 50);
    }

    #[tokio::test]
    async fn what_is_still_decoded_for_a_caller_that_left_keeps_its_share() {
        let budget = Budget::of(Some(LARGE_BODY_BYTES * 4));
        let memory = Arc::new(budget.reserve(2));
        memory.grow(LARGE_BODY_BYTES + 1).unwrap();
        let (begun, begins) = std::sync::mpsc::channel();
        let (goes_on, go_on) = std::sync::mpsc::channel::<()>();
        let caller = tokio::spawn(async move {
            decode_held(LARGE_BODY_BYTES + 1, &memory, move || {
                begun.send(()).unwrap();
                go_on.recv().unwrap();
                Ok(())
            })
            .await
        });
        tokio::task::spawn_blocking(move || begins.recv().unwrap())
            .await
            .unwrap();
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert_eq!(budget.taken(), 2 * (LARGE_BODY_BYTES + 1));
        goes_on.send(()).unwrap();
        while budget.taken() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up_and_sooner_when_the_server_ends() {
        let stalled = || Body::from_stream(pieces(1).chain(stream::pending()));
        let intake = intake(None);
        let start = Instant::now();
        let error = read_all(&intake, stalled()).await.unwrap_err();
        assert_eq!(
            (error.kind, start.elapsed().as_secs()),
            (ErrorKind::Timeout, 30),
            "{error}"
        );
        intake.stop.cancel();
        let start = Instant::now();
        let error = read_all(&intake, stalled()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout, "{error}");
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}
