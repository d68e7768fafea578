//! Open Inference Protocol v2 over gRPC (port 8001).

mod convert;
mod describe;
mod service;

use crate::models::PLATFORM;

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
use tonic_health::ServingStatus;

use super::Service;
use crate::lifecycle::Lifecycle;

/// The largest message that the protocol's clients can send or take.
const LARGEST_MESSAGE_BYTES: usize = i32::MAX as usize;

/// The inference service.
pub fn inference(service: Arc<Service>) -> GrpcInferenceServiceServer<service::Grpc> {
    GrpcInferenceServiceServer::new(service::Grpc::new(service))
        .max_decoding_message_size(LARGEST_MESSAGE_BYTES)
        .max_encoding_message_size(LARGEST_MESSAGE_BYTES)
}

/// Keeps `grpc.health.v1` equal to readiness, for the server as a whole and for the inference service.
pub async fn report_health(lifecycle: Arc<Lifecycle>, reporter: tonic_health::server::HealthReporter) {
    let mut ready = lifecycle.watch();
    loop {
        let status = if *ready.borrow_and_update() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in ["", "inference.GRPCInferenceService"] {
            reporter.set_service_status(name, status).await;
        }
        if ready.changed().await.is_err() {
            return;
        }
    }
}
