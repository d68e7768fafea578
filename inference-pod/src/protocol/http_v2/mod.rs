//! Open Inference Protocol v2 over HTTP (port 8000). Routes and texts are Triton's.

mod describe;
mod describe_config;
mod infer;
mod outputs;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, http::StatusCode};
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::intake::TENSOR_EXPANSION;
use super::{EXTENSIONS, SERVER_NAME, Service, body, index, status};
use crate::error::{InferenceError, Result};
use crate::models::ModelVersion;

type Context = State<Arc<Service>>;

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/stats", get(all_statistics))
        .route("/v2/repository/index", post(repository_index))
        .route("/v2/repository/models/{model}/load", post(load_or_unload))
        .route("/v2/repository/models/{model}/unload", post(load_or_unload));
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        router = router
            .route(model, get(metadata))
            .route(&format!("{model}/ready"), get(model_ready))
            .route(&format!("{model}/config"), get(config))
            .route(&format!("{model}/stats"), get(statistics))
            .route(&format!("{model}/infer"), post(infer));
    }
    router
        .method_not_allowed_fallback(status::wrong_method)
        .fallback(status::unknown_path)
        .with_state(service)
}

#[derive(Deserialize)]
struct ModelPath {
    model: String,
    version: Option<String>,
}

impl ModelPath {
    fn find(&self, service: &Service) -> Result<Arc<ModelVersion>> {
        service.registry.find(&self.model, self.version()?)
    }

    fn version(&self) -> Result<Option<u64>> {
        let Some(text) = &self.version else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|_| {
            InferenceError::invalid(format!("model version '{text}' should be an integral value > 0"))
        })
    }
}

async fn server_metadata() -> impl IntoResponse {
    #[derive(Serialize)]
    struct Metadata {
        name: &'static str,
        version: &'static str,
        extensions: [&'static str; EXTENSIONS.len()],
    }
    Json(Metadata {
        name: SERVER_NAME,
        version: env!("CARGO_PKG_VERSION"),
        extensions: EXTENSIONS,
    })
}

/// KServe's client reads the body, Triton's only the status.
async fn live() -> impl IntoResponse {
    Json(serde_json::json!({"live": true}))
}

async fn ready(State(service): Context) -> Response {
    if service.lifecycle.is_ready() {
        return Json(serde_json::json!({"live": true, "ready": true})).into_response();
    }
    (
        StatusCode::BAD_REQUEST,
        Json(serde_json::json!({"live": true, "ready": false})),
    )
        .into_response()
}

async fn metadata(State(service): Context, Path(path): Path<ModelPath>) -> Result<Response> {
    let model = path.find(&service)?;
    let versions = match path.version {
        Some(_) => vec![model.version],
        None => service
            .registry
            .versions(&path.model)?
            .iter()
            .map(|version| version.version)
            .collect(),
    };
    Ok(Json(describe::metadata(&model, &versions)).into_response())
}

async fn model_ready(State(service): Context, Path(path): Path<ModelPath>) -> Response {
    match path.find(&service) {
        Ok(model) => Json(serde_json::json!({"name": model.name, "ready": true})).into_response(),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            Json(status::ErrorBody {
                error: &error.message,
            }),
        )
            .into_response(),
    }
}

async fn config(State(service): Context, Path(path): Path<ModelPath>) -> Result<Response> {
    Ok(Json(describe::config(&path.find(&service)?.config)).into_response())
}

async fn statistics(State(service): Context, Path(path): Path<ModelPath>) -> Result<Response> {
    let versions = match path.version()? {
        Some(_) => vec![path.find(&service)?],
        None => service.registry.versions(&path.model)?,
    };
    Ok(Json(describe::statistics(&versions)).into_response())
}

async fn all_statistics(State(service): Context) -> impl IntoResponse {
    Json(describe::statistics(&service.registry.all()))
}

async fn repository_index(State(service): Context, body: Bytes) -> Result<Response> {
    #[derive(Default, Deserialize)]
    struct Request {
        #[serde(default)]
        ready: bool,
    }
    let request: Request = if body.is_empty() {
        Request::default()
    } else {
        serde_json::from_slice(&body).map_err(|error| {
            InferenceError::invalid(format!("failed to parse the request JSON buffer: {error}"))
        })?
    };
    Ok(Json(describe::index(&index(&service, request.ready))).into_response())
}

async fn load_or_unload() -> InferenceError {
    InferenceError::unsupported(
        "explicit model load / unload is not allowed: this server follows its serving plan",
    )
}

async fn infer(
    State(service): Context,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    // Whoever asks for what is not there need not send it all.
    drop(path.find(&service)?);
    let body::Received {
        bytes: body,
        reservation: _reservation,
    } = body::read(&service.intake, &headers, body, TENSOR_EXPANSION).await?;
    let _accepted = service.intake.accepted.begin();
    // Looked up when the request is whole: a slow sender must not keep a version that is to be unloaded.
    let model = path.find(&service)?;
    let json_length = infer::json_length(&headers)?;
    let decoding_model = Arc::clone(&model);
    let size = body.len();
    let (request, wanted) =
        body::decode(size, move || infer::decode(&decoding_model, &body, json_length)).await?;
    let answer = model.infer(request).await?;
    let size = answer.outputs.iter().map(|output| output.data.byte_size()).sum();
    let encoded = body::decode(size, move || infer::encode(&answer, &wanted)).await?;
    Ok(encoded.into_response())
}
