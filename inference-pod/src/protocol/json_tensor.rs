//! Elements of tensors in JSON: nested or flat, row-major, read straight into little-endian bytes.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq as _, Serializer};

use crate::error::{InferenceError, Result};
use crate::memory::Reservation;
use crate::tensor::{DataType, STRING_BYTES, TensorData};

/// Reads the JSON text of a tensor's elements; `capacity` is how many there should be. Strings take their
/// share of the memory as they come.
pub(super) fn decode(
    name: &str,
    datatype: DataType,
    json: &str,
    capacity: usize,
    memory: &Reservation,
) -> Result<TensorData> {
    if matches!(datatype, DataType::Fp16 | DataType::Bf16) {
        return Err(InferenceError::invalid(format!(
            "receiving {datatype} data via JSON is not supported. Please use the binary data format for input {name}"
        )));
    }
    let size = datatype.size().unwrap_or(0);
    // A lying shape must not reserve memory that the text cannot fill.
    let capacity = capacity.min(json.len());
    let mut elements = Elements {
        datatype,
        bytes: Vec::with_capacity(capacity * size),
        strings: Vec::new(),
        memory,
        refusal: None,
    };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let read = Sink(&mut elements)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Err(error) = read {
        return Err(elements.refusal.take().unwrap_or_else(|| {
            InferenceError::invalid(format!("Unable to parse 'data': input '{name}': {error}"))
        }));
    }
    Ok(match datatype {
        DataType::Bytes => TensorData::Strings(elements.strings),
        _ => TensorData::Fixed(elements.bytes.into()),
    })
}

struct Elements<'m> {
    datatype: DataType,
    bytes: Vec<u8>,
    strings: Vec<Bytes>,
    memory: &'m Reservation,
    /// Why there is no memory for more strings.
    refusal: Option<InferenceError>,
}

impl Elements<'_> {
    /// Makes room for one more string.
    fn reserve_string(&mut self) -> Result<(), &'static str> {
        const FIRST: usize = 8;
        if self.strings.len() < self.strings.capacity() {
            return Ok(());
        }
        let more = self.strings.len().max(FIRST);
        if let Err(refusal) = self.memory.grow_beyond(0, more.saturating_mul(STRING_BYTES)) {
            self.refusal = Some(refusal);
            return Err("there is no memory for more strings");
        }
        self.strings.reserve_exact(more);
        Ok(())
    }

    fn integer(&mut self, value: i128) -> Result<(), String> {
        let datatype = self.datatype;
        let misfit = || format!("{value} does not fit {datatype}");
        macro_rules! push {
            ($type:ty) => {
                self.bytes.extend_from_slice(
                    &<$type>::try_from(value)
                        .map_err(|_| misfit())?
                        .to_le_bytes(),
                )
            };
        }
        match datatype {
            DataType::Bool if value == 0 || value == 1 => self.bytes.push(u8::from(value == 1)),
            DataType::Bool | DataType::Bytes | DataType::Fp16 | DataType::Bf16 => return Err(misfit()),
            DataType::Uint8 => push!(u8),
            DataType::Uint16 => push!(u16),
            DataType::Uint32 => push!(u32),
            DataType::Uint64 => push!(u64),
            DataType::Int8 => push!(i8),
            DataType::Int16 => push!(i16),
            DataType::Int32 => push!(i32),
            DataType::Int64 => push!(i64),
            DataType::Fp32 => self.bytes.extend_from_slice(&(value as f32).to_le_bytes()),
            DataType::Fp64 => self.bytes.extend_from_slice(&(value as f64).to_le_bytes()),
        }
        Ok(())
    }

    fn float(&mut self, value: f64) -> Result<(), String> {
        match self.datatype {
            DataType::Fp64 => self.bytes.extend_from_slice(&value.to_le_bytes()),
            DataType::Fp32 if (value as f32).is_finite() => {
                self.bytes.extend_from_slice(&(value as f32).to_le_bytes());
            }
            // As it was written: without its point, 1.0 would be said not to fit INT64.
            datatype => return Err(format!("{value:?} does not fit {datatype}")),
        }
        Ok(())
    }
}

