//! What the targets hold against each request that a decoder accepts.

use aiops_inference_pod::tensor::{InferenceRequest, Tensor, TensorData, element_count};

/// Every tensor has as many bytes or strings as its shape and datatype ask for.
pub fn check_tensors(request: &InferenceRequest) {
    for Tensor {
        name,
        datatype,
        shape,
        data,
    } in &request.inputs
    {
        let elements = element_count(name, shape).expect("an accepted shape has a size");
        match (data, datatype.size()) {
            (TensorData::Fixed(bytes), Some(size)) => assert_eq!(
                Some(bytes.len()),
                elements.checked_mul(size),
                "{shape:?} {datatype}"
            ),
            (TensorData::Strings(strings), None) => assert_eq!(strings.len(), elements, "{shape:?}"),
            (data, _) => panic!("{datatype} came as {data:?}"),
        }
    }
}

/// The tensor as the protocol's raw bytes, which both fronts take.
pub fn raw_bytes(data: &TensorData) -> Vec<u8> {
    match data {
        TensorData::Fixed(bytes) => bytes.to_vec(),
        TensorData::Strings(strings) => {
            let mut raw = Vec::new();
            for string in strings {
                let length = u32::try_from(string.len()).expect("an input of a target is small");
                raw.extend_from_slice(&length.to_le_bytes());
                raw.extend_from_slice(string);
            }
            raw
        }
    }
}
