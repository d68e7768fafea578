//! Inference requests and answers over HTTP: JSON, with tensors in it or as binary data behind it.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::outputs::{Wanted, WantedOutputs};
use crate::configuration::ModelConfig;
use crate::error::{InferenceError, Result};
use crate::protocol::compression::Encoding;
use crate::protocol::parameters::{Parameter, check_reserved, schedule_policy};
use crate::protocol::shared_memory::Access;
use crate::protocol::{binary_tensor, classification, json_tensor};
use crate::tensor::{
    DataType, InferenceRequest, InferenceResponse, InputOf, Tensor, TensorData, element_count,
};

/// Length of the JSON before the binary data, in both directions.
pub(super) const JSON_LENGTH_HEADER: &str = "inference-header-content-length";

pub(super) type Parameters = BTreeMap<String, Parameter>;

#[derive(Deserialize)]
#[serde(expecting = "an object with \"inputs\"")]
struct Request<'a> {
    #[serde(default)]
    id: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    inputs: Vec<Input<'a>>,
    #[serde(borrow)]
    outputs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Input<'a> {
    name: String,
    shape: Vec<i64>,
    datatype: String,
    #[serde(default)]
    parameters: Parameters,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// The length of the JSON part, if the request says that there is more than that.
pub(super) fn json_length(headers: &HeaderMap, body: usize) -> Result<Option<usize>> {
    let mut values = headers.get_all(JSON_LENGTH_HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.any(|other| other != value) {
        return Err(InferenceError::invalid(
            "Inference-Header-Content-Length is there more than once with different values: send it once",
        ));
    }
    let length = value
        .to_str()
        .ok()
        .and_then(|text| text.trim().parse::<i64>().ok());
    let length = length.ok_or_else(|| {
        InferenceError::invalid(format!(
            "Unable to parse Inference-Header-Content-Length, got: {value:?}"
        ))
    })?;
    match usize::try_from(length) {
        Ok(length) if length <= body => Ok(Some(length)),
        _ => Err(InferenceError::invalid(format!(
            "inference header size should be in range (0, {body}), got: {length}"
        ))),
    }
}

/// Decodes a body.
pub(super) fn decode(
    model: &ModelConfig,
    body: &Bytes,
    json_length: Option<usize>,
    access: &Access,
) -> Result<(InferenceRequest, Wanted)> {
    if json_length == Some(0) {
        return raw_request(model, body, access);
    }
    let length = json_length.unwrap_or(body.len());
    let mut binary = body.slice(length..);
    let json = &body[..length];
    let request: Request<'_> = serde_json::from_slice(json).map_err(|error| malformed(json, &error))?;
    check_reserved(request.parameters.keys().map(String::as_str), &[])?;
    let policy = schedule_policy(
        request
            .parameters
            .iter()
            .map(|(name, value)| (name.as_str(), value)),
    )?;
    let by_default = match request.parameters.get("binary_data_output") {
        Some(value) => value.as_bool("binary_data_output")?,
        None => false,
    };
    let inputs = request
        .inputs
        .iter()
        .map(|input| decode_input(&model.name, input, &mut binary, access))
        .collect::<Result<_>>()?;
    if !binary.is_empty() {
        return Err(InferenceError::invalid(format!(
            "unexpected additional input data for model '{}': {} bytes belong to no input",
            model.name,
            binary.len()
        )));
    }
    let mut wanted = WantedOutputs::new(model, by_default, access);
    if let Some(outputs) = request.outputs {
        wanted.read(outputs)?;
    }
    let WantedOutputs { outputs, wanted, .. } = wanted;
    classification::check(model, &wanted.classes)?;
    Ok((
        InferenceRequest {
            id: request.id,
            inputs,
            outputs,
            timeout: policy.timeout,
            priority: policy.priority,
            trace: None,
            headers: None,
        },
        wanted,
    ))
}

/// Python writes numbers that JSON does not have, and its users do not know.
fn malformed(json: &[u8], error: &serde_json::Error) -> InferenceError {
    let has = |word: &[u8]| json.windows(word.len()).any(|part| part == word);
    let remedy = if error.is_syntax() && (has(b"NaN") || has(b"Infinity")) {
        "; JSON has no NaN and no Infinity, send such numbers as binary data"
    } else {
        ""
    };
    InferenceError::invalid(format!(
        "failed to parse the request JSON buffer: {error}{remedy}"
    ))
}

fn decode_input(model: &str, input: &Input<'_>, binary: &mut Bytes, access: &Access) -> Result<Tensor> {
    let name = &input.name;
    let datatype = DataType::from_name(&input.datatype).ok_or_else(|| {
        InferenceError::invalid(format!("invalid datatype for input {name}: '{}'", input.datatype))
    })?;
    let count = element_count(name, &input.shape)?;
    let size = input.parameters.get("binary_data_size");
    let in_region = input.parameters.contains_key("shared_memory_region");
    let subject = InputOf { model, name };
    let data = match (input.data, size, in_region) {
        (Some(json), None, false) => {
            let data = json_tensor::decode(name, datatype, json.get(), count, &access.memory)?;
            check_count(name, datatype, &data, count)?;
            data
        }
        (None, Some(size), false) => {
            let size = usize::try_from(size.as_unsigned("binary_data_size")?).unwrap_or(usize::MAX);
            if size > binary.len() {
                return Err(InferenceError::invalid(format!(
                    "unexpected size for input '{name}', expecting {} additional bytes for model '{model}'",
                    size - binary.len()
                )));
            }
            binary_tensor::decode(subject, datatype, binary.split_to(size), Some(&access.memory))?
        }
        (None, None, true) => {
            let parameters = input.parameters.iter();
            let bytes = access.input(name, parameters.map(|(name, value)| (name.as_str(), value)))?;
            binary_tensor::decode(subject, datatype, bytes.unwrap_or_default(), Some(&access.memory))?
        }
        _ => return Err(not_one_source(input.data.is_some(), size.is_some(), in_region)),
    };
    Tensor::of_model(model, name.clone(), datatype, input.shape.clone(), data)
}

fn not_one_source(json: bool, binary: bool, in_region: bool) -> InferenceError {
    let set: Vec<_> = [
        (json, "'data'"),
        (binary, "'binary_data_size'"),
        (in_region, "'shared_memory_region'"),
    ]
    .into_iter()
    .filter_map(|(is_set, field)| is_set.then_some(field))
    .collect();
    let found = match set.as_slice() {
        [] => "no field is set".to_owned(),
        set => format!("set {}", set.join(" ")),
    };
    InferenceError::invalid(format!(
        "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', \
         'shared_memory_region' in 'parameters'. But {found}"
    ))
}

fn check_count(name: &str, datatype: DataType, data: &TensorData, expected: usize) -> Result<()> {
    let count = match data {
        TensorData::Strings(strings) => strings.len(),
        TensorData::Fixed(bytes) => bytes.len() / datatype.size().unwrap_or(1),
    };
    if count == expected {
        return Ok(());
    }
    Err(InferenceError::invalid(format!(
        "Unable to parse 'data': Shape does not match true shape of 'data' field: input '{name}' has {count} elements, \
         and its shape holds {expected}"
    )))
}

/// A body of nothing but the bytes of the only input, one row of them.
fn raw_request(model: &ModelConfig, body: &Bytes, access: &Access) -> Result<(InferenceRequest, Wanted)> {
    let [input] = model.inputs.as_slice() else {
        return Err(InferenceError::invalid(format!(
            "Raw request must only have 1 input (found 1) to be deduced but got {} inputs in '{}' model configuration",
            model.inputs.len(),
            model.name
        )));
    };
    let subject = InputOf {
        model: &model.name,
        name: &input.name,
    };
    let data = binary_tensor::decode(subject, input.datatype, body.clone(), Some(&access.memory))?;
    let elements = match (&data, input.datatype.size()) {
        (TensorData::Strings(strings), _) => strings.len(),
        (_, size) => body.len() / size.unwrap_or(1),
    };
    let sizes = input.dims.iter().filter(|size| **size > 0);
    let fixed = sizes.fold(1_i64, |product, size| product.saturating_mul(*size));
    let open = input.dims.iter().filter(|size| **size == -1).count();
    if open > 1 {
        return Err(InferenceError::invalid(format!(
            "raw binary requests need a model with at most one open size, and input '{}' has {open}",
            input.name
        )));
    }
    let rest = i64::try_from(elements).unwrap_or(i64::MAX) / fixed;
    let batch = (model.max_batch_size > 0).then_some(1);
    let inner = input
        .dims
        .iter()
        .map(|size| if *size == -1 { rest } else { *size });
    let shape = batch.into_iter().chain(inner).collect();
    let tensor = Tensor::of_model(&model.name, input.name.clone(), input.datatype, shape, data)?;
    let request = InferenceRequest {
        inputs: vec![tensor],
        ..InferenceRequest::default()
    };
    Ok((
        request,
        Wanted {
            by_default: true,
            ..Wanted::default()
        },
    ))
}

#[derive(Serialize)]
struct Answer<'a> {
    model_name: &'a str,
    model_version: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    outputs: Vec<AnswerTensor<'a>>,
}

