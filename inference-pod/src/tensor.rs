//! Tensors, requests and answers as all protocols share them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::error::{InferenceError, Result};
use crate::traces::RequestTrace;

/// Element types of the Open Inference Protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned, 8 bits.
    Uint8,
    /// Unsigned, 16 bits.
    Uint16,
    /// Unsigned, 32 bits.
    Uint32,
    /// Unsigned, 64 bits.
    Uint64,
    /// Signed, 8 bits.
    Int8,
    /// Signed, 16 bits.
    Int16,
    /// Signed, 32 bits.
    Int32,
    /// Signed, 64 bits.
    Int64,
    /// IEEE 754 half precision.
    Fp16,
    /// The upper half of a single-precision number.
    Bf16,
    /// Single precision.
    Fp32,
    /// Double precision.
    Fp64,
    /// Byte strings of any length; strings in the graph.
    Bytes,
}

impl DataType {
    /// Every element type.
    pub const ALL: [Self; 14] = [
        Self::Bool,
        Self::Uint8,
        Self::Uint16,
        Self::Uint32,
        Self::Uint64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::Fp16,
        Self::Bf16,
        Self::Fp32,
        Self::Fp64,
        Self::Bytes,
    ];

    /// The protocol's name, for example `FP32`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Uint8 => "UINT8",
            Self::Uint16 => "UINT16",
            Self::Uint32 => "UINT32",
            Self::Uint64 => "UINT64",
            Self::Int8 => "INT8",
            Self::Int16 => "INT16",
            Self::Int32 => "INT32",
            Self::Int64 => "INT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// The type with this protocol name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|datatype| datatype.name() == name)
    }

    /// Bytes of one element; nothing for `BYTES`.
    pub fn size(self) -> Option<usize> {
        match self {
            Self::Bool | Self::Uint8 | Self::Int8 => Some(1),
            Self::Uint16 | Self::Int16 | Self::Fp16 | Self::Bf16 => Some(2),
            Self::Uint32 | Self::Int32 | Self::Fp32 => Some(4),
            Self::Uint64 | Self::Int64 | Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The elements of a tensor, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Little-endian elements of fixed size.
    Fixed(Bytes),
    /// Elements of a `BYTES` tensor.
    Strings(Vec<Bytes>),
}

/// What a string of a tensor takes beside its bytes while a request is answered: its handle, an allocation of its own, and
/// its place among the runtime's strings.
pub(crate) const STRING_BYTES: usize = 96;

impl TensorData {
    /// Memory that they take, an empty string too.
    pub(crate) fn memory_size(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Strings(strings) => self.byte_size() + strings.len() * size_of::<Bytes>(),
        }
    }

    /// Number of bytes that they have in the binary form of the protocols.
    pub(crate) fn encoded_size(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Strings(strings) => self.byte_size() + 4 * strings.len(),
        }
    }

    /// Number of bytes that the elements take, without framing.
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes.len(),
            Self::Strings(strings) => strings.iter().map(Bytes::len).sum(),
        }
    }
}

/// A named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Name of the input or output.
    pub name: String,
    /// Element type.
    pub datatype: DataType,
    /// Sizes, none negative.
    pub shape: Vec<i64>,
    /// Elements.
    pub data: TensorData,
}

/// An input of a model as error messages name it, in Triton's words.
#[derive(Clone, Copy)]
pub(crate) struct InputOf<'a> {
    pub(crate) model: &'a str,
    pub(crate) name: &'a str,
}

impl fmt::Display for InputOf<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model {
            "" => write!(formatter, "'{}'", self.name),
            model => write!(formatter, "'{}' for model '{model}'", self.name),
        }
    }
}

impl Tensor {
    /// A tensor whose data has the size that its shape asks for.
    pub fn new(name: String, datatype: DataType, shape: Vec<i64>, data: TensorData) -> Result<Self> {
        Self::of_model("", name, datatype, shape, data)
    }

