//! The operations port (8002): Prometheus metrics, and how far the serving plan is carried out.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};

use super::status;
use crate::error::{InferenceError, Result};
use crate::lifecycle::Lifecycle;
use crate::metrics::{Format, Metrics};
use crate::models::{Keeper, PlanState, Registry, State as VersionState};

/// What this port tells of.
pub struct Operations {
    /// All metrics, unless they are switched off.
    pub metrics: Option<Arc<Metrics>>,
    /// States of versions.
    pub registry: Arc<Registry>,
    /// State of the plan.
    pub keeper: Arc<Keeper>,
    /// Whether the pod is ready.
    pub lifecycle: Arc<Lifecycle>,
}

/// All routes.
pub fn router(operations: Arc<Operations>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/serving-plan", get(serving_plan))
        // For probes, which cannot show a certificate or a key where the other ports ask for one.
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .method_not_allowed_fallback(status::wrong_method)
        .fallback(status::unknown_path)
        .with_state(operations)
}

async fn live() -> Json<Value> {
    Json(json!({"live": true}))
}

async fn ready(State(operations): State<Arc<Operations>>) -> (StatusCode, Json<Value>) {
    let ready = operations.lifecycle.is_ready();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::BAD_REQUEST
    };
    (status, Json(json!({"live": true, "ready": ready})))
}

async fn metrics(State(operations): State<Arc<Operations>>, headers: HeaderMap) -> Result<Response> {
    let Some(metrics) = &operations.metrics else {
        return Err(InferenceError::not_found(
            "this server has no metrics: it was started with --allow-metrics=false",
        ));
    };
    let format = Format::of(headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()));
    let text = metrics
        .encode(format)
        .map_err(|error| InferenceError::internal(format!("metrics cannot be written: {error}")))?;
    Ok(([(header::CONTENT_TYPE, format.content_type())], text).into_response())
}

async fn serving_plan(State(operations): State<Arc<Operations>>) -> Json<Value> {
    let plan = operations.keeper.status();
    let state = match plan.state {
        PlanState::Applied => "Applied",
        PlanState::Loading => "Loading",
        PlanState::Failed => "Failed",
    };
    let models: Vec<_> = operations
        .registry
        .states()
        .into_iter()
        .map(|status| {
            json!({
                "name": status.model,
                "version": status.version,
                "digest": status.digest,
                "state": contract_state(status.state),
                "reason": status.reason,
            })
        })
        .collect();
    Json(json!({"planSha256": plan.plan_sha256, "state": state, "message": plan.message, "models": models}))
}

/// The contract with the operator knows three states; a version that is about to leave answers nothing new.
fn contract_state(state: VersionState) -> &'static str {
    match state {
        VersionState::Ready => "READY",
        VersionState::Loading => "LOADING",
        VersionState::Unavailable | VersionState::Unloading => "UNAVAILABLE",
    }
}
