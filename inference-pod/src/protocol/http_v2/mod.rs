//! Open Inference Protocol v2 over HTTP (port 8000). Routes and texts are Triton's.

mod absent;
#[doc(hidden)]
pub mod counted;
mod describe;
mod describe_config;
#[cfg(fuzzing)]
pub mod fuzzing;
mod infer;
mod outputs;
mod repository;
mod settings;
mod shared_memory;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, http::StatusCode};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::compression::Encoding;
use super::exchange::{Exchange, Front, Kind};
use super::intake::TENSOR_EXPANSION;
use super::shared_memory::Access;
use super::{SERVER_NAME, Service, body, classification, no_statistics, parameters, status, version};
use crate::error::Result;
use crate::models::ModelVersion;

type Context = State<Arc<Service>>;

const INFER: Front = Front {
    name: "POST /v2/models/{model}/infer",
    kind: Kind::Http("/v2/models/{model}/infer"),
};
const INFER_VERSION: Front = Front {
    name: "POST /v2/models/{model}/versions/{version}/infer",
    kind: Kind::Http("/v2/models/{model}/versions/{version}/infer"),
};

/// All routes.
pub fn router(service: Arc<Service>) -> Router {
    let mut router = Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/stats", get(all_statistics))
        .route(
            "/v2/logging",
            get(settings::logging).post(settings::change_logging),
        )
        .route(
            "/v2/trace/setting",
            get(settings::trace).post(settings::change_trace),
        )
        .route(
            "/v2/models/{model}/trace/setting",
            get(settings::model_trace).post(settings::change_model_trace),
        )
        .route("/v2/repository/index", post(repository::index))
        .route("/v2/repository/models/{model}/load", post(repository::load))
        .route("/v2/repository/models/{model}/unload", post(repository::unload));
    for path in ["index", "models/{model}/load", "models/{model}/unload"] {
        let path = format!("/v2/repository/{{repository}}/{path}");
        router = router.route(&path, post(repository::named_repository));
    }
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        router = router
            .route(model, get(metadata))
            .route(&format!("{model}/ready"), get(model_ready))
            .route(&format!("{model}/config"), get(config))
            .route(&format!("{model}/stats"), get(statistics))
            .route(&format!("{model}/infer"), post(infer));
    }
    absent::routes(shared_memory::routes(router))
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
    /// The version that is shown to those who only look.
    fn find(&self, service: &Service, headers: &HeaderMap) -> Result<Arc<ModelVersion>> {
        service.registry.find(&self.model, self.version(headers)?)
    }

    fn version(&self, headers: &HeaderMap) -> Result<Option<u64>> {
        let named = parameters::version(self.version.as_deref().unwrap_or_default())?;
        version::of_call(named, headers)
    }
}

/// The answer of calls that have nothing to say.
fn done() -> Response {
    ([(http::header::CONTENT_TYPE, "application/json")], ()).into_response()
}

async fn server_metadata(State(service): Context) -> impl IntoResponse {
    #[derive(Serialize)]
    struct Metadata {
        name: &'static str,
        version: &'static str,
        extensions: Vec<&'static str>,
    }
    Json(Metadata {
        name: SERVER_NAME,
        version: env!("CARGO_PKG_VERSION"),
        extensions: service.extensions(),
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

async fn metadata(
    State(service): Context,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
) -> Result<Response> {
    let model = path.find(&service, &headers)?;
    let versions = match path.version(&headers)? {
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

async fn model_ready(State(service): Context, Path(path): Path<ModelPath>, headers: HeaderMap) -> Response {
    let found = path.find(&service, &headers);
    match found.and_then(|model| model.check_ready().map(|()| model)) {
        Ok(model) => Json(serde_json::json!({"name": model.name, "ready": true})).into_response(),
        Err(error) => (
            StatusCode::BAD_REQUEST,
            Json(status::ErrorBody {
                error: &format!("Model version not ready: {}", error.message),
            }),
        )
            .into_response(),
    }
}

async fn config(
    State(service): Context,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
) -> Result<Response> {
    Ok(Json(describe::config(&path.find(&service, &headers)?.config)).into_response())
}

async fn statistics(
    State(service): Context,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
) -> Result<Response> {
    let versions = match path.version(&headers)? {
        Some(version) => {
            let found = service.registry.find(&path.model, Some(version));
            vec![found.map_err(|_| no_statistics(&path.model, Some(version)))?]
        }
        None => service
            .registry
            .versions(&path.model)
            .map_err(|_| no_statistics(&path.model, None))?,
    };
    Ok(Json(describe::statistics(&versions)).into_response())
}

async fn all_statistics(State(service): Context) -> impl IntoResponse {
    Json(describe::statistics(&service.registry.all()))
}

async fn infer(
    State(service): Context,
    Path(path): Path<ModelPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let front = match path.version {
        Some(_) => &INFER_VERSION,
        None => &INFER,
    };
    let mut exchange = Exchange::begin(&service, front, &headers, &path.model);
    let answered = answer(&service, &path, &headers, body, &mut exchange).await;
    exchange.end(answered)
}

async fn answer(
    service: &Service,
    path: &ModelPath,
    headers: &HeaderMap,
    body: Body,
    exchange: &mut Exchange<'_>,
) -> Result<Response> {
    // Whoever asks for what is not there need not send it all.
    let version = path.version(headers)?;
    drop(service.registry.find(&path.model, version)?);
    let body::Received {
        bytes: body,
        reservation,
    } = body::read(&service.intake, headers, body, TENSOR_EXPANSION).await?;
    let memory = Arc::new(reservation);
    let _accepted = service.intake.accepted.begin();
    // Looked up when the request is whole: a slow sender must not keep a version that is to be unloaded.
    let model = service.registry.choose(&path.model, version, headers)?;
    let json_length = infer::json_length(headers, body.len())?;
    let decoding_model = Arc::clone(&model);
    let access = Access {
        shared: Arc::clone(&service.shared_memory),
        memory: Arc::clone(&memory),
    };
    let size = if service.shared_memory.is_used() {
        usize::MAX
    } else {
        body.len()
    };
    let (mut request, wanted) = body::decode_held(size, &memory, move || {
        infer::decode(&decoding_model.config, &body, json_length, &access)
    })
    .await?;
    request.trace = exchange.received(model.version, &request.id);
    request.headers = version::headers_for(&model, headers);
    let mut answer = model.infer(request, &memory).await?;
    exchange.computed();
    let encoding = Encoding::of_response(headers);
    // To compress is some ten times the work of writing.
    let effort = if encoding.is_some() { 10 } else { 1 };
    let size: usize = answer
        .outputs
        .iter()
        .map(|output| output.data.encoded_size())
        .sum();
    let encoded = body::decode(size.saturating_mul(effort), move || {
        classification::apply(&model, &mut answer, &wanted.classes);
        infer::encode(&answer, &wanted)?.compressed(encoding)
    })
    .await?;
    Ok(encoded.into_response())
}
