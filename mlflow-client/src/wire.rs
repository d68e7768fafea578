//! What MLflow's JSON has in common: key-value pairs, and numbers that may be written as strings.
//!
//! Protobuf's JSON writes NaN and the infinities as strings and, in some versions, 64-bit integers as well; fields
//! that are empty are left out. So every response type here has defaults for all of its fields.

use serde::de::{Deserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A key with a text value, as on experiments, runs, registered models and versions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tag {
    /// Name of the tag.
    pub key: String,
    /// Its value; MLflow leaves it out of its answers when it is empty.
    pub value: String,
}

impl Tag {
    /// A tag `key` = `value`.
    pub fn new(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
        }
    }
}

/// The value of the tag `key`, or `None` where there is no such tag.
#[must_use]
pub fn tag_value<'tags>(tags: &'tags [Tag], key: &str) -> Option<&'tags str> {
    tags.iter()
        .find(|tag| tag.key == key)
        .map(|tag| tag.value.as_str())
}

/// A parameter of a run: text, written once and never changed.
pub type Param = Tag;

/// The body of an answer that says nothing but that the call worked.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Nothing {}

/// Reads a number, or one of the strings that protobuf's JSON has for numbers.
pub(crate) fn deserialize_f64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    deserializer.deserialize_any(FloatVisitor)
}

/// Reads an integer written as a number or as a string.
pub(crate) fn deserialize_i64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(IntegerVisitor)
}

/// Like [`deserialize_i64`], for a field that may be absent.
pub(crate) fn deserialize_optional_i64<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<i64>, D::Error> {
    #[derive(Deserialize)]
    struct Integer(#[serde(deserialize_with = "deserialize_i64")] i64);
    Ok(Option::<Integer>::deserialize(deserializer)?.map(|integer| integer.0))
}

/// Writes a number, and NaN and the infinities as the strings that MLflow reads: JSON has no numbers for them.
// serde's `serialize_with` passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
pub(crate) fn serialize_f64<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_nan() {
        serializer.serialize_str("NaN")
    } else if value.is_infinite() {
        serializer.serialize_str(if *value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        serializer.serialize_f64(*value)
    }
}

struct FloatVisitor;

impl Visitor<'_> for FloatVisitor {
    type Value = f64;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a number, or \"NaN\", \"Infinity\" or \"-Infinity\"")
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    // A double that happens to be whole may be written without a point; what f64 cannot hold is rounded, as in MLflow.
    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<f64, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = i64;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a 64-bit integer as a number or as a string")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<i64, E> {
        Ok(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<i64, E> {
        i64::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<i64, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Sample {
        #[serde(deserialize_with = "deserialize_f64", serialize_with = "serialize_f64")]
        value: f64,
        #[serde(deserialize_with = "deserialize_i64")]
        step: i64,
        #[serde(deserialize_with = "deserialize_optional_i64")]
        end_time: Option<i64>,
    }

    fn parse(text: &str) -> Result<Sample, serde_json::Error> {
        serde_json::from_str(text)
    }

    #[test]
    fn doubles_are_read_from_numbers_and_from_protobufs_strings() {
        assert!((parse(r#"{"value": 0.5}"#).unwrap().value - 0.5).abs() < f64::EPSILON);
        assert!((parse(r#"{"value": 2}"#).unwrap().value - 2.0).abs() < f64::EPSILON);
        assert!(parse(r#"{"value": "NaN"}"#).unwrap().value.is_nan());
        assert!((parse(r#"{"value": "Infinity"}"#).unwrap().value).is_infinite());
        assert!(
            parse(r#"{"value": "-Infinity"}"#)
                .unwrap()
                .value
                .is_sign_negative()
        );
        assert!(
            parse(r#"{"value": "much"}"#)
                .unwrap_err()
                .to_string()
                .contains("a number, or")
        );
    }

    #[test]
    fn integers_are_read_from_numbers_and_strings_and_absence_is_not_zero() {
        let sample = parse(r#"{"step": "7", "end_time": 1700000000000, "unknown": {}}"#).unwrap();
        assert_eq!((sample.step, sample.end_time), (7, Some(1_700_000_000_000)));
        assert_eq!(parse(r#"{"end_time": "1"}"#).unwrap().end_time, Some(1));
        assert_eq!(parse("{}").unwrap().end_time, None);
        assert_eq!(parse(r#"{"end_time": null}"#).unwrap().end_time, None);
        assert!(parse(r#"{"step": 18446744073709551615}"#).is_err());
    }

    #[test]
    fn what_json_has_no_number_for_is_written_as_protobufs_string() {
        let write = |value| {
            serde_json::to_string(&Sample {
                value,
                ..Sample::default()
            })
            .unwrap()
        };
        assert!(write(f64::NAN).contains(r#""value":"NaN""#));
        assert!(write(f64::NEG_INFINITY).contains(r#""value":"-Infinity""#));
        assert!(write(0.25).contains(r#""value":0.25"#));
    }
}
