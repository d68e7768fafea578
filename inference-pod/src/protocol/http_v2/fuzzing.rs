//! The door for the fuzz targets: decodes a body as this front does, without a server around it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::infer;
use crate::configuration::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::memory::Budget;
use crate::protocol::SharedMemory;
use crate::protocol::shared_memory::Access;
use crate::tensor::InferenceRequest;

/// The request that a body is, whose header `Inference-Header-Content-Length` has this value, if it has that header.
pub fn decode(model: &ModelConfig, json_length: Option<&[u8]>, body: &Bytes) -> Result<InferenceRequest> {
    let mut headers = HeaderMap::new();
    if let Some(value) = json_length {
        let value = HeaderValue::from_bytes(value)
            .map_err(|_| InferenceError::invalid("no HTTP server takes this header"))?;
        headers.insert(infer::JSON_LENGTH_HEADER, value);
    }
    let json_length = infer::json_length(&headers, body.len())?;
    let access = Access {
        shared: Arc::new(SharedMemory::new(true)),
        memory: Arc::new(Budget::of(None).reserve(1)),
    };
    infer::decode(model, body, json_length, &access).map(|(request, _)| request)
}
