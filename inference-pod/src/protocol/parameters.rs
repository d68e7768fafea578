//! Parameters of requests, inputs and outputs, whichever protocol they came by.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::error::{InferenceError, Result};

/// A parameter's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Parameter {
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    /// Something that is no parameter, such as a list.
    Other,
}

/// What is no parameter is passed over as it comes: serde's own way to tell variants apart would first keep all of it.
impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ParameterVisitor)
    }
}

struct ParameterVisitor;

impl<'de> Visitor<'de> for ParameterVisitor {
    type Value = Parameter;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a parameter")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Parameter, E> {
        Ok(Parameter::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Parameter, E> {
        Ok(Parameter::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Parameter, E> {
        Ok(i64::try_from(value).map_or(Parameter::Unsigned(value), Parameter::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Parameter, E> {
        Ok(Parameter::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Parameter, E> {
        Ok(Parameter::Text(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Parameter, E> {
        Ok(Parameter::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Parameter, A::Error> {
        IgnoredAny.visit_seq(list).map(|_| Parameter::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Parameter, A::Error> {
        IgnoredAny.visit_map(map).map(|_| Parameter::Other)
    }
}

impl Parameter {
    pub(super) fn as_bool(&self, name: &str) -> Result<bool> {
        match self {
            Self::Bool(value) => Ok(*value),
            _ => Err(InferenceError::invalid(format!(
                "parameter '{name}' must be true or false"
            ))),
        }
    }

    pub(super) fn as_unsigned(&self, name: &str) -> Result<u64> {
        match self {
            Self::Unsigned(value) => Ok(*value),
            Self::Integer(value) if *value >= 0 => Ok(value.unsigned_abs()),
            _ => Err(InferenceError::invalid(format!(
                "parameter '{name}' must be an integer that is not negative"
            ))),
        }
    }
}

/// What a request says of its scheduling: the schedule-policy extension.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SchedulePolicy {
    /// Give up when it has not begun to run after this time.
    pub(super) timeout: Option<Duration>,
    /// 1 is the most urgent; 0 where the request leaves it to the model.
    pub(super) priority: u64,
}

/// How a request is to be scheduled, from its parameters. What asks for an extension that is not here is refused.
pub(super) fn schedule_policy<'a>(
    parameters: impl Iterator<Item = (&'a str, &'a Parameter)>,
) -> Result<SchedulePolicy> {
    let mut policy = SchedulePolicy::default();
    for (name, value) in parameters {
        if matches!(value, Parameter::Other) {
            return Err(InferenceError::invalid(format!(
                "parameter '{name}' has invalid type. It should be either 'int', 'bool', or 'string'."
            )));
        }
        match name {
            "sequence_id" | "sequence_start" | "sequence_end" => {
                return Err(InferenceError::unsupported(format!(
                    "parameter '{name}' is not supported: this server keeps no state between requests"
                )));
            }
            // Microseconds; 0 means none, as the clients send it.
            "timeout" => {
                let microseconds = value.as_unsigned(name)?;
                policy.timeout = (microseconds > 0).then(|| Duration::from_micros(microseconds));
            }
            "priority" => policy.priority = value.as_unsigned(name)?,
            _ => {}
        }
    }
    Ok(policy)
}

/// Refuses what Triton keeps for itself; `allowed` are those of its parameters that a protocol takes.
pub(super) fn check_reserved<'a>(names: impl Iterator<Item = &'a str>, allowed: &[&str]) -> Result<()> {
    for name in names {
        if name.starts_with("triton_") && !allowed.contains(&name) {
            let rest = match allowed {
                [] => " and should not be specified.".to_owned(),
                allowed => format!(
                    ". Only the following keys starting with 'triton_' are allowed: {}",
                    allowed.join(" ")
                ),
            };
            return Err(InferenceError::invalid(format!(
                "parameter keys starting with 'triton_' are reserved for Triton usage{rest}"
            )));
        }
    }
    Ok(())
}

/// A version number as clients write it; empty for none.
pub(super) fn version(text: &str) -> Result<Option<u64>> {
    if text.is_empty() {
        return Ok(None);
    }
    match text.parse::<i64>() {
        Ok(number) => u64::try_from(number).map(Some).map_err(|_| {
            InferenceError::invalid(format!(
                "invalid model version specified '{text}' , version should be an integral value > 0"
            ))
        }),
        // The name of a C function, as Triton says it.
        Err(_) => Err(InferenceError::invalid(format!(
            "failed to get model version from specified version string '{text}' (details: stol), version should be an \
             integral value > 0"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_json_become_parameters_and_nothing_of_a_list_is_kept() {
        for (json, expected) in [
            ("true", Parameter::Bool(true)),
            ("-1", Parameter::Integer(-1)),
            ("7", Parameter::Integer(7)),
            ("18446744073709551615", Parameter::Unsigned(u64::MAX)),
            ("1.5", Parameter::Float(1.5)),
            (r#""a\n""#, Parameter::Text("a\n".into())),
            ("null", Parameter::Other),
            (r#"[1, [2], {"a": 3}]"#, Parameter::Other),
            (r#"{"a": [1]}"#, Parameter::Other),
        ] {
            assert_eq!(
                serde_json::from_str::<Parameter>(json).unwrap(),
                expected,
                "{json}"
            );
        }
        assert!(serde_json::from_str::<Parameter>("[1, x]").is_err());
    }
}
