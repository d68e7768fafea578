//! The door for the fuzz targets: decodes a message as this front does, without a server around it.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message as _;

use super::convert;
use super::proto::ModelInferRequest;
use crate::error::{InferenceError, Result};
use crate::memory::Budget;
use crate::protocol::SharedMemory;
use crate::protocol::shared_memory::Access;
use crate::tensor::InferenceRequest;

/// The request that the bytes of a `ModelInferRequest` are.
pub fn decode(message: Bytes) -> Result<InferenceRequest> {
    let message = ModelInferRequest::decode(message)
        .map_err(|error| InferenceError::invalid(format!("no ModelInferRequest: {error}")))?;
    convert::version(&message.model_version)?;
    let access = Access {
        shared: Arc::new(SharedMemory::new(true)),
        memory: Arc::new(Budget::of(None).reserve(1)),
    };
    convert::request(message, &access).map(|(request, _)| request)
}
