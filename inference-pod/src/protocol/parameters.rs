//! Parameters of requests, inputs and outputs, whichever protocol they came by.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{InferenceError, Result};

/// A parameter's value.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub(super) enum Parameter {
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    /// Something that is no parameter, such as a list.
    Other(IgnoredAny),
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
        if let Parameter::Other(_) = value {
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
