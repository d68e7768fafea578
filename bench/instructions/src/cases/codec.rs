//! The codec: from bytes to requests, from answers to bytes.

use std::hint::black_box;
use std::sync::Arc;

use aiops_inference_pod::models::ModelVersion;
use aiops_inference_pod::protocol::{grpc_v2, http_v2, rest};
use aiops_inference_pod::tensor::InferenceResponse;
use bytes::Bytes;

use super::{Prepare, bodies, models};

/// Reads a body over HTTP.
fn http_request(
    model: Arc<ModelVersion>,
    body: Bytes,
    json_length: Option<usize>,
) -> anyhow::Result<Prepare> {
    let codec = Arc::new(http_v2::counted::Codec::new(model));
    Ok(Box::new(move || {
        let (codec, body) = (Arc::clone(&codec), body.clone());
        Ok(Box::new(move || {
            black_box(codec.read(&body, json_length)?);
            Ok(())
        }))
    }))
}

pub fn http_json_request() -> anyhow::Result<Prepare> {
    http_request(models::numbers()?, bodies::json_numbers(), None)
}

pub fn http_json_texts() -> anyhow::Result<Prepare> {
    http_request(models::texts()?, bodies::json_texts(), None)
}

pub fn http_binary_request() -> anyhow::Result<Prepare> {
    let (body, json_length) = bodies::binary_numbers();
    http_request(models::numbers()?, body, Some(json_length))
}

/// Writes an answer over HTTP.
fn http_answer(answer: InferenceResponse, binary: bool) -> anyhow::Result<Prepare> {
    Ok(Box::new(move || {
        let answer = answer.clone();
        Ok(Box::new(move || {
            black_box(http_v2::counted::Codec::write(&answer, binary)?);
            Ok(())
        }))
    }))
}

pub fn http_json_answer() -> anyhow::Result<Prepare> {
    http_answer(models::numbers_answer()?, false)
}

pub fn http_binary_answer() -> anyhow::Result<Prepare> {
    http_answer(models::numbers_answer()?, true)
}

/// Reads a message.
fn grpc_request(message: Bytes) -> anyhow::Result<Prepare> {
    let codec = Arc::new(grpc_v2::counted::Codec::default());
    Ok(Box::new(move || {
        let (codec, message) = (Arc::clone(&codec), message.clone());
        Ok(Box::new(move || {
            black_box(codec.read(message)?);
            Ok(())
        }))
    }))
}

pub fn grpc_raw_request() -> anyhow::Result<Prepare> {
    grpc_request(bodies::raw_message())
}

pub fn grpc_typed_request() -> anyhow::Result<Prepare> {
    grpc_request(bodies::typed_message())
}

pub fn grpc_answer() -> anyhow::Result<Prepare> {
    let codec = Arc::new(grpc_v2::counted::Codec::default());
    let answer = models::numbers_answer()?;
    Ok(Box::new(move || {
        let (codec, answer) = (Arc::clone(&codec), answer.clone());
        Ok(Box::new(move || {
            black_box(codec.write(answer)?);
            Ok(())
        }))
    }))
}

pub fn rest_rows() -> anyhow::Result<Prepare> {
    let (model, body) = (models::patients()?, bodies::rest_patients());
    Ok(Box::new(move || {
        let (model, body) = (Arc::clone(&model), body.clone());
        Ok(Box::new(move || {
            black_box(rest::counted::read(&model, &body)?);
            Ok(())
        }))
    }))
}

pub fn rest_answer() -> anyhow::Result<Prepare> {
    let (model, answer) = (models::patients()?, models::patients_answer()?);
    Ok(Box::new(move || {
        let (model, answer) = (Arc::clone(&model), answer.clone());
        Ok(Box::new(move || {
            black_box(rest::counted::write(&model, &answer)?);
            Ok(())
        }))
    }))
}
