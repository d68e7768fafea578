//! What comes in over gRPC, counted as it comes: tonic keeps a message until it is whole, so the budget has to be asked before.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use tonic::Status;

use super::inflate::{Inflater, encoding};
use super::pauses;
use super::shares::{Shares, Whole};
use crate::error::Result;
use crate::protocol::Service;

/// The calls whose messages are requests for inference: with one of them, and with a stream.
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const STREAM_INFER: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// Gives each call a share of the budget, each message of a stream its own; the handler finds it among the extensions of the
/// request.
pub(super) async fn meter(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let is_stream = parts.uri.path() == STREAM_INFER;
    let whole = is_stream.then(|| Arc::new(Whole::default()));
    let are_requests = is_stream || parts.uri.path() == INFER;
    let shares = Shares::new(&service.intake.budget, are_requests, whole.clone());
    let reservation = (!is_stream).then(|| Arc::clone(shares.current()));
    let body = pauses::bounded(body, service.intake.max_message_bytes);
    match (whole, &reservation) {
        (Some(whole), _) => drop(parts.extensions.insert(whole)),
        (None, Some(reservation)) => drop(parts.extensions.insert(Arc::clone(reservation))),
        (None, None) => {}
    }
    let body = match encoding(&parts.headers) {
        Some(encoding) => {
            let inflater = Inflater::new(encoding, &service.intake, shares);
            Body::from_stream(inflated(service, inflater, body))
        }
        None => Body::from_stream(metered(service, shares, body)),
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    // Until here, where a call with one answer has it.
    drop(reservation);
    response
}

fn metered(
    service: Arc<Service>,
    shares: Shares,
    body: Body,
) -> impl Stream<Item = Result<Bytes, Status>> + Send + 'static {
    let first = (service, shares, body.into_data_stream());
    stream::try_unfold(first, |(service, mut shares, mut pieces)| async move {
        let Some(piece) = next(&service, &mut pieces).await? else {
            return Ok(None);
        };
        shares.take(&piece, false)?;
        Ok(Some((piece, (service, shares, pieces))))
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
