//! REST for people without tensors (port 8080): rows in, labels and probabilities or values out.
//!
//! TensorFlow Serving's paths and KServe's first protocol, a document of what the loaded models take and answer, and a page
//! to try them.

mod answer;
mod cors;
#[doc(hidden)]
pub mod counted;
mod documents;
mod elements;
mod errors;
mod field_values;
mod health;
mod held_values;
mod media_type;
mod models;
mod openapi;
mod predict;
mod problems;
mod question;
mod responses;
mod rows;
mod signature;
mod suggest;

use std::sync::Arc;

use axum::extract::State;
use axum::handler::Handler;
use axum::routing::{MethodRouter, any, get};
use axum::{Router, middleware};
use http::Method;

use super::{Service, request_id, status};
use crate::arguments::RestArguments;

type Context = State<Arc<Service>>;

/// What the path of a model ends with where it is asked.
const PREDICT: &str = ":predict";

const READ: &str = "GET, HEAD, OPTIONS";
const ASK: &str = "POST, OPTIONS";

/// All routes.
pub fn router(service: Arc<Service>, arguments: &RestArguments) -> Router {
    let mut router = Router::new()
        .route("/health", read(health::ready))
        .route("/health/ready", read(health::ready))
        .route("/readyz", read(health::ready))
        .route("/health/live", read(health::live))
        .route("/healthz", read(health::live))
        .route("/livez", read(health::live))
        .route("/v1/models", read(models::list))
        .route("/v1/models/{model}", any(models::model))
        .route("/v1/models/{model}/versions/{version}", any(models::version))
        .route("/predict/{model}", any(predict::by_path));
    router = if arguments.rest_docs {
        documents::routes(router)
    } else {
        router.route("/", read(health::live))
    };
    // From the inside out: errors get their form, answers are compressed, browsers are let in, and all of it has an id.
    router = router
        .fallback(status::unknown_path)
        .layer(middleware::from_fn(errors::complete))
        .layer(middleware::from_fn(responses::compress));
    if let Some(cors) = cors::layer(&arguments.rest_cors_origin) {
        router = router.layer(cors);
    }
    router
        .layer(middleware::from_fn(request_id::attach))
        .with_state(service)
}

/// What is only read.
fn read<H: Handler<T, Arc<Service>>, T: 'static>(handler: H) -> MethodRouter<Arc<Service>> {
    get(handler).fallback(async |method: Method| errors::other_method(&method, READ))
}
