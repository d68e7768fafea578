//! The one table from kinds of errors to HTTP and gRPC.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use tonic::Code;
use tonic::metadata::MetadataValue;

use crate::error::{ErrorKind, InferenceError};

pub(super) const fn row(kind: ErrorKind) -> (StatusCode, Code) {
    match kind {
        ErrorKind::InvalidArgument => (StatusCode::BAD_REQUEST, Code::InvalidArgument),
        ErrorKind::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, Code::ResourceExhausted),
        ErrorKind::Timeout => (StatusCode::REQUEST_TIMEOUT, Code::DeadlineExceeded),
        ErrorKind::Forbidden => (StatusCode::FORBIDDEN, Code::PermissionDenied),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, Code::NotFound),
        ErrorKind::AlreadyExists => (StatusCode::BAD_REQUEST, Code::AlreadyExists),
        ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        ErrorKind::UnsupportedEncoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, Code::Unimplemented),
        ErrorKind::Unsupported => (StatusCode::NOT_IMPLEMENTED, Code::Unimplemented),
        ErrorKind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    }
}

/// The body of every HTTP error.
#[derive(Serialize)]
pub(super) struct ErrorBody<'a> {
    pub(super) error: &'a str,
}

impl IntoResponse for InferenceError {
    fn into_response(self) -> Response {
        let (status, _) = row(self.kind);
        let mut response = (status, Json(ErrorBody { error: &self.message })).into_response();
        let hint = match self.kind {
            ErrorKind::Unavailable => Some((header::RETRY_AFTER, "1")),
            ErrorKind::UnsupportedEncoding => Some((header::ACCEPT_ENCODING, "gzip, deflate")),
            _ => None,
        };
        if let Some((name, value)) = hint {
            response
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        response
    }
}

impl From<InferenceError> for tonic::Status {
    fn from(error: InferenceError) -> Self {
        let (_, code) = row(error.kind);
        let mut status = Self::new(code, error.message);
        if error.kind == ErrorKind::Unavailable {
            // What `Retry-After` is to HTTP: https://github.com/grpc/proposal/blob/master/A6-client-retries.md
            let pause = MetadataValue::from_static("1000");
            status.metadata_mut().insert("grpc-retry-pushback-ms", pause);
        }
        status
    }
}

/// 404 for a path that is none.
pub(super) async fn unknown_path() -> Response {
    (StatusCode::NOT_FOUND, Json(ErrorBody { error: "Not Found" })).into_response()
}

/// 405 for a method that the path does not take.
pub(super) async fn wrong_method() -> Response {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        Json(ErrorBody {
            error: "Method Not Allowed",
        }),
    )
        .into_response()
}
