//! A door for `bench/instructions`: bodies are read and answers written as for a connection, without one.

use std::sync::Arc;

use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;

use super::infer;
use super::outputs::Wanted;
use crate::error::Result;
use crate::memory::Budget;
use crate::models::ModelVersion;
use crate::protocol::SharedMemory;
use crate::protocol::shared_memory::Access;
use crate::tensor::{InferenceRequest, InferenceResponse};

/// Reads and writes for one model.
pub struct Codec {
    model: Arc<ModelVersion>,
    access: Access,
}

impl Codec {
    /// For this model.
    pub fn new(model: Arc<ModelVersion>) -> Self {
        let access = Access {
            shared: Arc::new(SharedMemory::new(false)),
            memory: Arc::new(Budget::of(None).reserve(1)),
        };
        Self { model, access }
    }

    /// Reads a body, whose JSON has so many bytes; all of them where nothing is given.
    pub fn read(&self, body: &Bytes, json_length: Option<usize>) -> Result<InferenceRequest> {
        infer::decode(&self.model.config, body, json_length, &self.access).map(|(request, _)| request)
    }

    /// Writes an answer, its tensors as binary data or within the JSON.
    pub fn write(answer: &InferenceResponse, binary: bool) -> Result<Response> {
        let wanted = Wanted {
            by_default: binary,
            ..Wanted::default()
        };
        Ok(infer::encode(answer, &wanted)?.into_response())
    }
}
