//! Extensions of Triton that this server does not have, with an answer that says so rather than that the path is unknown.
//!
//! Clients unregister all shared memory before they begin, as Triton's examples do: with nothing registered, that succeeds.

use std::sync::Arc;

use axum::extract::Path;
use axum::routing::{get, post};
use axum::{Json, Router};

use crate::error::{InferenceError, Result};
use crate::protocol::{NO_SHARED_MEMORY, Service, no_region};

const KINDS: [&str; 2] = ["system", "cuda"];

/// Routes of what is not there.
pub(super) fn routes(mut router: Router<Arc<Service>>) -> Router<Arc<Service>> {
    for kind in KINDS {
        let root = format!("/v2/{kind}sharedmemory");
        router = router
            .route(&format!("{root}/status"), get(regions))
            .route(
                &format!("{root}/region/{{region}}/status"),
                get(move |Path(region): Path<String>| async move { Err::<(), _>(no_region(kind, &region)) }),
            )
            .route(&format!("{root}/region/{{region}}/register"), post(register))
            .route(&format!("{root}/region/{{region}}/unregister"), post(unregister))
            .route(&format!("{root}/unregister"), post(unregister));
    }
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        router = router
            .route(&format!("{model}/generate"), post(generate))
            .route(&format!("{model}/generate_stream"), post(generate));
    }
    router
}

async fn regions() -> Json<[(); 0]> {
    Json([])
}

async fn register() -> InferenceError {
    InferenceError::unsupported(NO_SHARED_MEMORY)
}

async fn unregister() -> Result<()> {
    Ok(())
}

async fn generate() -> InferenceError {
    InferenceError::unsupported(
        "the generate extension is not supported by this server, POST to the model's /infer",
    )
}
