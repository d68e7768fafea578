//! Refusing calls that do not show the header that they have to.

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use tonic::Status;

use super::{Access, Api};
use crate::protocol::status::ErrorBody;

/// Guards the routes of HTTP. Without restrictions, nothing is in the way of a request.
pub fn guard_http(access: &Arc<Access>, router: Router) -> Router {
    if access.http.is_empty() {
        return router;
    }
    let access = Arc::clone(access);
    router.layer(from_fn(move |request: Request, next: Next| {
        let api = route(&request).and_then(Api::of_http);
        answer(
            access.http.missing(api, request.headers()).map(refuse_http),
            request,
            next,
        )
    }))
}

/// Guards the routes of REST.
pub fn guard_rest(access: &Arc<Access>, router: Router) -> Router {
    if access.rest.is_empty() {
        return router;
    }
    let access = Arc::clone(access);
    router.layer(from_fn(move |request: Request, next: Next| {
        let api = route(&request).and_then(|route| Api::of_rest(request.method(), route));
        answer(
            access.rest.missing(api, request.headers()).map(refuse_http),
            request,
            next,
        )
    }))
}

/// Guards the calls of gRPC.
pub fn guard_grpc(access: &Arc<Access>, router: Router) -> Router {
    if access.grpc.is_empty() {
        return router;
    }
    let access = Arc::clone(access);
    router.layer(from_fn(move |request: Request, next: Next| {
        let api = Api::of_grpc(request.uri().path());
        let refusal = access.grpc.missing(api, request.headers()).map(|header| {
            // Triton's code, which clients match on.
            Status::unavailable(format!(
                "This protocol is restricted, expecting header '{header}'"
            ))
            .into_http()
        });
        answer(refusal, request, next)
    }))
}

/// The route that a request takes; none where there is none.
fn route(request: &Request) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}

async fn answer(refusal: Option<Response>, request: Request, next: Next) -> Response {
    match refusal {
        Some(refusal) => refusal,
        None => next.run(request).await,
    }
}

fn refuse_http(header: &http::HeaderName) -> Response {
    let error = format!("This API is restricted, expecting header '{header}'");
    (StatusCode::FORBIDDEN, axum::Json(ErrorBody { error: &error })).into_response()
}
