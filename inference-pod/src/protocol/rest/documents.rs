//! What a person reads: the OpenAPI document of the loaded models, and a page to try them.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Context, health, openapi, read};
use crate::protocol::Service;

const PAGE: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The page loads from this server alone, and nobody may put it into a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn routes(router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    router
        .route("/", read(entrance))
        .route("/openapi.json", read(document))
        .route("/docs", read(page))
        .route("/docs/page.css", read(style))
        .route("/docs/page.js", read(script))
}

/// A browser is shown the page; KServe's client asks here whether the server lives.
async fn entrance(headers: HeaderMap) -> Response {
    let accepted = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    let mut response = if accepted.is_some_and(|accepted| accepted.contains("text/html")) {
        // Relative, for whoever is behind a proxy that adds to the path.
        (StatusCode::FOUND, [(header::LOCATION, "docs")]).into_response()
    } else {
        health::live().await
    };
    let vary = HeaderValue::from_static("accept");
    response.headers_mut().append(header::VARY, vary);
    response
}

async fn document(State(service): Context, headers: HeaderMap) -> Response {
    let text = openapi::document(&service.registry).to_string();
    revalidated(&headers, "application/json", text.into())
}

async fn page(headers: HeaderMap) -> Response {
    let mut response = revalidated(&headers, "text/html; charset=utf-8", PAGE.into());
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn style(headers: HeaderMap) -> Response {
    revalidated(&headers, "text/css; charset=utf-8", STYLE.into())
}

async fn script(headers: HeaderMap) -> Response {
    revalidated(&headers, "text/javascript; charset=utf-8", SCRIPT.into())
}

/// A text that clients may keep, if they ask each time whether it is still the same: models come and go.
fn revalidated(headers: &HeaderMap, content_type: &'static str, text: Bytes) -> Response {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    // Weak, since the same text may travel compressed.
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    let known = headers
        .get(header::IF_NONE_MATCH)
        .and_then(|value| value.to_str().ok());
    let is_known = |known: &str| {
        known
            .split(',')
            .map(str::trim)
            .any(|known| known == tag || known == "*")
    };
    let mut response = if known.is_some_and(is_known) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let about: [(HeaderName, &str); 2] = [
            (header::CONTENT_TYPE, content_type),
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ];
        (about, text).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}
