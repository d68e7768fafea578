//! Which web pages of other origins may call.

use std::time::Duration;

use http::{Method, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

use crate::arguments::CorsOrigin;
use crate::protocol::request_id;

/// How long a browser may remember that it may call.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Nothing where no origin may. Cookies are never asked for, so any header may come along.
pub(super) fn layer(origins: &[CorsOrigin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([request_id::HEADER, header::RETRY_AFTER])
        .max_age(REMEMBERED);
    let only = |origin: &CorsOrigin| match origin {
        CorsOrigin::Only(origin) => Some(origin.clone()),
        CorsOrigin::Any => None,
    };
    let listed: Option<Vec<_>> = origins.iter().map(only).collect();
    Some(match listed {
        Some(listed) => layer.allow_origin(AllowOrigin::list(listed)),
        None => layer.allow_origin(Any),
    })
}