    /// The same for an input of a model, which errors name.
    pub(crate) fn of_model(
        model: &str,
        name: String,
        datatype: DataType,
        shape: Vec<i64>,
        data: TensorData,
    ) -> Result<Self> {
        let expected = element_count(&name, &shape)?;
        check_size(InputOf { model, name: &name }, datatype, expected, &data)?;
        Ok(Self {
            name,
            datatype,
            shape,
            data,
        })
    }
}

fn check_size(input: InputOf<'_>, datatype: DataType, expected: usize, data: &TensorData) -> Result<()> {
    let message = match data {
        TensorData::Strings(strings) if strings.len() < expected => format!(
            "expected {expected} string elements for inference input {input}, got {}",
            strings.len()
        ),
        TensorData::Strings(strings) if strings.len() > expected => format!(
            "unexpected number of string elements {} for inference input {input}, expecting {expected}",
            strings.len()
        ),
        TensorData::Fixed(bytes) => {
            let size = datatype.size().unwrap_or(1);
            if expected.checked_mul(size) == Some(bytes.len()) {
                return Ok(());
            }
            format!(
                "input byte size mismatch for input {input}. Expected {}, got {}",
                expected as u128 * size as u128,
                bytes.len()
            )
        }
        TensorData::Strings(_) => return Ok(()),
    };
    Err(InferenceError::invalid(message))
}

/// Number of elements of a shape; an error when a size is negative or the product does not fit.
pub fn element_count(name: &str, shape: &[i64]) -> Result<usize> {
    let mut count = 1_usize;
    let mut empty = false;
    for size in shape {
        let size = usize::try_from(*size).map_err(|_| {
            InferenceError::invalid(format!("shape {shape:?} of tensor '{name}' has a negative size"))
        })?;
        empty |= size == 0;
        count = count
            .checked_mul(size.max(1))
            .filter(|count| *count <= isize::MAX as usize)
            .ok_or_else(|| {
                InferenceError::invalid(format!("shape {shape:?} of tensor '{name}' is too large"))
            })?;
    }
    Ok(if empty { 0 } else { count })
}

/// What a client asks for, whatever the protocol.
#[derive(Clone, Debug, Default)]
pub struct InferenceRequest {
    /// The client's own name for the request; empty for none.
    pub id: String,
    /// Input tensors, in any order.
    pub inputs: Vec<Tensor>,
    /// Names of the outputs wanted; empty for all.
    pub outputs: Vec<String>,
    /// Give up when the request has not begun to run after this time.
    pub timeout: Option<Duration>,
    /// Its priority level, of which 1 is the most urgent; 0 for the model's default.
    pub priority: u64,
    /// Where it is told of, if it is traced.
    pub trace: Option<Arc<RequestTrace>>,
    /// The headers that it came with, where it asks an ensemble: its models may have a header that names the caller.
    pub headers: Option<Arc<HeaderMap>>,
}

/// What a model answers.
#[derive(Clone, Debug)]
pub struct InferenceResponse {
    /// Model that answered.
    pub model: String,
    /// Version that answered.
    pub version: u64,
    /// The client's own name for the request.
    pub id: String,
    /// Output tensors, in the order asked for, or the configuration's.
    pub outputs: Vec<Tensor>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_lie_are_refused() {
        assert_eq!(element_count("x", &[]).unwrap(), 1);
        assert_eq!(element_count("x", &[2, 3]).unwrap(), 6);
        assert_eq!(element_count("x", &[0, i64::MAX]).unwrap(), 0);
        assert!(element_count("x", &[-1]).is_err());
        assert!(element_count("x", &[i64::MAX, i64::MAX]).is_err());
        let data = TensorData::Fixed(Bytes::from_static(&[0; 8]));
        assert!(Tensor::new("x".into(), DataType::Fp32, vec![2], data.clone()).is_ok());
        assert!(Tensor::new("x".into(), DataType::Fp32, vec![3], data.clone()).is_err());
        assert!(Tensor::new("x".into(), DataType::Fp64, vec![i64::MAX / 2], data).is_err());
    }

    #[test]
    fn every_datatype_is_found_by_its_name() {
        for datatype in DataType::ALL {
            assert_eq!(DataType::from_name(datatype.name()), Some(datatype));
        }
        assert_eq!(DataType::from_name("fp32"), None);
    }
}
