//! The form of errors of this front: JSON with a sentence and the request's id, whoever refused the request.

use std::borrow::Cow;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderValue, Method, StatusCode, header};
use serde_json::{Map, Value, json};
use tonic::Code;

use super::problems::RefusedRows;
use crate::error::InferenceError;
use crate::protocol::exchange::{Failure, Told};
use crate::protocol::request_id::RequestId;

/// No error that this server writes is longer.
const MOST_BYTES: usize = 1 << 20;

/// Why a request is not answered.
pub(super) enum RestError {
    Rows(RefusedRows),
    Request(InferenceError),
    /// The body is not JSON by its own words.
    MediaType(String),
    /// The path takes these methods.
    Method(Method, &'static str),
}

impl From<InferenceError> for RestError {
    fn from(error: InferenceError) -> Self {
        Self::Request(error)
    }
}

impl Failure for RestError {
    fn told(&self) -> Told<'_> {
        let refused = |http, message| Told {
            http,
            grpc: Code::InvalidArgument,
            message,
        };
        match self {
            Self::Rows(rows) => refused(StatusCode::BAD_REQUEST, Cow::Borrowed(rows.sentence())),
            Self::Request(error) => error.told(),
            Self::MediaType(message) => refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, Cow::Borrowed(message)),
            Self::Method(method, _) => refused(
                StatusCode::METHOD_NOT_ALLOWED,
                Cow::Owned(format!("this path does not take {method}")),
            ),
        }
    }
}

impl IntoResponse for RestError {
    fn into_response(self) -> Response {
        match self {
            Self::Rows(rows) => rows.into_response(),
            Self::Request(error) => error.into_response(),
            Self::MediaType(message) => {
                let accept = [(header::ACCEPT, "application/json")];
                (
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    accept,
                    Json(json!({"error": message})),
                )
                    .into_response()
            }
            Self::Method(method, allowed) => other_method(&method, allowed),
        }
    }
}

/// The answer to a method that a path does not take: what it takes, and only that where somebody asks for it.
pub(super) fn other_method(method: &Method, allowed: &'static str) -> Response {
    let allow = [(header::ALLOW, allowed)];
    if method == Method::OPTIONS {
        return (StatusCode::NO_CONTENT, allow).into_response();
    }
    let error = format!("Method Not Allowed: this path takes {allowed}, not {method}");
    (
        StatusCode::METHOD_NOT_ALLOWED,
        allow,
        Json(json!({"error": error})),
    )
        .into_response()
}

/// Brings every error into the one form.
pub(super) async fn complete(Extension(id): Extension<RequestId>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let text = to_bytes(body, MOST_BYTES).await.unwrap_or_default();
    let body = json!(in_form(&text, status, &id)).to_string();
    head.headers.remove(header::CONTENT_LENGTH);
    let json = HeaderValue::from_static("application/json");
    head.headers.insert(header::CONTENT_TYPE, json);
    Response::from_parts(head, Body::from(body))
}

fn in_form(text: &[u8], status: StatusCode, id: &RequestId) -> Map<String, Value> {
    let mut fields = match serde_json::from_slice(text) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    };
    // A health check says how it is rather than what went wrong.
    if !fields.contains_key("error") && !fields.contains_key("status") {
        let words = String::from_utf8_lossy(text);
        let sentence = match words.trim() {
            "" => status.canonical_reason().unwrap_or("error"),
            words => words,
        };
        fields.insert("error".to_owned(), json!(sentence));
    }
    fields.insert("requestId".to_owned(), json!(id.as_str()));
    fields
}
