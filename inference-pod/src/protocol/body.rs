//! Reading the body of an HTTP request, within its limit.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};

use crate::error::{ErrorKind, InferenceError, Result};

/// Bodies above this are decoded and encoded on a thread that may block, so that the network goes on being served.
const LARGE_BODY_BYTES: usize = 256 << 10;

/// The whole body.
pub(super) async fn read(headers: &HeaderMap, body: Body, max_bytes: usize) -> Result<Bytes> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(InferenceError::unsupported(format!(
            "Content-Encoding {encoding:?} is not supported, send the body as it is"
        )));
    }
    axum::body::to_bytes(body, max_bytes).await.map_err(|error| {
        let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
        while let Some(cause) = source {
            if cause.to_string().contains("length limit exceeded") {
                return InferenceError {
                    kind: ErrorKind::TooLarge,
                    message: format!(
                        "the request is larger than the {max_bytes} bytes of --http-max-input-size"
                    ),
                };
            }
            source = cause.source();
        }
        InferenceError::invalid(format!("the body of the request could not be read: {error}"))
    })
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
