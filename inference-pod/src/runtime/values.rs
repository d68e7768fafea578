//! Between the protocol's bytes and ONNX Runtime's tensors: one copy each way.

use std::fmt::Debug;

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;
use half::{bf16, f16};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor, TensorElementType};

use crate::tensor::{DataType, TensorData};

/// A tensor that the graph answered.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputTensor {
    /// Sizes.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: TensorData,
}

/// The protocol's name for an element type of ONNX Runtime.
pub(super) fn datatype(element: TensorElementType) -> Option<DataType> {
    Some(match element {
        TensorElementType::Bool => DataType::Bool,
        TensorElementType::Uint8 => DataType::Uint8,
        TensorElementType::Uint16 => DataType::Uint16,
        TensorElementType::Uint32 => DataType::Uint32,
        TensorElementType::Uint64 => DataType::Uint64,
        TensorElementType::Int8 => DataType::Int8,
        TensorElementType::Int16 => DataType::Int16,
        TensorElementType::Int32 => DataType::Int32,
        TensorElementType::Int64 => DataType::Int64,
        TensorElementType::Float16 => DataType::Fp16,
        TensorElementType::Bfloat16 => DataType::Bf16,
        TensorElementType::Float32 => DataType::Fp32,
        TensorElementType::Float64 => DataType::Fp64,
        TensorElementType::String => DataType::Bytes,
        _ => return None,
    })
}

/// Puts parts together into one tensor.
pub(super) fn assemble(datatype: DataType, shape: &[i64], parts: &[&TensorData]) -> Result<DynValue, String> {
    match datatype {
        DataType::Bool => booleans(shape, parts),
        DataType::Uint8 => numbers::<u8>(shape, parts),
        DataType::Uint16 => numbers::<u16>(shape, parts),
        DataType::Uint32 => numbers::<u32>(shape, parts),
        DataType::Uint64 => numbers::<u64>(shape, parts),
        DataType::Int8 => numbers::<i8>(shape, parts),
        DataType::Int16 => numbers::<i16>(shape, parts),
        DataType::Int32 => numbers::<i32>(shape, parts),
        DataType::Int64 => numbers::<i64>(shape, parts),
        DataType::Fp16 => numbers::<f16>(shape, parts),
        DataType::Bf16 => numbers::<bf16>(shape, parts),
        DataType::Fp32 => numbers::<f32>(shape, parts),
        DataType::Fp64 => numbers::<f64>(shape, parts),
        DataType::Bytes => strings(shape, parts),
    }
}

fn fixed<'a>(parts: &'a [&TensorData]) -> impl Iterator<Item = &'a Bytes> {
    parts.iter().filter_map(|part| match part {
        TensorData::Fixed(bytes) => Some(bytes),
        TensorData::Strings(_) => None,
    })
}

fn numbers<T>(shape: &[i64], parts: &[&TensorData]) -> Result<DynValue, String>
where
    T: PrimitiveTensorElementType + AnyBitPattern + Debug + Send + 'static,
{
    Tensor::from_array((shape.to_vec(), gathered::<T>(parts)))
        .map(Tensor::into_dyn)
        .map_err(|error| error.to_string())
}

/// The numbers of all parts, one after the other.
pub(crate) fn gathered<T: AnyBitPattern>(parts: &[&TensorData]) -> Vec<T> {
    let size = size_of::<T>();
    let count = parts.iter().map(|part| part.byte_size()).sum::<usize>() / size;
    let mut elements = Vec::with_capacity(count);
    for bytes in fixed(parts) {
        // The network gives no alignment; most often it is there all the same.
        match bytemuck::try_cast_slice(bytes) {
            Ok(aligned) => elements.extend_from_slice(aligned),
            Err(_) => elements.extend(bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned::<T>)),
        }
    }
    elements
}

fn booleans(shape: &[i64], parts: &[&TensorData]) -> Result<DynValue, String> {
    let elements: Vec<bool> = fixed(parts)
        .flat_map(|bytes| bytes.iter().map(|byte| *byte != 0))
        .collect();
    Tensor::from_array((shape.to_vec(), elements))
        .map(Tensor::into_dyn)
        .map_err(|error| error.to_string())
}

fn strings(shape: &[i64], parts: &[&TensorData]) -> Result<DynValue, String> {
    let strings = parts.iter().flat_map(|part| match part {
        TensorData::Strings(strings) => strings.as_slice(),
        TensorData::Fixed(_) => &[],
    });
    super::strings::write(shape, strings)
}

/// Copies a tensor out.
pub(super) fn read(datatype: DataType, value: &DynValue) -> Result<OutputTensor, String> {
    match datatype {
        DataType::Bool => elements::<bool>(value),
        DataType::Uint8 => elements::<u8>(value),
        DataType::Uint16 => elements::<u16>(value),
        DataType::Uint32 => elements::<u32>(value),
        DataType::Uint64 => elements::<u64>(value),
        DataType::Int8 => elements::<i8>(value),
        DataType::Int16 => elements::<i16>(value),
        DataType::Int32 => elements::<i32>(value),
        DataType::Int64 => elements::<i64>(value),
        DataType::Fp16 => elements::<f16>(value),
        DataType::Bf16 => elements::<bf16>(value),
        DataType::Fp32 => elements::<f32>(value),
        DataType::Fp64 => elements::<f64>(value),
        DataType::Bytes => super::strings::read(value),
    }
}

fn elements<T: PrimitiveTensorElementType + NoUninit>(value: &DynValue) -> Result<OutputTensor, String> {
    let (shape, elements) = value
        .try_extract_tensor::<T>()
        .map_err(|error| error.to_string())?;
    let bytes = Bytes::copy_from_slice(bytemuck::cast_slice(elements));
    Ok(OutputTensor {
        shape: shape.to_vec(),
        data: TensorData::Fixed(bytes),
    })
}