/// Takes one element, or a list of whatever depth; the parser bounds the depth.
struct Sink<'a, 'm>(&'a mut Elements<'m>);

impl<'de> DeserializeSeed<'de> for Sink<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Sink<'_, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "elements of {}", self.0.datatype)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Sink(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if self.0.datatype != DataType::Bool {
            return Err(E::custom(format!("{value} does not fit {}", self.0.datatype)));
        }
        self.0.bytes.push(u8::from(value));
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.0.integer(value.into()).map_err(E::custom)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.0.integer(value.into()).map_err(E::custom)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.0.float(value).map_err(E::custom)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        if self.0.datatype != DataType::Bytes {
            return Err(E::custom(format!("a string does not fit {}", self.0.datatype)));
        }
        self.0.reserve_string().map_err(E::custom)?;
        self.0.strings.push(Bytes::copy_from_slice(value.as_bytes()));
        Ok(())
    }
}

/// Elements of a tensor, written flat.
pub(super) struct Written<'a> {
    pub(super) datatype: DataType,
    pub(super) data: &'a TensorData,
}

/// Refuses what JSON cannot express.
pub(super) fn check_expressible(name: &str, datatype: DataType, data: &TensorData) -> Result<()> {
    let not_finite = match (datatype, data) {
        (DataType::Fp16 | DataType::Bf16, _) => {
            return Err(InferenceError::invalid(format!(
                "sending {datatype} data via JSON is not supported. Please use the binary data format for output '{name}'"
            )));
        }
        (DataType::Fp32, TensorData::Fixed(bytes)) => {
            chunks::<4>(bytes).any(|raw| !f32::from_le_bytes(raw).is_finite())
        }
        (DataType::Fp64, TensorData::Fixed(bytes)) => {
            chunks::<8>(bytes).any(|raw| !f64::from_le_bytes(raw).is_finite())
        }
        _ => false,
    };
    if not_finite {
        return Err(InferenceError::internal(format!(
            "output '{name}' holds NaN or infinity, which JSON cannot express. Please use the binary data format for it"
        )));
    }
    if let TensorData::Strings(strings) = data
        && strings.iter().any(|string| std::str::from_utf8(string).is_err())
    {
        return Err(InferenceError::internal(format!(
            "output '{name}' holds a string that is not UTF-8. Please use the binary data format for it"
        )));
    }
    Ok(())
}

