//! A door for `bench/instructions`: messages are read and written as for a call, without one.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use super::convert;
use super::proto::ModelInferRequest;
use crate::error::{InferenceError, Result};
use crate::memory::Budget;
use crate::protocol::SharedMemory;
use crate::protocol::shared_memory::{Access, Places};
use crate::tensor::{InferenceRequest, InferenceResponse};

/// Reads and writes messages.
pub struct Codec {
    access: Access,
    places: Places,
}

impl Default for Codec {
    fn default() -> Self {
        let access = Access {
            shared: Arc::new(SharedMemory::new(false)),
            memory: Arc::new(Budget::of(None).reserve(1)),
        };
        Self {
            access,
            places: Places::default(),
        }
    }
}

impl Codec {
    /// Reads a message off the wire.
    pub fn read(&self, message: Bytes) -> Result<InferenceRequest> {
        let message =
            ModelInferRequest::decode(message).map_err(|error| InferenceError::invalid(error.to_string()))?;
        convert::request(message, &self.access).map(|(request, _)| request)
    }

    /// Writes an answer as it goes onto the wire.
    pub fn write(&self, answer: InferenceResponse) -> Result<Bytes> {
        let answer = convert::response(answer, &self.places)?;
        let mut bytes = BytesMut::new();
        answer
            .encode(&mut bytes)
            .map_err(|error| InferenceError::internal(error.to_string()))?;
        Ok(bytes.freeze())
    }
}
