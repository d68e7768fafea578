//! Strings into and out of ONNX Runtime, as bytes of any kind: that is what the protocols have. `ort` itself takes and gives text
//! alone, and none with the character U+0000 in it.

use std::ptr;

use bytes::Bytes;
use ort::AsPointer as _;
use ort::memory::Allocator;
use ort::value::{DynTensor, DynValue, TensorElementType, ValueType};

use super::OutputTensor;
use crate::tensor::TensorData;

/// A tensor of these strings.
pub(super) fn write<'a>(shape: &[i64], strings: impl Iterator<Item = &'a Bytes>) -> Result<DynValue, String> {
    // Of empty strings, without a list of them.
    let mut tensor = DynTensor::new(&Allocator::default(), TensorElementType::String, shape.to_vec())
        .map_err(|error| error.to_string())?;
    for (index, string) in strings.enumerate() {
        if !string.is_empty() {
            fill(&mut tensor, index, string)?;
        }
    }
    Ok(tensor.into_dyn())
}

#[expect(
    unsafe_code,
    reason = "the safe function goes by way of a C string, which ends at the first zero"
)]
fn fill(tensor: &mut DynTensor, index: usize, string: &[u8]) -> Result<(), String> {
    let mut buffer = ptr::null_mut();
    // SAFETY: the tensor lives and is of strings, and the runtime itself checks the index. On success `buffer` is the
    // element's own memory of the length asked for, which stays until the element is written again.
    unsafe {
        let resize = ort::api().GetResizedStringTensorElementBuffer;
        let status = resize(tensor.ptr_mut(), index, string.len(), &raw mut buffer);
        ort::Error::result_from_status(status).map_err(|error| error.to_string())?;
        ptr::copy_nonoverlapping(string.as_ptr(), buffer.cast(), string.len());
    }
    Ok(())
}

/// Copies a tensor of strings out.
#[expect(unsafe_code, reason = "the safe function refuses strings that are not UTF-8")]
pub(super) fn read(value: &DynValue) -> Result<OutputTensor, String> {
    let ValueType::Tensor { shape, .. } = value.dtype() else {
        return Err("the model's answer is no tensor".to_owned());
    };
    let count = shape.num_elements();
    let mut size = 0;
    let mut offsets = vec![0; count];
    let mut contents: Vec<u8>;
    // SAFETY: the value lives and is a tensor of strings, else the runtime refuses; it writes what it said is the size of
    // all strings, and as many offsets as there are elements.
    unsafe {
        let status = (ort::api().GetStringTensorDataLength)(value.ptr(), &raw mut size);
        ort::Error::result_from_status(status).map_err(|error| error.to_string())?;
        contents = vec![0; size];
        let copy = ort::api().GetStringTensorContent;
        let status = copy(
            value.ptr(),
            contents.as_mut_ptr().cast(),
            size,
            offsets.as_mut_ptr(),
            count,
        );
        ort::Error::result_from_status(status).map_err(|error| error.to_string())?;
    }
    let contents = Bytes::from(contents);
    let ends = offsets.iter().skip(1).copied().chain([size]);
    let strings = offsets
        .iter()
        .zip(ends)
        .map(|(start, end)| contents.slice(*start..end));
    Ok(OutputTensor {
        shape: shape.to_vec(),
        data: TensorData::Strings(strings.collect()),
    })
}
