//! Open Inference Protocol v2 over gRPC (port 8001).

mod convert;
#[doc(hidden)]
pub mod counted;
mod describe;
mod describe_config;
mod elements;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inflate;
mod meter;
mod pauses;
mod service;
mod settings;
mod shares;

/// Messages and service generated from `proto/`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; proto/ has the comments"
)]
pub mod proto {
    tonic::include_proto!("inference");
}

use std::sync::Arc;

use proto::grpc_inference_service_server::GrpcInferenceServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic_health::ServingStatus;

use super::Service;
use super::intake::TENSOR_EXPANSION;
use crate::lifecycle::Lifecycle;

/// The largest message that the protocol's clients can take.
const LARGEST_MESSAGE_BYTES: usize = i32::MAX as usize;

/// The inference service. Every client says that it accepts gzip and deflate, so answers are compressed only where the server is told to.
pub fn inference(service: Arc<Service>, compress_answers: bool) -> GrpcInferenceServiceServer<service::Grpc> {
    let most = service.intake.max_message_bytes;
    let largest = service.intake.budget.largest_request(TENSOR_EXPANSION);
    let server = GrpcInferenceServiceServer::new(service::Grpc::new(service))
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate)
        .max_decoding_message_size(largest.map_or(most, |size| size.min(most)))
        .max_encoding_message_size(LARGEST_MESSAGE_BYTES);
    if compress_answers {
        server
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Deflate)
    } else {
        server
    }
}

/// Counts what comes in against the memory for requests, and lets nobody who stopped sending hold up the end.
pub fn metered(service: Arc<Service>, routes: tonic::service::Routes) -> tonic::service::Routes {
    let layer = axum::middleware::from_fn_with_state(service, meter::meter);
    routes.into_axum_router().layer(layer).into()
}

const HEALTH_NAMES: [&str; 2] = ["", "inference.GRPCInferenceService"];

/// Keeps `grpc.health.v1` equal to readiness, for the server as a whole and for the inference service. When the server
/// stops, the statuses go, and with them the streams of those who watch them.
pub async fn report_health(
    lifecycle: Arc<Lifecycle>,
    mut reporter: tonic_health::server::HealthReporter,
    stop: CancellationToken,
) {
    let mut ready = lifecycle.watch();
    loop {
        let status = if *ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in HEALTH_NAMES {
            reporter.set_service_status(name, status).await;
        }
        tokio::select! {
            () = stop.cancelled() => break,
            changed = ready.changed() => if changed.is_err() {
                break;
            },
        }
    }
    for name in HEALTH_NAMES {
        reporter.clear_service_status(name).await;
    }
}