#[derive(Serialize)]
struct AnswerTensor<'a> {
    name: &'a str,
    datatype: &'static str,
    shape: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    parameters: Option<BinarySize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<json_tensor::Written<'a>>,
}

#[derive(Serialize)]
struct BinarySize {
    binary_data_size: usize,
}

/// An encoded answer: the body, and how much of it is JSON when not all of it is.
pub(super) struct Encoded {
    body: Bytes,
    /// That of the JSON before it was compressed.
    json_length: Option<usize>,
    encoding: Option<Encoding>,
}

impl Encoded {
    /// The same in the encoding that the client accepts.
    pub(super) fn compressed(self, encoding: Option<Encoding>) -> Result<Self> {
        let Some(accepted) = encoding else {
            return Ok(self);
        };
        let body = accepted
            .deflate(&self.body)
            .map_err(|error| InferenceError::internal(format!("the answer cannot be compressed: {error}")))?;
        Ok(Self {
            body,
            encoding,
            ..self
        })
    }
}

/// Encodes an answer.
pub(super) fn encode(answer: &InferenceResponse, wanted: &Wanted) -> Result<Encoded> {
    let mut binary = Vec::new();
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    for output in &answer.outputs {
        let (parameters, data) = if let Some(place) = wanted.places.get(&output.name) {
            place.write(&output.name, &binary_tensor::encode(&output.data))?;
            (None, None)
        } else if wanted.binary(&output.name) {
            let bytes = binary_tensor::encode(&output.data);
            let size = BinarySize {
                binary_data_size: bytes.len(),
            };
            binary.push(bytes);
            (Some(size), None)
        } else {
            json_tensor::check_expressible(&output.name, output.datatype, &output.data)?;
            (
                None,
                Some(json_tensor::Written {
                    datatype: output.datatype,
                    data: &output.data,
                }),
            )
        };
        let datatype = output.datatype.name();
        outputs.push(AnswerTensor {
            name: &output.name,
            datatype,
            shape: &output.shape,
            parameters,
            data,
        });
    }
    let json = Answer {
        model_name: &answer.model,
        model_version: answer.version.to_string(),
        id: &answer.id,
        outputs,
    };
    let json = serde_json::to_vec(&json).map_err(|error| {
        InferenceError::internal(format!("the answer cannot be written as JSON: {error}"))
    })?;
    if binary.is_empty() {
        return Ok(Encoded {
            body: json.into(),
            json_length: None,
            encoding: None,
        });
    }
    let json_length = json.len();
    let mut body = BytesMut::with_capacity(json_length + binary.iter().map(Bytes::len).sum::<usize>());
    body.extend_from_slice(&json);
    for bytes in binary {
        body.extend_from_slice(&bytes);
    }
    Ok(Encoded {
        body: body.freeze(),
        json_length: Some(json_length),
        encoding: None,
    })
}

impl IntoResponse for Encoded {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        let headers = response.headers_mut();
        let content_type = match self.json_length {
            Some(length) => {
                headers.insert(JSON_LENGTH_HEADER, HeaderValue::from(length));
                "application/octet-stream"
            }
            None => "application/json",
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(encoding) = self.encoding {
            headers.insert(
                header::CONTENT_ENCODING,
                HeaderValue::from_static(encoding.name()),
            );
        }
        response
    }
}

#[cfg(test)]
mod tests;
