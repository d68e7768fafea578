//! Between messages of the protocol and internal requests.

use std::collections::HashMap;

use bytes::Bytes;

use super::proto::model_infer_request::InferInputTensor;
use super::proto::model_infer_response::InferOutputTensor;
use super::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, infer_parameter,
};
use crate::error::{InferenceError, Result};
use crate::protocol::binary_tensor;
use crate::protocol::classification::{self, Classes};
use crate::protocol::parameters::{Parameter, check_tensor_parameter, schedule_policy};
use crate::tensor::{DataType, InferenceRequest, InferenceResponse, Tensor, TensorData};

/// A version number as clients write it; empty for none.
pub(super) fn version(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        InferenceError::invalid(format!(
            "failed to get model version from specified version string '{text}', it should be an integral value > 0"
        ))
    })
}

/// What a message asks for, and of which outputs it wants classes.
pub(super) fn request(message: ModelInferRequest) -> Result<(InferenceRequest, Classes)> {
    let parameters = parameters(message.parameters);
    let policy = schedule_policy(parameters.iter().map(|(name, value)| (name.as_str(), value)))?;
    let mut classes = Classes::new();
    for output in &message.outputs {
        for (name, value) in &output.parameters {
            check_tensor_parameter(&output.name, name)?;
            if let ("classification", Some(value)) = (name.as_str(), parameter(value.clone())) {
                classification::want(&mut classes, &output.name, &value)?;
            }
        }
    }
    let raw = message.raw_input_contents;
    if !raw.is_empty() && raw.len() != message.inputs.len() {
        return Err(InferenceError::invalid(format!(
            "expected raw_input_contents for {} inputs, but got {}",
            message.inputs.len(),
            raw.len()
        )));
    }
    let mut raw = raw.into_iter();
    let inputs = message
        .inputs
        .into_iter()
        .map(|input| tensor(input, raw.next()))
        .collect::<Result<_>>()?;
    let outputs = message.outputs.into_iter().map(|output| output.name).collect();
    let request = InferenceRequest {
        id: message.id,
        inputs,
        outputs,
        timeout: policy.timeout,
        priority: policy.priority,
        trace: None,
    };
    Ok((request, classes))
}

fn parameters(parameters: HashMap<String, InferParameter>) -> Vec<(String, Parameter)> {
    parameters
        .into_iter()
        .filter_map(|(name, value)| Some((name, parameter(value)?)))
        .collect()
}

fn parameter(parameter: InferParameter) -> Option<Parameter> {
    use infer_parameter::ParameterChoice;
    Some(match parameter.parameter_choice? {
        ParameterChoice::BoolParam(value) => Parameter::Bool(value),
        ParameterChoice::Int64Param(value) => Parameter::Integer(value),
        ParameterChoice::Uint64Param(value) => Parameter::Unsigned(value),
        ParameterChoice::DoubleParam(value) => Parameter::Float(value),
        ParameterChoice::StringParam(value) => Parameter::Text(value),
    })
}

