//! Tensors as raw bytes: little-endian, row-major, strings with their length in four bytes before them.

use std::fmt::Display;

use bytes::{BufMut as _, Bytes, BytesMut};

use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::tensor::{DataType, STRING_BYTES, TensorData};

/// Reads raw bytes; `input` is for messages. Strings take their share of the memory, where there is one.
pub(crate) fn decode(
    input: impl Display,
    datatype: DataType,
    bytes: Bytes,
    memory: Option<&Reservation>,
) -> Result<TensorData> {
    match datatype {
        DataType::Bytes => {
            let count = count_strings(&bytes);
            if let Some(memory) = memory {
                memory.grow_beyond(0, count.saturating_mul(STRING_BYTES))?;
            }
            Ok(TensorData::Strings(split_strings(input, &bytes, count)?))
        }
        _ => Ok(TensorData::Fixed(bytes)),
    }
}

/// Raw bytes of a tensor.
pub(super) fn encode(data: &TensorData) -> Bytes {
    match data {
        TensorData::Fixed(bytes) => bytes.clone(),
        TensorData::Strings(strings) => {
            let mut bytes = BytesMut::with_capacity(data.encoded_size());
            for string in strings {
                // ONNX Runtime's strings come from memory of one process and are shorter than 4 GiB.
                bytes.put_u32_le(u32::try_from(string.len()).unwrap_or(u32::MAX));
                bytes.put_slice(string);
            }
            bytes.freeze()
        }
    }
}

/// How many strings there are, up to one that is cut off.
fn count_strings(mut bytes: &[u8]) -> usize {
    let mut count = 0;
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let Some(rest) = rest.get(u32::from_le_bytes(*length) as usize..) else {
            break;
        };
        count += 1;
        bytes = rest;
    }
    count
}

fn split_strings(input: impl Display, bytes: &Bytes, count: usize) -> Result<Vec<Bytes>> {
    let mut strings = Vec::with_capacity(count);
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
    use crate::memory::Budget;

    proptest! {
        #[test]
        fn strings_survive_a_round_trip(strings: Vec<Vec<u8>>) {
            let data = TensorData::Strings(strings.into_iter().map(Bytes::from).collect());
            prop_assert_eq!(decode("x", DataType::Bytes, encode(&data), None).unwrap(), data);
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>) {
            let _ = decode("x", DataType::Bytes, bytes.into(), None);
        }
    }

    #[test]
    fn empty_strings_take_memory_before_they_are_split() {
        let budget = Budget::of(Some(10 * STRING_BYTES));
        let reservation = budget.reserve(1);
        let strings = |count: usize| {
            let bytes = vec![0; 4 * count].into();
            decode("x", DataType::Bytes, bytes, Some(&reservation)).map(|_| budget.taken())
        };
        assert_eq!(strings(10).unwrap(), 10 * STRING_BYTES);
        assert!(strings(1).unwrap_err().message.contains("--max-request-memory"));
    }

    #[test]
    fn truncated_strings_are_refused() {
        for bytes in [&[1, 0][..], &[2, 0, 0, 0, b'a'], &[0xff, 0xff, 0xff, 0xff]] {
            let error = decode("x", DataType::Bytes, Bytes::copy_from_slice(bytes), None).unwrap_err();
            assert!(error.message.contains("incomplete string"), "{error}");
        }
    }
}
