//! Between messages of the protocol and internal requests.

use std::collections::HashMap;

use bytes::Bytes;

use super::proto::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::proto::model_infer_response::InferOutputTensor;
use super::proto::{
    InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, infer_parameter,
};
use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::protocol::binary_tensor;
use crate::protocol::classification::{self, Classes};
pub(super) use crate::protocol::parameters::version;
use crate::protocol::parameters::{Parameter, check_reserved, schedule_policy};
use crate::protocol::shared_memory::{Access, Places};
use crate::tensor::{DataType, InferenceRequest, InferenceResponse, InputOf, Tensor, TensorData};

/// What a message asks for beyond what a model is asked.
#[derive(Default)]
pub(super) struct Wanted {
    /// Outputs of which classes are wanted.
    pub(super) classes: Classes,
    /// Outputs that are wanted in shared memory.
    pub(super) places: Places,
}

/// Parameters of Triton's own that requests may have.
const TRITON_PARAMETERS: [&str; 1] = ["triton_enable_empty_final_response"];

/// Bytes that are to be gone through or copied to decode a message. Those of raw numbers are neither.
pub(super) fn effort(message: &ModelInferRequest) -> usize {
    let has_strings = message
        .inputs
        .iter()
        .any(|input| input.datatype == DataType::Bytes.name());
    let raw = has_strings.then(|| message.raw_input_contents.iter().map(Bytes::len).sum::<usize>());
    let typed = message.inputs.iter().filter_map(|input| input.contents.as_ref());
    let elements = |contents: &InferTensorContents| {
        contents.bool_contents.len()
            + contents.int_contents.len()
            + contents.int64_contents.len()
            + contents.uint_contents.len()
            + contents.uint64_contents.len()
            + contents.fp32_contents.len()
            + contents.fp64_contents.len()
            + contents.bytes_contents.len()
    };
    let parts = message.inputs.len() + message.outputs.len();
    raw.unwrap_or_default() + (parts + typed.map(elements).sum::<usize>()) * size_of::<u64>()
}

/// The same for an answer.
pub(super) fn answer_effort(answer: &InferenceResponse, wanted: &Wanted) -> usize {
    let is_copied = |output: &&Tensor| {
        matches!(output.data, TensorData::Strings(_))
            || wanted.classes.contains_key(&output.name)
            || wanted.places.contains_key(&output.name)
    };
    let copied = answer.outputs.iter().filter(is_copied);
    copied.map(|output| output.data.encoded_size()).sum()
}

