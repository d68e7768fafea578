//! Extensions of Triton that this server does not have, with an answer that says so rather than that the path is unknown.

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use crate::error::InferenceError;
use crate::protocol::Service;

/// Routes of what is not there.
pub(super) fn routes(mut router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        router = router
            .route(&format!("{model}/generate"), post(generate))
            .route(&format!("{model}/generate_stream"), post(generate));
    }
    router
}

async fn generate() -> InferenceError {
    InferenceError::unsupported(
        "the generate extension is not supported by this server, POST to the model's /infer",
    )
}
