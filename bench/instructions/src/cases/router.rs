//! The router: from a path to what answers it, and from a model's name to the version that does.

use std::hint::black_box;

use aiops_inference_pod::models::counted;
use aiops_inference_pod::protocol::grpc_v2::proto::ModelReadyRequest;
use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use prost::Message as _;

use super::requests::{answer, call, check, grpc_router, http_router, post, rest_router};
use super::{Prepare, bodies, models};

/// Asks something that is answered at once.
fn asked(
    router: Router,
    request: impl Fn() -> http::Result<Request<Body>> + 'static,
) -> anyhow::Result<Prepare> {
    Ok(Box::new(move || {
        let answer = answer(&router, request()?);
        Ok(Box::new(move || {
            let answer = answer.end()??;
            check(&answer)?;
            black_box(answer);
            Ok(())
        }))
    }))
}

pub fn http_model_ready() -> anyhow::Result<Prepare> {
    let (service, _) = models::service()?;
    asked(http_router(&service), || {
        Request::get("/v2/models/neighbour-17/versions/1/ready").body(Body::empty())
    })
}

/// Refused before its body is read.
pub fn http_unknown_model() -> anyhow::Result<Prepare> {
    let (service, _) = models::service()?;
    let (router, body) = (http_router(&service), bodies::json_numbers());
    Ok(Box::new(move || {
        let request = post("/v2/models/nobody/infer", "application/json", body.clone())?;
        let answer = answer(&router, request);
        Ok(Box::new(move || {
            let (head, body) = answer.end()??;
            anyhow::ensure!(head.status() == StatusCode::NOT_FOUND, "the answer is {head:?}");
            black_box(body);
            Ok(())
        }))
    }))
}

pub fn grpc_model_ready() -> anyhow::Result<Prepare> {
    let (service, _) = models::service()?;
    let message = ModelReadyRequest {
        name: "neighbour-17".to_owned(),
        version: "1".to_owned(),
    };
    let message = message.encode_to_vec().into();
    asked(grpc_router(&service), move || call("ModelReady", &message))
}

pub fn rest_health() -> anyhow::Result<Prepare> {
    let (service, _) = models::service()?;
    asked(rest_router(&service), || {
        Request::get("/health/ready").body(Body::empty())
    })
}

/// By name alone, where versions share the requests, and by number.
pub fn choose_version() -> anyhow::Result<Prepare> {
    let (service, _) = models::service()?;
    let registry = std::sync::Arc::clone(&service.registry);
    Ok(Box::new(move || {
        let registry = std::sync::Arc::clone(&registry);
        Ok(Box::new(move || {
            for _ in 0..10 {
                for (model, version) in [("neighbour-23", None), ("shared", None), ("shared", Some(2))] {
                    black_box(counted::choose(&registry, black_box(model), version)?);
                }
            }
            Ok(())
        }))
    }))
}
