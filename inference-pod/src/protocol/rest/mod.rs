//! REST for people without tensors (port 8080): rows in, labels and probabilities or values out.

mod answer;
mod rows;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::exchange::{Exchange, Front, Kind};
use super::intake::ROW_EXPANSION;
use super::{Service, body, status};
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::models::ModelVersion;
use crate::tensor::{InferenceRequest, InferenceResponse};

type Context = State<Arc<Service>>;

const PREDICT: &str = ":predict";
const PREDICT_BY_VERB: Front = Front {
    name: "POST /v1/models/{model}:predict",
    kind: Kind::Rest("/v1/models/{model}:predict"),
};
const PREDICT_BY_PATH: Front = Front {
    name: "POST /predict/{model}",
    kind: Kind::Rest("/predict/{model}"),
};

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(models))
        .route("/v1/models/{model}", get(model).post(predict_by_verb))
        .route("/predict/{model}", post(predict_by_path))
        .method_not_allowed_fallback(status::wrong_method)
        .fallback(status::unknown_path)
        .with_state(service)
}

#[derive(Deserialize)]
struct Request {
    instances: Vec<Value>,
}

#[derive(Serialize)]
struct Predictions<'a> {
    model: &'a str,
    version: u64,
    predictions: Vec<Value>,
}

async fn health(State(service): Context) -> Response {
    if service.lifecycle.is_ready() {
        return Json(json!({"status": "ready"})).into_response();
    }
    let reason = if service.lifecycle.is_stopping() {
        "stopping"
    } else {
        "loading models"
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": reason}))).into_response()
}

async fn models(State(service): Context) -> impl IntoResponse {
    let mut names: Vec<_> = service
        .registry
        .all()
        .iter()
        .map(|version| version.name.clone())
        .collect();
    names.dedup();
    Json(json!({"models": names}))
}

async fn model(State(service): Context, Path(name): Path<String>) -> Result<Response> {
    let model = service.registry.find(&name, None)?;
    let versions: Vec<_> = service
        .registry
        .versions(&name)?
        .iter()
        .map(|version| version.version)
        .collect();
    Ok(Json(answer::describe(&model, &versions)).into_response())
}

/// `POST /v1/models/{name}:predict`: the verb is a part of the last path segment.
async fn predict_by_verb(
    State(service): Context,
    Path(segment): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    match segment.strip_suffix(PREDICT) {
        Some(name) => predict(&service, name, &headers, body, &PREDICT_BY_VERB).await,
        None => Err(InferenceError::not_found(format!(
            "POST to /v1/models/{segment}{PREDICT} or /predict/{segment}"
        ))),
    }
}

async fn predict_by_path(
    State(service): Context,
    Path(name): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    predict(&service, &name, &headers, body, &PREDICT_BY_PATH).await
}

async fn predict(
    service: &Service,
    name: &str,
    headers: &HeaderMap,
    body: Body,
    front: &'static Front,
) -> Result<Response> {
    let mut exchange = Exchange::begin(service, front, headers, name);
    let answered = respond(service, name, headers, body, &mut exchange).await;
    exchange.end(answered)
}

async fn respond(
    service: &Service,
    name: &str,
    headers: &HeaderMap,
    body: Body,
    exchange: &mut Exchange<'_>,
) -> Result<Response> {
    // Whoever asks for what is not there need not send it all.
    drop(service.registry.find(name, None)?);
    let body::Received {
        bytes: body,
        reservation,
    } = body::read(&service.intake, headers, body, ROW_EXPANSION).await?;
    let memory = Arc::new(reservation);
    let _accepted = service.intake.accepted.begin();
    // Looked up when the request is whole: a slow sender must not keep a version that is to be unloaded.
    let model = service.registry.find(name, None)?;
    let decoding_model = Arc::clone(&model);
    let mut requests = body::decode_held(body.len(), &memory, move || {
        let request: Request = serde_json::from_slice(&body).map_err(|error| {
            InferenceError::invalid(format!(
                "the body is not JSON of the form {{\"instances\": [row, …]}} with a list or an object as each row: {error}"
            ))
        })?;
        rows::decode(&decoding_model, &request.instances)
    })
    .await?;
    let trace = exchange.received(model.version, "");
    for request in &mut requests {
        request.trace.clone_from(&trace);
    }
    let answers = run(&model, requests, &memory).await?;
    exchange.computed();
    let mut predictions = Vec::new();
    for part in &answers {
        predictions.extend(answer::predictions(&model, part)?);
    }
    Ok(Json(Predictions {
        model: &model.name,
        version: model.version,
        predictions,
    })
    .into_response())
}

/// Rows beyond the model's largest batch were cut into several requests. Two for each session keep it busy; more would only
/// fill the queue, which then refuses them and everybody else.
async fn run(
    model: &ModelVersion,
    requests: Vec<InferenceRequest>,
    memory: &Arc<Reservation>,
) -> Result<Vec<InferenceResponse>> {
    let at_once = (2 * model.config.instances as usize).clamp(1, model.config.max_queue_size());
    stream::iter(requests)
        .map(|request| model.infer(request, memory))
        .buffered(at_once)
        .try_collect()
        .await
}
