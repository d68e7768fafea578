//! What comes in over gRPC, counted as it comes: tonic keeps a message until it is whole, so the budget has to be asked before.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tonic::Status;

use super::inflate::Inflater;
use super::pauses::{self, PREFIX_BYTES};
use crate::error::Result;
use crate::memory::Reservation;
use crate::protocol::Service;
use crate::protocol::intake::TENSOR_EXPANSION;

/// Gives each call a share of the budget, which its handler finds among the extensions of the request.
pub(super) async fn meter(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let reservation = Arc::new(service.intake.budget.reserve(TENSOR_EXPANSION));
    let (mut parts, body) = request.into_parts();
    let largest = service.intake.max_message_bytes;
    let body = pauses::bounded(body, largest);
    parts.extensions.insert(Arc::clone(&reservation));
    let body = match Inflater::of_call(&parts.headers, &service.intake, &reservation) {
        Some(inflater) => Body::from_stream(inflated(service, inflater, body)),
        None => Body::from_stream(metered(service, Arc::clone(&reservation), body)),
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    // Until here, where a call with one answer has it.
    drop(reservation);
    response
}

fn metered(
    service: Arc<Service>,
    reservation: Arc<Reservation>,
    body: Body,
) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
    let first = (service, reservation, body.into_data_stream(), true);
    stream::try_unfold(first, |(service, reservation, mut pieces, is_first)| async move {
        let Some(piece) = next(&service, &mut pieces).await? else {
            return Ok(None);
        };
        if is_first {
            reservation.check(message_length(&piece))?;
        }
        reservation.grow(piece.len())?;
        Ok(Some((piece, (service, reservation, pieces, false))))
    })
}

/// The same for a call whose messages may be compressed: they count as large as they are when they are not.
fn inflated(
    service: Arc<Service>,
    inflater: Inflater,
    body: Body,
) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
    let first = Some((service, inflater, body.into_data_stream()));
    stream::try_unfold(first, |open| async move {
        let Some((service, mut inflater, mut pieces)) = open else {
            return Ok(None);
        };
        while let Some(piece) = next(&service, &mut pieces).await? {
            let messages = inflater.take(piece).await?;
            if !messages.is_empty() {
                return Ok(Some((messages, Some((service, inflater, pieces)))));
            }
        }
        let rest = inflater.rest();
        Ok((!rest.is_empty()).then_some((rest, None)))
    })
}

async fn next(service: &Service, pieces: &mut BodyDataStream) -> Result<Option<Bytes>, Status> {
    let piece = tokio::select! {
        biased;
        piece = pieces.next() => piece,
        () = service.intake.too_late() => {
            return Err(Status::unavailable("this server ends; send the request again"));
        }
    };
    piece
        .transpose()
        .map_err(|error| Status::from_error(error.into_inner()))
}

/// The length of the message that begins here, so that one that can never fit is refused before it is sent.
fn message_length(piece: &[u8]) -> usize {
    match piece.first_chunk::<PREFIX_BYTES>() {
        Some([_, length @ ..]) => u32::from_be_bytes(*length) as usize,
        None => 0,
    }
}
