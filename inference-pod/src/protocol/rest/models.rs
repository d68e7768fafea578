//! The models by name: their list, what each takes and answers, and asking them, which is a verb at the end of the name.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, Method};
use serde_json::json;

use super::errors::RestError;
use super::predict::{Asked, predict};
use super::{Context, PREDICT, READ, answer};
use crate::error::{InferenceError, Result};
use crate::models::ModelVersion;
use crate::protocol::exchange::{Front, Kind};
use crate::protocol::request_id::RequestId;
use crate::protocol::{Service, version};

const PREDICT_BY_VERB: Front = Front {
    name: "POST /v1/models/{model}:predict",
    kind: Kind::Rest("/v1/models/{model}:predict"),
};
const PREDICT_BY_VERSION: Front = Front {
    name: "POST /v1/models/{model}/versions/{version}:predict",
    kind: Kind::Rest("/v1/models/{model}/versions/{version}:predict"),
};

/// A model, or one version of it.
pub(super) struct Target {
    model: String,
    version: Option<u64>,
}

impl Target {
    pub(super) fn model(name: &str) -> Self {
        Self {
            model: name.to_owned(),
            version: None,
        }
    }

    fn version(model: &str, version: &str) -> Result<Self> {
        let number = version.parse().map_err(|_| {
            InferenceError::invalid(format!(
                "model version '{version}' should be an integral value > 0"
            ))
        })?;
        Ok(Self {
            model: model.to_owned(),
            version: Some(number),
        })
    }

    /// With the version that the headers name.
    pub(super) fn pinned(self, headers: &HeaderMap) -> Result<Self> {
        Ok(Self {
            version: version::of_call(self.version, headers)?,
            ..self
        })
    }

    /// The version that answers a request with these headers.
    pub(super) fn choose(&self, service: &Service, headers: &HeaderMap) -> Result<Arc<ModelVersion>> {
        service.registry.choose(&self.model, self.version, headers)
    }

    /// The version that is shown to those who only look.
    pub(super) fn find(&self, service: &Service) -> Result<Arc<ModelVersion>> {
        service.registry.find(&self.model, self.version)
    }
}

pub(super) async fn list(State(service): Context) -> impl IntoResponse {
    let mut names: Vec<_> = service
        .registry
        .all()
        .iter()
        .map(|version| version.name.clone())
        .collect();
    names.dedup();
    Json(json!({"models": names}))
}

/// `/v1/models/{model}` and `/v1/models/{model}:predict`.
pub(super) async fn model(
    State(service): Context,
    Path(segment): Path<String>,
    Extension(id): Extension<RequestId>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, RestError> {
    match asked(&segment) {
        Some(name) => {
            let asked = Asked {
                front: &PREDICT_BY_VERB,
                model: name,
                method,
                headers: &headers,
                id: &id,
            };
            predict(&service, &asked, body, || Ok(Target::model(name))).await
        }
        None => describe(&service, method, &segment, || {
            Target::model(&segment).pinned(&headers)
        }),
    }
}

/// `/v1/models/{model}/versions/{version}` and `/v1/models/{model}/versions/{version}:predict`.
pub(super) async fn version(
    State(service): Context,
    Path((model, segment)): Path<(String, String)>,
    Extension(id): Extension<RequestId>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, RestError> {
    match asked(&segment) {
        Some(version) => {
            let asked = Asked {
                front: &PREDICT_BY_VERSION,
                model: &model,
                method,
                headers: &headers,
                id: &id,
            };
            predict(&service, &asked, body, || Target::version(&model, version)).await
        }
        None => describe(&service, method, &segment, || {
            Target::version(&model, &segment)?.pinned(&headers)
        }),
    }
}

/// What stands before the verb, where there is one.
fn asked(segment: &str) -> Option<&str> {
    segment.strip_suffix(PREDICT)
}

fn describe(
    service: &Service,
    method: Method,
    segment: &str,
    target: impl Fn() -> Result<Target>,
) -> Result<Response, RestError> {
    if let Some((_, verb)) = segment.rsplit_once(':') {
        return Err(InferenceError::not_found(format!(
            "there is no \":{verb}\": models are asked with POST to a path that ends with {PREDICT}"
        ))
        .into());
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(RestError::Method(method, READ));
    }
    let target = target()?;
    let model = target.find(service)?;
    let versions: Vec<_> = service
        .registry
        .versions(&target.model)?
        .iter()
        .map(|version| version.version)
        .collect();
    Ok(Json(answer::describe(&model, &versions)).into_response())
}
