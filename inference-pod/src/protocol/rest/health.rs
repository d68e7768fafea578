//! Whether the server lives and wants requests.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde_json::json;

use super::Context;

/// It lives while it answers. The word is that of KServe's first protocol.
pub(super) async fn live() -> Response {
    Json(json!({"status": "alive"})).into_response()
}

/// It wants requests.
pub(super) async fn ready(State(service): Context) -> Response {
    if service.lifecycle.is_ready() {
        return Json(json!({"status": "ready"})).into_response();
    }
    let reason = if service.lifecycle.is_stopping() {
        "stopping"
    } else {
        "loading models"
    };
    let later = [(header::RETRY_AFTER, "1")];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        later,
        Json(json!({"status": reason})),
    )
        .into_response()
}