/// What a message asks for.
pub(super) fn request(message: ModelInferRequest, access: &Access) -> Result<(InferenceRequest, Wanted)> {
    let parameters = parameters(message.parameters);
    check_reserved(
        parameters.iter().map(|(name, _)| name.as_str()),
        &TRITON_PARAMETERS,
    )?;
    let policy = schedule_policy(parameters.iter().map(|(name, value)| (name.as_str(), value)))?;
    let mut wanted = Wanted::default();
    for output in &message.outputs {
        wanted.add(output, access)?;
    }
    let (model, raw) = (message.model_name, message.raw_input_contents);
    if raw.len() > message.inputs.len() {
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
        .map(|mut input| {
            let parameters = self::parameters(std::mem::take(&mut input.parameters));
            let referred = parameters.iter().map(|(name, value)| (name.as_str(), value));
            match access.input(&input.name, referred)? {
                // An input in shared memory has no entry among the raw contents.
                Some(bytes) => tensor(&model, input, Some(bytes), &access.memory),
                None => tensor(&model, input, raw.next(), &access.memory),
            }
        })
        .collect::<Result<_>>()?;
    let outputs = message.outputs.into_iter().map(|output| output.name).collect();
    let request = InferenceRequest {
        id: message.id,
        inputs,
        outputs,
        timeout: policy.timeout,
        priority: policy.priority,
        trace: None,
        headers: None,
    };
    Ok((request, wanted))
}

impl Wanted {
    fn add(&mut self, output: &InferRequestedOutputTensor, access: &Access) -> Result<()> {
        let parameters = parameters(output.parameters.clone());
        for (name, value) in &parameters {
            if name == "classification" {
                classification::want(&mut self.classes, &output.name, value)?;
            }
        }
        let referred = parameters.iter().map(|(name, value)| (name.as_str(), value));
        if let Some(place) = access.place(&output.name, referred)? {
            classification::check_place(&self.classes, &output.name)?;
            self.places.insert(output.name.clone(), place);
        }
        Ok(())
    }
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

fn tensor(model: &str, input: InferInputTensor, raw: Option<Bytes>, memory: &Reservation) -> Result<Tensor> {
    let name = input.name;
    let datatype = DataType::from_name(&input.datatype).ok_or_else(|| {
        InferenceError::invalid(format!("invalid datatype for input {name}: '{}'", input.datatype))
    })?;
    let subject = InputOf { model, name: &name };
    let data = match (raw, input.contents) {
        (Some(_), Some(contents)) if contents != InferTensorContents::default() => {
            return Err(InferenceError::invalid(format!(
                "contents field must not be specified when using raw_input_contents for {subject}"
            )));
        }
        (Some(raw), _) => binary_tensor::decode(subject, datatype, raw, Some(memory))?,
        (None, contents) => {
            let contents = contents.unwrap_or_default();
            check_contents(subject, datatype, &contents, &input.shape)?;
            typed(&name, datatype, contents)?
        }
    };
    Tensor::of_model(model, name, datatype, input.shape, data)
}

/// Whether the elements are in the member of their datatype. Without any they may be of a tensor that has none.
fn check_contents(
    subject: InputOf<'_>,
    datatype: DataType,
    contents: &InferTensorContents,
    shape: &[i64],
) -> Result<()> {
    let mut members = [
        (!contents.bool_contents.is_empty(), DataType::Bool),
        (!contents.int_contents.is_empty(), DataType::Int32),
        (!contents.int64_contents.is_empty(), DataType::Int64),
        (!contents.uint_contents.is_empty(), DataType::Uint32),
        (!contents.uint64_contents.is_empty(), DataType::Uint64),
        (!contents.fp32_contents.is_empty(), DataType::Fp32),
        (!contents.fp64_contents.is_empty(), DataType::Fp64),
        (!contents.bytes_contents.is_empty(), DataType::Bytes),
    ]
    .into_iter()
    .filter_map(|(is_set, member)| is_set.then_some(member));
    let expected = match datatype {
        DataType::Int8 | DataType::Int16 => DataType::Int32,
        DataType::Uint8 | DataType::Uint16 => DataType::Uint32,
        other => other,
    };
    match members.find(|member| *member != expected) {
        Some(member) => Err(InferenceError::invalid(format!(
            "unexpected explicit tensor data for input tensor {subject} of type '{member}', expected datatype '{datatype}'"
        ))),
        None if *contents == InferTensorContents::default() && !shape.contains(&0) => {
            Err(InferenceError::invalid(format!(
                "unable to find data for input tensor {subject} in request."
            )))
        }
        None => Ok(()),
    }
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

/// Always raw: tritonclient reads numbers from nowhere else. What is wanted in shared memory has an empty entry.
pub(super) fn response(answer: InferenceResponse, places: &Places) -> Result<ModelInferResponse> {
    let raw_output_contents = answer
        .outputs
        .iter()
        .map(|output| {
            let bytes = binary_tensor::encode(&output.data);
            let Some(place) = places.get(&output.name) else {
                return Ok(bytes);
            };
            place.write(&output.name, &bytes)?;
            Ok(Bytes::new())
        })
        .collect::<Result<_>>()?;
    let describe = |output: Tensor| InferOutputTensor {
        name: output.name,
        datatype: output.datatype.name().to_owned(),
        shape: output.shape,
        ..InferOutputTensor::default()
    };
    Ok(ModelInferResponse {
        model_name: answer.model,
        model_version: answer.version.to_string(),
        id: answer.id,
        parameters: HashMap::new(),
        outputs: answer.outputs.into_iter().map(describe).collect(),
        raw_output_contents,
    })
}

/// Says of an answer in a stream that no other belongs to its request, as Triton does.
pub(super) fn mark_final(answer: &mut ModelInferResponse) {
    let parameter = InferParameter {
        parameter_choice: Some(infer_parameter::ParameterChoice::BoolParam(true)),
    };
    answer
        .parameters
        .insert("triton_final_response".to_owned(), parameter);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::memory::Budget;
    use crate::protocol::SharedMemory;

    fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
        InferInputTensor {
            name: "x".into(),
            datatype: datatype.into(),
            shape: shape.to_vec(),
            contents,
            ..InferInputTensor::default()
        }
    }

    fn tensor(model: &str, input: InferInputTensor, raw: Option<Bytes>) -> Result<Tensor> {
        super::tensor(model, input, raw, &Budget::of(None).reserve(1))
    }

    #[test]
    fn what_takes_long_to_decode_or_to_encode_is_told_from_what_is_passed_on() {
        let mut message = ModelInferRequest {
            inputs: vec![input("FP32", &[1 << 20], None)],
            raw_input_contents: vec![vec![0; 4 << 20].into()],
            ..Default::default()
        };
        assert!(effort(&message) < 1000);
        message.inputs[0].datatype = "BYTES".into();
        assert!(effort(&message) >= 4 << 20);
        let contents = InferTensorContents {
            bytes_contents: vec![Bytes::new(); 1 << 20],
            ..Default::default()
        };
        message.inputs = vec![input("BYTES", &[1 << 20], Some(contents))];
        message.raw_input_contents.clear();
        assert!(effort(&message) >= 8 << 20);
        let output = |data| Tensor {
            name: "y".into(),
            datatype: DataType::Bytes,
            shape: vec![1 << 20],
            data,
        };
        let mut answer = InferenceResponse {
            model: "m".into(),
            version: 1,
            id: String::new(),
            outputs: vec![output(TensorData::Strings(vec![Bytes::new(); 1 << 20]))],
        };
        assert_eq!(answer_effort(&answer, &Wanted::default()), 4 << 20);
        answer.outputs = vec![output(TensorData::Fixed(vec![0; 4 << 20].into()))];
        assert_eq!(answer_effort(&answer, &Wanted::default()), 0);
    }

    #[test]
    fn typed_contents_become_bytes_of_their_own_width() {
        let contents = InferTensorContents {
            int_contents: vec![-1, 2],
            ..Default::default()
        };
        let narrow = tensor("m", input("INT8", &[2], Some(contents)), None).unwrap();
        assert_eq!(narrow.data, TensorData::Fixed(Bytes::from_static(&[0xff, 2])));
        let contents = InferTensorContents {
            int_contents: vec![300],
            ..Default::default()
        };
        let error = tensor("m", input("INT8", &[1], Some(contents)), None).unwrap_err();
        assert!(error.message.contains("300 does not fit INT8"), "{error}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let contents = InferTensorContents {
            fp32_contents: vec![1.0],
            ..Default::default()
        };
        let both = tensor(
            "m",
            input("FP32", &[1], Some(contents.clone())),
            Some(Bytes::from_static(&[0; 4])),
        );
        assert!(both.unwrap_err().message.contains("must not be specified"));
        assert!(tensor("m", input("FP32", &[2], Some(contents.clone())), None).is_err());
        for (datatype, contents, part) in [
            (
                "FP32",
                None,
                "unable to find data for input tensor 'x' for model 'm'",
            ),
            (
                "FP16",
                Some(contents.clone()),
                "of type 'FP32', expected datatype 'FP16'",
            ),
            ("INT8", Some(contents), "of type 'FP32', expected datatype 'INT8'"),
            ("FP31", None, "invalid datatype for input x: 'FP31'"),
        ] {
            let error = tensor("m", input(datatype, &[1], contents), None).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
        let message = ModelInferRequest {
            inputs: vec![input("FP32", &[1], None)],
            raw_input_contents: vec![Bytes::from_static(&[0; 4]); 2],
            ..Default::default()
        };
        let access = Access {
            shared: Arc::new(SharedMemory::new(false)),
            memory: Arc::new(Budget::of(None).reserve(1)),
        };
        let error = request(message, &access).map(|_| ()).unwrap_err();
        assert!(error.message.contains("for 1 inputs, but got 2"), "{error}");
        assert!(version("two").is_err());
        assert_eq!(version("").unwrap(), None);
    }
}
