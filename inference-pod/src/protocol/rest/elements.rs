//! Single values of JSON to elements of a tensor, and back. Unlike the Open Inference Protocol's JSON, half precision is
//! numbers here too.

use bytes::Bytes;
use half::{bf16, f16};
use serde_json::{Number, Value};

use super::signature::Field;
use crate::tensor::{DataType, Tensor, TensorData};

/// Elements of a tensor as they come.
#[derive(Default)]
pub(super) struct Elements {
    bytes: Vec<u8>,
    strings: Vec<Bytes>,
}

impl Elements {
    /// Takes a value; nothing when the field takes no such value.
    pub(super) fn push(&mut self, field: &Field<'_>, value: &Value) -> Option<()> {
        match (field.datatype, value) {
            (DataType::Bool, value) => self.bytes.push(u8::from(boolean(value)?)),
            (DataType::Bytes, Value::String(text)) => {
                self.strings.push(Bytes::copy_from_slice(text.as_bytes()));
            }
            (datatype, Value::Null) if field.nullable => self.float(datatype, f64::NAN)?,
            (datatype, Value::Number(number)) => self.number(datatype, number)?,
            _ => return None,
        }
        Some(())
    }

    fn number(&mut self, datatype: DataType, number: &Number) -> Option<()> {
        if let Some((smallest, largest)) = integer_range(datatype) {
            let value = integer(number).filter(|value| (smallest..=largest).contains(value))?;
            let size = datatype.size()?;
            // Two's complement: the lower bytes are those of the narrower type.
            self.bytes.extend_from_slice(&value.to_le_bytes()[..size]);
            return Some(());
        }
        let value = number
            .as_f64()
            .filter(|value| value.abs() <= largest_float(datatype))?;
        self.float(datatype, value)
    }

    fn float(&mut self, datatype: DataType, value: f64) -> Option<()> {
        match datatype {
            DataType::Fp16 => self.bytes.extend_from_slice(&f16::from_f64(value).to_le_bytes()),
            DataType::Bf16 => self.bytes.extend_from_slice(&bf16::from_f64(value).to_le_bytes()),
            DataType::Fp32 => self.bytes.extend_from_slice(&(value as f32).to_le_bytes()),
            DataType::Fp64 => self.bytes.extend_from_slice(&value.to_le_bytes()),
            _ => return None,
        }
        Some(())
    }

    pub(super) fn into_data(self, datatype: DataType) -> TensorData {
        match datatype {
            DataType::Bytes => TensorData::Strings(self.strings),
            _ => TensorData::Fixed(self.bytes.into()),
        }
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => match integer(number)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
        _ => None,
    }
}

/// A whole number, also where it is written as 1.0 or 1e3.
fn integer(number: &Number) -> Option<i128> {
    if let Some(value) = number.as_i128() {
        return Some(value);
    }
    let value = number.as_f64()?;
    // What is too small for 64 bits arrives here, rounded to their smallest.
    let is_whole = value.fract() == 0.0 && value > i64::MIN as f64;
    // What is too large for 128 bits becomes their largest, which no type takes.
    is_whole.then_some(value as i128)
}

/// Smallest and largest value of a type of whole numbers.
pub(super) fn integer_range(datatype: DataType) -> Option<(i128, i128)> {
    let range = match datatype {
        DataType::Uint8 => (0, u8::MAX.into()),
        DataType::Uint16 => (0, u16::MAX.into()),
        DataType::Uint32 => (0, u32::MAX.into()),
        DataType::Uint64 => (0, u64::MAX.into()),
        DataType::Int8 => (i8::MIN.into(), i8::MAX.into()),
        DataType::Int16 => (i16::MIN.into(), i16::MAX.into()),
        DataType::Int32 => (i32::MIN.into(), i32::MAX.into()),
        DataType::Int64 => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    };
    Some(range)
}

/// Largest finite value of a type of fractions.
pub(super) fn largest_float(datatype: DataType) -> f64 {
    match datatype {
        DataType::Fp16 => f16::MAX.to_f64(),
        DataType::Bf16 => bf16::MAX.to_f64(),
        DataType::Fp32 => f64::from(f32::MAX),
        _ => f64::MAX,
    }
}

/// What a field takes, in words; `given` decides how far they go.
pub(super) fn wanted(field: &Field<'_>, given: Option<&Value>) -> String {
    let datatype = field.datatype;
    let words = match (datatype, integer_range(datatype)) {
        (DataType::Bool, _) => "true or false".to_owned(),
        (DataType::Bytes, _) => "a string".to_owned(),
        (_, Some((smallest, largest))) => format!("a whole number from {smallest} to {largest}"),
        (_, None) if matches!(given, Some(Value::Number(_))) => {
            let largest = largest_float(datatype);
            format!("a number from -{largest:e} to {largest:e} ({datatype})")
        }
        _ => "a number".to_owned(),
    };
    if field.nullable { words + " or null" } else { words }
}

