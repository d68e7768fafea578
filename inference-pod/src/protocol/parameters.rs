//! Parameters of requests, inputs and outputs, whichever protocol they came by.

use std::time::Duration;

use serde::Deserialize;

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

/// Refuses parameters of tensors that ask for an extension that is not here.
pub(super) fn check_tensor_parameter(tensor: &str, name: &str) -> Result<()> {
    match name {
        "shared_memory_region" | "shared_memory_offset" | "shared_memory_byte_size" => {
            Err(InferenceError::unsupported(format!(
                "tensor '{tensor}': shared memory is not supported, send the data"
            )))
        }
        _ => Ok(()),
    }
}
