//! Compressing answers for clients that accept it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use crate::error::InferenceError;
use crate::protocol::body;
use crate::protocol::compression::Encoding;

/// What fits into a packet or two gains nothing.
const WORTHWHILE_BYTES: usize = 1024;
/// To compress is some ten times the work of writing.
const EFFORT: usize = 10;

/// Compresses what the handlers answer.
pub(super) async fn compress(request: Request, next: Next) -> Response {
    let encoding = Encoding::of_response(request.headers());
    let mut response = next.run(request).await;
    let vary = HeaderValue::from_static("accept-encoding");
    response.headers_mut().append(header::VARY, vary);
    let Some(encoding) = encoding else {
        return response;
    };
    let (mut head, body) = response.into_parts();
    // Answers are whole; nothing is waited for here.
    let Ok(plain) = to_bytes(body, usize::MAX).await else {
        return InferenceError::internal("the answer could not be written").into_response();
    };
    if plain.len() < WORTHWHILE_BYTES {
        return Response::from_parts(head, Body::from(plain));
    }
    let compressed = body::decode(plain.len().saturating_mul(EFFORT), move || {
        let whole = encoding.deflate(&plain);
        whole
            .map_err(|error| InferenceError::internal(format!("the answer could not be compressed: {error}")))
    });
    match compressed.await {
        Ok(compressed) => {
            head.headers.remove(header::CONTENT_LENGTH);
            let name = HeaderValue::from_static(encoding.name());
            head.headers.insert(header::CONTENT_ENCODING, name);
            Response::from_parts(head, Body::from(compressed))
        }
        Err(error) => error.into_response(),
    }
}