/// Elements of a tensor as values of JSON, row-major. What JSON cannot express, NaN and infinities, is null.
pub(super) fn values(tensor: &Tensor) -> Vec<Value> {
    let bytes = match &tensor.data {
        TensorData::Strings(strings) => return strings.iter().map(text).collect(),
        TensorData::Fixed(bytes) => bytes,
    };
    macro_rules! each {
        ($type:ty, $value:expr) => {
            bytes
                .as_chunks::<{ size_of::<$type>() }>()
                .0
                .iter()
                .map(|raw| $value(<$type>::from_le_bytes(*raw)))
                .collect()
        };
    }
    match tensor.datatype {
        DataType::Bool => bytes.iter().map(|byte| Value::Bool(*byte != 0)).collect(),
        DataType::Uint8 => each!(u8, Value::from),
        DataType::Uint16 => each!(u16, Value::from),
        DataType::Uint32 => each!(u32, Value::from),
        DataType::Uint64 => each!(u64, Value::from),
        DataType::Int8 => each!(i8, Value::from),
        DataType::Int16 => each!(i16, Value::from),
        DataType::Int32 => each!(i32, Value::from),
        DataType::Int64 => each!(i64, Value::from),
        DataType::Fp16 => each!(f16, |value: f16| single(value.to_f32())),
        DataType::Bf16 => each!(bf16, |value: bf16| single(value.to_f32())),
        DataType::Fp32 => each!(f32, single),
        DataType::Fp64 => each!(f64, |value: f64| Number::from_f64(value)
            .map_or(Value::Null, Value::Number)),
        DataType::Bytes => Vec::new(),
    }
}

/// By way of text, in which a number of single precision has no more digits than it is worth.
fn single(value: f32) -> Value {
    let double = value.to_string().parse().ok();
    double
        .and_then(Number::from_f64)
        .map_or(Value::Null, Value::Number)
}

/// Bytes that are no text lose what is none of it; the Open Inference Protocol's binary tensors keep it.
fn text(bytes: &Bytes) -> Value {
    Value::from(String::from_utf8_lossy(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn field(datatype: DataType, nullable: bool) -> Field<'static> {
        Field {
            name: "x",
            datatype,
            dims: &[],
            unwraps: false,
            nullable,
        }
    }

    /// What comes back of a value that was taken.
    fn there_and_back(datatype: DataType, nullable: bool, value: &Value) -> Option<Value> {
        let mut elements = Elements::default();
        elements.push(&field(datatype, nullable), value)?;
        let data = elements.into_data(datatype);
        let tensor = Tensor::new("x".into(), datatype, vec![1], data).unwrap();
        values(&tensor).pop()
    }

    #[test]
    fn what_fits_comes_back() {
        for (datatype, sent, answered) in [
            (DataType::Bool, json!(true), json!(true)),
            (DataType::Bool, json!(0), json!(false)),
            (DataType::Uint8, json!(255), json!(255)),
            (DataType::Int8, json!(-128), json!(-128)),
            (DataType::Int64, json!(i64::MIN), json!(i64::MIN)),
            (DataType::Uint64, json!(u64::MAX), json!(u64::MAX)),
            (DataType::Int32, json!(3.0), json!(3)),
            (DataType::Int32, json!(1e3), json!(1000)),
            (DataType::Fp16, json!(0.5), json!(0.5)),
            (DataType::Bf16, json!(-2), json!(-2.0)),
            (DataType::Fp32, json!(0.1), json!(0.1)),
            (
                DataType::Fp32,
                json!(3.402_823_466_385_288_6e38),
                json!(3.402_823_5e38),
            ),
            (DataType::Fp64, json!(1e300), json!(1e300)),
            (DataType::Bytes, json!("é"), json!("é")),
        ] {
            assert_eq!(
                there_and_back(datatype, false, &sent),
                Some(answered),
                "{datatype} {sent}"
            );
        }
        assert_eq!(
            there_and_back(DataType::Fp32, true, &json!(null)),
            Some(json!(null))
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (datatype, value) in [
            (DataType::Bool, json!(2)),
            (DataType::Bool, json!("true")),
            (DataType::Uint8, json!(256)),
            (DataType::Uint8, json!(-1)),
            (DataType::Int64, json!(1.5)),
            (DataType::Int64, json!(9_223_372_036_854_775_808_u64)),
            (DataType::Uint64, json!(18_446_744_073_709_551_616.0)),
            (DataType::Int32, json!(1e300)),
            (DataType::Fp16, json!(65505)),
            (DataType::Bf16, json!(3.4e38)),
            (DataType::Fp32, json!(3.402_823_5e38)),
            (DataType::Fp32, json!("1")),
            (DataType::Fp32, json!(true)),
            (DataType::Fp32, json!(null)),
            (DataType::Fp32, json!([1])),
            (DataType::Bytes, json!(1)),
            (DataType::Bytes, json!({"b64": ""})),
            (
                DataType::Int64,
                serde_json::from_str("-9223372036854775809").unwrap(),
            ),
        ] {
            let mut elements = Elements::default();
            assert!(
                elements.push(&field(datatype, false), &value).is_none(),
                "{datatype} {value}"
            );
        }
    }
}