fn chunks<const N: usize>(bytes: &[u8]) -> impl Iterator<Item = [u8; N]> {
    bytes.as_chunks::<N>().0.iter().copied()
}

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        fn all<S: Serializer, T: Serialize>(
            serializer: S,
            count: usize,
            elements: impl Iterator<Item = T>,
        ) -> Result<S::Ok, S::Error> {
            let mut list = serializer.serialize_seq(Some(count))?;
            for element in elements {
                list.serialize_element(&element)?;
            }
            list.end()
        }
        macro_rules! numbers {
            ($bytes:expr, $type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                all(
                    serializer,
                    $bytes.len() / SIZE,
                    chunks::<SIZE>($bytes).map(<$type>::from_le_bytes),
                )
            }};
        }
        match self.data {
            TensorData::Strings(strings) => all(
                serializer,
                strings.len(),
                strings.iter().map(|string| String::from_utf8_lossy(string)),
            ),
            TensorData::Fixed(bytes) => match self.datatype {
                DataType::Bool => all(serializer, bytes.len(), bytes.iter().map(|byte| *byte != 0)),
                DataType::Uint8 => numbers!(bytes, u8),
                DataType::Uint16 => numbers!(bytes, u16),
                DataType::Uint32 => numbers!(bytes, u32),
                DataType::Uint64 => numbers!(bytes, u64),
                DataType::Int8 => numbers!(bytes, i8),
                DataType::Int16 => numbers!(bytes, i16),
                DataType::Int32 => numbers!(bytes, i32),
                DataType::Int64 => numbers!(bytes, i64),
                DataType::Fp32 => numbers!(bytes, f32),
                DataType::Fp64 => numbers!(bytes, f64),
                DataType::Fp16 | DataType::Bf16 | DataType::Bytes => {
                    Err(serde::ser::Error::custom("this datatype has no JSON form"))
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Budget;

    fn decode(name: &str, datatype: DataType, json: &str, capacity: usize) -> Result<TensorData> {
        super::decode(name, datatype, json, capacity, &Budget::of(None).reserve(1))
    }

    #[test]
    fn strings_take_memory_as_they_come() {
        let budget = Budget::of(Some(20 * STRING_BYTES));
        let memory = budget.reserve(1);
        let strings = |count: usize| {
            let json = format!("[{}]", vec!["\"\""; count].join(","));
            super::decode("x", DataType::Bytes, &json, count, &memory)
        };
        assert!(strings(8).is_ok());
        assert_eq!(budget.taken(), 8 * STRING_BYTES);
        let refused = strings(9).unwrap_err();
        assert!(refused.message.contains("--max-request-memory"), "{refused}");
    }

    fn fixed(datatype: DataType, json: &str) -> Result<Vec<u8>, String> {
        match decode("x", datatype, json, 4) {
            Ok(TensorData::Fixed(bytes)) => Ok(bytes.to_vec()),
            Ok(TensorData::Strings(_)) => Err("strings".into()),
            Err(error) => Err(error.message),
        }
    }

    #[test]
    fn nested_and_flat_lists_are_the_same() {
        let expected: Vec<u8> = [1_f32, 2.5, -3.0, 4.0]
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        for json in [
            "[1, 2.5, -3, 4]",
            "[[1, 2.5], [-3, 4]]",
            "[[[1],[2.5]],[[-3],[4]]]",
        ] {
            assert_eq!(fixed(DataType::Fp32, json).unwrap(), expected);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (datatype, json, part) in [
            (DataType::Uint8, "[256]", "256 does not fit UINT8"),
            (DataType::Uint8, "[-1]", "-1 does not fit UINT8"),
            (DataType::Int64, "[1.5]", "1.5 does not fit INT64"),
            (DataType::Int64, "[1.0]", "1.0 does not fit INT64"),
            (DataType::Fp32, "[1e300]", "does not fit FP32"),
            (DataType::Fp32, "[NaN]", "expected value"),
            (DataType::Fp32, "[1e999]", "out of range"),
            (DataType::Fp32, "[null]", "invalid type: null"),
            (DataType::Fp32, "[\"1\"]", "a string does not fit"),
            (DataType::Fp32, "[true]", "true does not fit"),
            (DataType::Fp32, "{\"a\": 1}", "invalid type: map"),
            (DataType::Bool, "[2]", "2 does not fit BOOL"),
            (DataType::Fp16, "[1]", "Please use the binary data format"),
            (DataType::Bytes, "[1]", "does not fit BYTES"),
        ] {
            let error = fixed(datatype, json).unwrap_err();
            assert!(error.contains(part), "{json}: {error}");
        }
        let deep = "[".repeat(10_000) + &"]".repeat(10_000);
        assert!(
            fixed(DataType::Fp32, &deep)
                .unwrap_err()
                .contains("recursion limit")
        );
    }

    #[test]
    fn elements_are_written_flat_and_short() {
        let write = |datatype, data: &TensorData| serde_json::to_string(&Written { datatype, data }).unwrap();
        let data = decode("x", DataType::Fp32, "[[0.1, -2], [3e10, 0]]", 4).unwrap();
        assert_eq!(write(DataType::Fp32, &data), "[0.1,-2.0,30000000000.0,0.0]");
        let data = decode("x", DataType::Bytes, "[\"a\", \"ü\\n\"]", 2).unwrap();
        assert_eq!(write(DataType::Bytes, &data), "[\"a\",\"ü\\n\"]");
        let nan = TensorData::Fixed(f32::NAN.to_le_bytes().to_vec().into());
        assert!(
            check_expressible("y", DataType::Fp32, &nan)
                .unwrap_err()
                .message
                .contains("NaN")
        );
    }
}
