//! The model repository extension over HTTP.

use std::collections::BTreeMap;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::Value;

use super::{Context, describe, done};
use crate::error::{InferenceError, Result};
use crate::protocol::body;
use crate::protocol::intake::TENSOR_EXPANSION;
use crate::protocol::repository::{self, LoadParameter};

#[derive(Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

#[derive(Default, Deserialize)]
struct LoadRequest {
    #[serde(default)]
    parameters: BTreeMap<String, Value>,
}

pub(super) async fn index(State(service): Context, headers: HeaderMap, body: Body) -> Result<Response> {
    let received = body::read(&service.intake, &headers, body, TENSOR_EXPANSION).await?;
    let request: IndexRequest = parse(&received.bytes)?;
    let index = repository::index(&service, request.ready).await?;
    Ok(Json(describe::index(&index)).into_response())
}

pub(super) async fn load(
    State(service): Context,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let received = body::read(&service.intake, &headers, body, TENSOR_EXPANSION).await?;
    let _accepted = service.intake.accepted.begin();
    let bytes = received.bytes.clone();
    let parameters = body::decode(bytes.len(), move || {
        let request: LoadRequest = parse(&bytes)?;
        request
            .parameters
            .into_iter()
            .map(|(name, value)| Ok((name.clone(), parameter(&name, value)?)))
            .collect::<Result<Vec<_>>>()
    })
    .await?;
    repository::load(&service, model, parameters, received).await?;
    Ok(done())
}

pub(super) async fn unload(
    State(service): Context,
    Path(model): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let received = body::read(&service.intake, &headers, body, TENSOR_EXPANSION).await?;
    let _accepted = service.intake.accepted.begin();
    let request: LoadRequest = parse(&received.bytes)?;
    let with_dependents = match request.parameters.get("unload_dependents") {
        None => false,
        Some(value) => value
            .as_bool()
            .ok_or_else(|| InferenceError::invalid("parameter 'unload_dependents' must be true or false"))?,
    };
    repository::unload(&service, model, with_dependents).await?;
    Ok(done())
}

pub(super) async fn named_repository() -> InferenceError {
    InferenceError::unsupported("'repository_name' specification is not supported")
}

fn parameter(name: &str, value: Value) -> Result<LoadParameter> {
    Ok(match value {
        Value::String(text) if name.starts_with("file:") => {
            let content = STANDARD.decode(text).map_err(|error| {
                InferenceError::invalid(format!("parameter '{name}' is not base64: {error}"))
            })?;
            LoadParameter::Content(content.into())
        }
        Value::String(text) => LoadParameter::Text(text),
        _ => LoadParameter::Other,
    })
}

/// A body of JSON, or none.
fn parse<T: Default + for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| InferenceError::invalid(format!("failed to parse the request JSON buffer: {error}")))
}
