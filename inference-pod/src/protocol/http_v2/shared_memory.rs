//! The shared memory extensions over HTTP. Of CUDA memory there is none, which is an answer too.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Context, done};
use crate::error::{InferenceError, Result};
use crate::protocol::intake::ROW_EXPANSION;
use crate::protocol::{NO_CUDA_MEMORY, Service, body, no_cuda_region};

/// Both kinds.
pub(super) fn routes(router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    let region = |kind: &str, call: &str| format!("/v2/{kind}sharedmemory/region/{{region}}/{call}");
    router
        .route("/v2/systemsharedmemory/status", get(all))
        .route(&region("system", "status"), get(one))
        .route(&region("system", "register"), post(register))
        .route(&region("system", "unregister"), post(unregister))
        .route("/v2/systemsharedmemory/unregister", post(unregister_all))
        .route("/v2/cudasharedmemory/status", get(async || Json([(); 0])))
        .route(&region("cuda", "status"), get(no_cuda))
        .route(
            &region("cuda", "register"),
            post(async || InferenceError::unsupported(NO_CUDA_MEMORY)),
        )
        .route(&region("cuda", "unregister"), post(async || done()))
        .route("/v2/cudasharedmemory/unregister", post(async || done()))
}

async fn all(State(service): Context) -> Result<Json<Value>> {
    regions(&service, None)
}

async fn one(State(service): Context, Path(region): Path<String>) -> Result<Json<Value>> {
    regions(&service, Some(&region))
}

fn regions(service: &Service, name: Option<&str>) -> Result<Json<Value>> {
    let regions = service.shared_memory.status(name)?;
    let describe = |region: &Arc<crate::protocol::shared_memory::Region>| {
        json!({
            "name": region.name,
            "key": region.key,
            "offset": region.offset,
            "byte_size": region.byte_size,
        })
    };
    Ok(Json(regions.iter().map(describe).collect()))
}

#[derive(Deserialize)]
struct Registration {
    key: Option<String>,
    #[serde(default)]
    offset: u64,
    byte_size: Option<u64>,
}

async fn register(
    State(service): Context,
    Path(region): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let received = body::read(&service.intake, &headers, body, ROW_EXPANSION).await?;
    let given: Registration = serde_json::from_slice(&received.bytes).map_err(|error| {
        InferenceError::invalid(format!("failed to parse the request JSON buffer: {error}"))
    })?;
    let missing = |field: &str| {
        InferenceError::invalid(format!("Shared memory register request has no '{field}' field"))
    };
    let key = given.key.ok_or_else(|| missing("key"))?;
    let byte_size = given.byte_size.ok_or_else(|| missing("byte_size"))?;
    service
        .shared_memory
        .register(region, key, given.offset, byte_size)?;
    Ok(done())
}

async fn unregister(State(service): Context, Path(region): Path<String>) -> impl IntoResponse {
    service.shared_memory.unregister(Some(&region));
    done()
}

async fn unregister_all(State(service): Context) -> impl IntoResponse {
    service.shared_memory.unregister(None);
    done()
}

async fn no_cuda(Path(region): Path<String>) -> InferenceError {
    no_cuda_region(&region)
}
