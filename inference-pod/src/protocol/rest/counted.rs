//! A door for `bench/instructions`: rows are read and predictions written as for a connection, without one.

use std::sync::Arc;

use super::rows::Refusal;
use super::{answer, question, rows};
use crate::error::{InferenceError, Result};
use crate::memory::Budget;
use crate::models::ModelVersion;
use crate::tensor::{InferenceRequest, InferenceResponse};

/// Reads a body with rows.
pub fn read(model: &ModelVersion, body: &[u8]) -> Result<Vec<InferenceRequest>> {
    let memory = Arc::new(Budget::of(None).reserve(1));
    let question = question::read(body, &memory)?;
    rows::decode(model, &question, &memory).map_err(|refusal| match refusal {
        Refusal::Rows(_) => InferenceError::invalid("the rows do not fit the model"),
        Refusal::Request(error) => error,
    })
}

/// Writes an answer.
pub fn write(model: &ModelVersion, answer: &InferenceResponse) -> Result<Vec<u8>> {
    let predictions = answer::predictions(model, answer);
    serde_json::to_vec(&predictions).map_err(|error| InferenceError::internal(error.to_string()))
}
