//! What comes in over gRPC, counted as it comes: tonic keeps a message until it is whole, so the budget has to be asked before.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tonic::Status;

use super::pauses::{self, PREFIX_BYTES};
use crate::error::Result;
use crate::memory::Reservation;
use crate::protocol::Service;
use crate::protocol::intake::TENSOR_EXPANSION;

/// Gives each call a share of the budget, which its handler finds among the extensions of the request.
pub(super) async fn meter(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let reservation = Arc::new(service.intake.budget.reserve(TENSOR_EXPANSION));
    let (mut parts, body) = request.into_parts();
    let body = pauses::bounded(body);
    parts.extensions.insert(Arc::clone(&reservation));
    let body = Body::from_stream(metered(service, Arc::clone(&reservation), body));
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
        let piece = tokio::select! {
            biased;
            piece = pieces.next() => piece,
            () = service.intake.too_late() => {
                return Err(Status::unavailable("this server ends; send the request again"));
            }
        };
        let Some(piece) = piece else { return Ok(None) };
        let piece = piece.map_err(|error| Status::from_error(error.into_inner()))?;
        if is_first {
            reservation.check(message_length(&piece))?;
        }
        reservation.grow(piece.len())?;
        Ok(Some((piece, (service, reservation, pieces, false))))
    })
}

/// The length of the message that begins here, so that one that can never fit is refused before it is sent.
fn message_length(piece: &[u8]) -> usize {
    match piece.first_chunk::<PREFIX_BYTES>() {
        Some([_, length @ ..]) => u32::from_be_bytes(*length) as usize,
        None => 0,
    }
}
