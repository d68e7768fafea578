//! Asking a model: rows to requests, answers to predictions.

use std::sync::Arc;

use axum::Extension;
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
use crate::protocol::exchange::{Exchange, Front, Kind};
use crate::protocol::intake::ROW_EXPANSION;
use crate::protocol::request_id::RequestId;
use crate::protocol::{Service, body, version};
use crate::tensor::{InferenceRequest, InferenceResponse};

/// A number becomes a value of JSON, and that becomes text: several times the work of copying it.
const EFFORT: usize = 4;

#[derive(Serialize)]
struct Predictions<'a> {
    model: &'a str,
    version: u64,
    predictions: Vec<Value>,
}

const PREDICT_BY_PATH: Front = Front {
    name: "POST /predict/{model}",
    kind: Kind::Rest("/predict/{model}"),
};

/// A request before its body is read.
pub(super) struct Asked<'a> {
    pub(super) front: &'static Front,
    pub(super) model: &'a str,
    pub(super) method: Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) id: &'a RequestId,
}

/// `/predict/{model}`.
pub(super) async fn by_path(
    State(service): Context,
    Path(name): Path<String>,
    Extension(id): Extension<RequestId>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, RestError> {
    let asked = Asked {
        front: &PREDICT_BY_PATH,
        model: &name,
        method,
        headers: &headers,
        id: &id,
    };
    predict(&service, &asked, body, || Ok(Target::model(&name))).await
}

/// Answers the rows of a body.
pub(super) async fn predict(
    service: &Service,
    asked: &Asked<'_>,
    body: Body,
    target: impl Fn() -> Result<Target>,
) -> Result<Response, RestError> {
    if asked.method != Method::POST {
        return Err(RestError::Method(asked.method.clone(), ASK));
    }
    let mut exchange = Exchange::begin(service, asked.front, asked.headers, asked.model);
    exchange.named(asked.id.as_str());
    let answered = respond(service, asked, body, target, &mut exchange).await;
    exchange.end(answered)
}

async fn respond(
    service: &Service,
    asked: &Asked<'_>,
    body: Body,
    target: impl Fn() -> Result<Target>,
    exchange: &mut Exchange<'_>,
) -> Result<Response, RestError> {
    // Whoever asks for what is not there, or with what is no JSON, need not send it all.
    let target = target()?.pinned(asked.headers)?;
    drop(target.find(service)?);
    media_type::check(asked.headers)?;
    let body::Received {
        bytes: body,
        reservation,
    } = body::read(&service.intake, asked.headers, body, ROW_EXPANSION).await?;
    let memory = Arc::new(reservation);
    let _accepted = service.intake.accepted.begin();
    // Looked up when the request is whole: a slow sender must not keep a version that is to be unloaded.
    let model = target.choose(service, asked.headers)?;
    let (decoding_model, decoding_memory) = (Arc::clone(&model), Arc::clone(&memory));
    let decoded = body::decode_held(body.len(), &memory, move || {
        let question = question::read(&body, &decoding_memory)?;
        match rows::decode(&decoding_model, &question, &decoding_memory) {
            Ok(requests) => Ok(Ok(requests)),
            Err(Refusal::Rows(refused)) => Ok(Err(refused)),
            Err(Refusal::Request(error)) => Err(error),
        }
    })
    .await?;
    let mut requests = decoded.map_err(RestError::Rows)?;
    let trace = exchange.received(model.version, asked.id.as_str());
    let headers = version::headers_for(&model, asked.headers);
    for request in &mut requests {
        request.trace.clone_from(&trace);
        request.headers.clone_from(&headers);
    }
    let answers = run(&model, requests, &memory).await?;
    exchange.computed();
    let size: usize = answers
        .iter()
        .flat_map(|answer| &answer.outputs)
        .map(|output| output.data.encoded_size())
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
