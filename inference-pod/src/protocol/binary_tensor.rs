//! Tensors as raw bytes: little-endian, row-major, strings with their length in four bytes before them.

use std::fmt::Display;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::error::{InferenceError, Result};
use crate::tensor::{DataType, TensorData};

/// Reads raw bytes; `input` is for messages.
pub(crate) fn decode(input: impl Display, datatype: DataType, bytes: Bytes) -> Result<TensorData> {
    match datatype {
        DataType::Bytes => Ok(TensorData::Strings(split_strings(input, &bytes)?)),
        _ => Ok(TensorData::Fixed(bytes)),
    }
}

/// Raw bytes of a tensor.
pub(super) fn encode(data: &TensorData) -> Bytes {
    match data {
        TensorData::Fixed(bytes) => bytes.clone(),
        TensorData::Strings(strings) => {
            let mut bytes = BytesMut::with_capacity(data.byte_size() + 4 * strings.len());
            for string in strings {
                // ONNX Runtime's strings come from memory of one process and are shorter than 4 GiB.
                bytes.put_u32_le(u32::try_from(string.len()).unwrap_or(u32::MAX));
                bytes.put_slice(string);
            }
            bytes.freeze()
        }
    }
}

fn split_strings(input: impl Display, bytes: &Bytes) -> Result<Vec<Bytes>> {
    let mut strings = Vec::new();
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let Some(length) = rest.first_chunk::<4>() else {
            return Err(InferenceError::invalid(format!(
                "incomplete string length indicator for inference input {input}, expecting 4 bytes but only {} bytes \
                 available. Please make sure the string length indicator is in one buffer.",
                rest.len()
            )));
        };
        let length = u32::from_le_bytes(*length) as usize;
        let end = length.saturating_add(4);
        if rest.len() < end {
            return Err(InferenceError::invalid(format!(
                "incomplete string data for inference input {input}, expecting string of length {length} but only {} \
                 bytes available. Please make sure the string is in one buffer.",
                rest.len() - 4
            )));
        }
        let string = rest.split_to(end);
        strings.push(string.slice(4..));
    }
    Ok(strings)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_survive_a_round_trip(strings: Vec<Vec<u8>>) {
            let data = TensorData::Strings(strings.into_iter().map(Bytes::from).collect());
            prop_assert_eq!(decode("x", DataType::Bytes, encode(&data)).unwrap(), data);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = decode("x", DataType::Bytes, bytes.into());
        }
    }

    #[test]
    fn truncated_strings_are_refused() {
        for bytes in [&[1, 0][..], &[2, 0, 0, 0, b'a'], &[0xff, 0xff, 0xff, 0xff]] {
            let error = decode("x", DataType::Bytes, Bytes::copy_from_slice(bytes)).unwrap_err();
            assert!(error.message.contains("incomplete string"), "{error}");
        }
    }
}