fn tensor(input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor> {
    let name = input.name;
    for parameter in input.parameters.keys() {
        check_tensor_parameter(&name, parameter)?;
    }
    let datatype = DataType::from_name(&input.datatype).ok_or_else(|| {
        InferenceError::invalid(format!(
            "invalid datatype '{}' for input '{name}'",
            input.datatype
        ))
    })?;
    let data = match (raw, input.contents) {
        (Some(_), Some(contents)) if contents != InferTensorContents::default() => {
            return Err(InferenceError::invalid(format!(
                "contents field must not be specified when using raw_input_contents for '{name}'"
            )));
        }
        (Some(raw), _) => binary_tensor::decode(&name, datatype, raw)?,
        (None, contents) => typed(&name, datatype, contents.unwrap_or_default())?,
    };
    Tensor::new(name, datatype, input.shape, data)
}

/// Elements out of the member that fits the datatype. The narrow integers travel in wider ones.
fn typed(name: &str, datatype: DataType, contents: InferTensorContents) -> Result<TensorData> {
    let misfit =
        |value: String| InferenceError::invalid(format!("input '{name}': {value} does not fit {datatype}"));
    macro_rules! narrow {
        ($values:expr, $type:ty) => {{
            let mut bytes = Vec::with_capacity($values.len() * size_of::<$type>());
            for value in $values {
                let narrow = <$type>::try_from(value).map_err(|_| misfit(value.to_string()))?;
                bytes.extend_from_slice(&narrow.to_le_bytes());
            }
            bytes
        }};
    }
    let bytes = match datatype {
        DataType::Bytes => return Ok(TensorData::Strings(contents.bytes_contents)),
        DataType::Bool => contents.bool_contents.into_iter().map(u8::from).collect(),
        DataType::Uint8 => narrow!(contents.uint_contents, u8),
        DataType::Uint16 => narrow!(contents.uint_contents, u16),
        DataType::Uint32 => narrow!(contents.uint_contents, u32),
        DataType::Uint64 => narrow!(contents.uint64_contents, u64),
        DataType::Int8 => narrow!(contents.int_contents, i8),
        DataType::Int16 => narrow!(contents.int_contents, i16),
        DataType::Int32 => narrow!(contents.int_contents, i32),
        DataType::Int64 => narrow!(contents.int64_contents, i64),
        DataType::Fp32 => contents
            .fp32_contents
            .into_iter()
            .flat_map(f32::to_le_bytes)
            .collect(),
        DataType::Fp64 => contents
            .fp64_contents
            .into_iter()
            .flat_map(f64::to_le_bytes)
            .collect(),
        DataType::Fp16 | DataType::Bf16 => {
            return Err(InferenceError::invalid(format!(
                "input '{name}': {datatype} must be sent as raw_input_contents"
            )));
        }
    };
    Ok(TensorData::Fixed(bytes.into()))
}

/// Always raw: tritonclient reads numbers from nowhere else.
pub(super) fn response(answer: InferenceResponse) -> ModelInferResponse {
    let raw_output_contents = answer
        .outputs
        .iter()
        .map(|output| binary_tensor::encode(&output.data))
        .collect();
    let describe = |output: Tensor| InferOutputTensor {
        name: output.name,
        datatype: output.datatype.name().to_owned(),
        shape: output.shape,
        ..InferOutputTensor::default()
    };
    ModelInferResponse {
        model_name: answer.model,
        model_version: answer.version.to_string(),
        id: answer.id,
        parameters: HashMap::new(),
        outputs: answer.outputs.into_iter().map(describe).collect(),
        raw_output_contents,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
        InferInputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            contents,
            ..InferInputTensor::default()
        }
    }

    #[test]
    fn typed_contents_become_bytes_of_their_own_width() {
        let contents = InferTensorContents {
            int_contents: vec![-1, 2],
            ..Default::default()
        };
        let tensor = tensor(input("INT8", &[2], Some(contents)), None).unwrap();
        assert_eq!(tensor.data, TensorData::Fixed(Bytes::from_static(&[0xff, 2])));
        let contents = InferTensorContents {
            int_contents: vec![300],
            ..Default::default()
        };
        let error = super::tensor(input("INT8", &[1], Some(contents)), None).unwrap_err();
        assert!(error.message.contains("300 does not fit INT8"), "{error}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let contents = InferTensorContents {
            fp32_contents: vec![1.0],
            ..Default::default()
        };
        let both = tensor(
            input("FP32", &[1], Some(contents.clone())),
            Some(Bytes::from_static(&[0; 4])),
        );
        assert!(both.unwrap_err().message.contains("must not be specified"));
        assert!(tensor(input("FP32", &[2], Some(contents)), None).is_err());
        assert!(
            tensor(input("FP16", &[1], None), None)
                .unwrap_err()
                .message
                .contains("raw_input_contents")
        );
        assert!(
            tensor(input("FP31", &[1], None), None)
                .unwrap_err()
                .message
                .contains("invalid datatype")
        );
        let message = ModelInferRequest {
            inputs: vec![input("FP32", &[1], None), input("FP32", &[1], None)],
            raw_input_contents: vec![Bytes::from_static(&[0; 4])],
            ..Default::default()
        };
        assert!(
            request(message)
                .unwrap_err()
                .message
                .contains("for 2 inputs, but got 1")
        );
        assert!(version("two").is_err());
        assert_eq!(version("").unwrap(), None);
    }
}
