//! Whole requests through each front: routed, read, put into a batch of one, answered, written.

use std::hint::black_box;
use std::sync::Arc;

use aiops_inference_pod::arguments::RestArguments;
use aiops_inference_pod::models::ModelVersion;
use aiops_inference_pod::protocol::{Service, access, grpc_v2, http_v2, rest};
use axum::Router;
use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response};
use tower::Service as _;

use super::waiting::Waiting;
use super::{Prepare, bodies, models};

/// The routers as the server has them.
pub fn http_router(service: &Arc<Service>) -> Router {
    access::guard_http(&service.access, http_v2::router(Arc::clone(service)))
}

pub fn rest_router(service: &Arc<Service>) -> Router {
    let arguments = RestArguments {
        rest_docs: true,
        rest_cors_origin: Vec::new(),
    };
    access::guard_rest(&service.access, rest::router(Arc::clone(service), &arguments))
}

pub fn grpc_router(service: &Arc<Service>) -> Router {
    let inference = grpc_v2::inference(Arc::clone(service), false);
    let routes = grpc_v2::metered(Arc::clone(service), tonic::service::Routes::new(inference));
    access::guard_grpc(&service.access, routes.into_axum_router())
}

/// A request that is posted.
pub fn post(path: &str, content_type: &str, body: Bytes) -> http::Result<Request<Body>> {
    Request::post(path)
        .header("host", "numbers.models.svc:8000")
        .header("user-agent", "bench")
        .header("content-type", content_type)
        .header("content-length", body.len())
        .body(Body::from(body))
}

/// A call of the inference service.
pub fn call(method: &str, message: &Bytes) -> http::Result<Request<Body>> {
    let path = format!("/inference.GRPCInferenceService/{method}");
    let mut request = post(&path, "application/grpc", bodies::framed(message))?;
    *request.version_mut() = http::Version::HTTP_2;
    request
        .headers_mut()
        .insert("te", http::HeaderValue::from_static("trailers"));
    Ok(request)
}

/// The answer to a request, its body read to the end.
pub fn answer(
    router: &Router,
    request: Request<Body>,
) -> Waiting<Result<(Response<()>, Bytes), axum::Error>> {
    let mut router = router.clone();
    Waiting::new(async move {
        let Ok(response) = router.call(request).await;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await?;
        Ok((Response::from_parts(head, ()), body))
    })
}

/// Whether an answer says that all is well.
pub fn check((head, body): &(Response<()>, Bytes)) -> anyhow::Result<()> {
    let refused = head.headers().get("grpc-status").is_some_and(|code| code != "0");
    anyhow::ensure!(
        head.status().is_success() && !refused,
        "the answer is {head:?}: {}",
        String::from_utf8_lossy(body)
    );
    Ok(())
}

fn asked(
    router: Router,
    model: Arc<ModelVersion>,
    request: impl Fn() -> http::Result<Request<Body>> + 'static,
) -> anyhow::Result<Prepare> {
    Ok(Box::new(move || {
        let (mut answer, model) = (answer(&router, request()?), Arc::clone(&model));
        Ok(Box::new(move || {
            answer.begin()?;
            model.answer_one_batch();
            let answer = answer.end()??;
            check(&answer)?;
            black_box(answer);
            Ok(())
        }))
    }))
}

pub fn http_json() -> anyhow::Result<Prepare> {
    let (service, model) = models::service()?;
    let body = bodies::json_numbers();
    asked(http_router(&service), model, move || {
        post("/v2/models/numbers/infer", "application/json", body.clone())
    })
}

pub fn http_binary() -> anyhow::Result<Prepare> {
    let (service, model) = models::service()?;
    let (body, json_length) = bodies::binary_numbers();
    asked(http_router(&service), model, move || {
        let path = "/v2/models/numbers/versions/1/infer";
        let mut request = post(path, "application/octet-stream", body.clone())?;
        request
            .headers_mut()
            .insert("inference-header-content-length", json_length.into());
        Ok(request)
    })
}

pub fn grpc() -> anyhow::Result<Prepare> {
    let (service, model) = models::service()?;
    let message = bodies::raw_message();
    asked(grpc_router(&service), model, move || call("ModelInfer", &message))
}

pub fn rest() -> anyhow::Result<Prepare> {
    let (service, model) = models::service()?;
    let body = bodies::rest_numbers();
    asked(rest_router(&service), model, move || {
        post("/v1/models/numbers:predict", "application/json", body.clone())
    })
}
