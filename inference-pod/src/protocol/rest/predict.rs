//! Asking a model: rows to requests, answers to predictions.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, Method, header};
use serde::Serialize;
use serde_json::Value;

use super::errors::RestError;
use super::models::Target;
use super::rows::Refusal;
use super::{ASK, Context, answer, media_type, question, rows};
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::models::ModelVersion;
use crate::protocol::intake::ROW_EXPANSION;
use crate::protocol::{Service, body};
use crate::tensor::{InferenceRequest, InferenceResponse};

/// A number becomes a value of JSON, and that becomes text: several times the work of copying it.
const EFFORT: usize = 4;

#[derive(Serialize)]
struct Predictions<'a> {
    model: &'a str,
    version: u64,
    predictions: Vec<Value>,
}

/// `/predict/{model}`.
pub(super) async fn by_path(
    State(service): Context,
    Path(name): Path<String>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, RestError> {
    predict(&service, method, &headers, body, || Ok(Target::model(&name))).await
}

/// Answers the rows of a body.
pub(super) async fn predict(
    service: &Service,
    method: Method,
    headers: &HeaderMap,
    body: Body,
    target: impl Fn() -> Result<Target>,
) -> Result<Response, RestError> {
    if method != Method::POST {
        return Err(RestError::Method(method, ASK));
    }
    // Whoever asks for what is not there, or with what is no JSON, need not send it all.
    let target = target()?;
    target.check(service)?;
    media_type::check(headers)?;
    let body::Received {
        bytes: body,
        reservation,
    } = body::read(&service.intake, headers, body, ROW_EXPANSION).await?;
    let memory = Arc::new(reservation);
    let _accepted = service.intake.accepted.begin();
    // Looked up when the request is whole: a slow sender must not keep a version that is to be unloaded.
    let model = target.find(service)?;
    let decoding_model = Arc::clone(&model);
    let decoded = body::decode_held(body.len(), &memory, move || {
        let question = question::read(&body)?;
        match rows::decode(&decoding_model, &question) {
            Ok(requests) => Ok(Ok(requests)),
            Err(Refusal::Rows(refused)) => Ok(Err(refused)),
            Err(Refusal::Request(error)) => Err(error),
        }
    })
    .await?;
    let requests = decoded.map_err(RestError::Rows)?;
    let answers = run(&model, requests, &memory).await?;
    let size: usize = answers
        .iter()
        .flat_map(|answer| &answer.outputs)
        .map(|output| output.data.byte_size())
        .sum();
    let text = body::decode_held(size.saturating_mul(EFFORT), &memory, move || {
        let predictions = answers.iter().flat_map(|part| answer::predictions(&model, part));
        let predictions = Predictions {
            model: &model.name,
            version: model.version,
            predictions: predictions.collect(),
        };
        serde_json::to_vec(&predictions).map_err(|error| InferenceError::internal(error.to_string()))
    })
    .await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Rows beyond the model's largest batch were cut into several requests. Two for each session keep it busy; more would only
/// fill the queue, which then refuses them and everybody else.
async fn run(
    model: &ModelVersion,
    requests: Vec<InferenceRequest>,
    memory: &Arc<Reservation>,
) -> Result<Vec<InferenceResponse>> {
    let at_once = (2 * model.config.instances()).clamp(1, model.config.max_queue_size());
    stream::iter(requests)
        .map(|request| model.infer(request, memory))
        .buffered(at_once)
        .try_collect()
        .await
}
