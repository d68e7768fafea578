//! From the tree of a text to a checked `ModelConfig`.

use std::time::Duration;

use super::text_format::{ConfigError, Field, Message, Value, error_at, parse};
use super::{DynamicBatching, ModelConfig, TensorConfig, VersionPolicy};
use crate::configuration::DEFAULT_MODEL_FILE;
use crate::tensor::DataType;

type Result<T> = std::result::Result<T, ConfigError>;

/// Settings of Triton that this server knows but does not honour, with what to do instead.
const UNSUPPORTED: [(&str, &str); 14] = [
    (
        "sequence_batching",
        "sequences need a stateful scheduler; serve the model with spec.runtime: Triton",
    ),
    (
        "ensemble_scheduling",
        "call the models one after another, or join them into one ONNX graph",
    ),
    ("batch_input", "ragged batches are not supported; pad the inputs"),
    ("batch_output", "ragged batches are not supported; pad the inputs"),
    (
        "optimization",
        "remove it: ONNX Runtime's highest graph optimization is always on",
    ),
    ("response_cache", "remove it: answers are not cached"),
    (
        "model_warmup",
        "remove it: every model is run once before it serves",
    ),
    ("model_operations", "custom operator libraries are not supported"),
    ("model_transaction_policy", "decoupled answers are not supported"),
    ("model_repository_agents", "remove it: digests are checked always"),
    ("model_metrics", "remove it: histograms are always there"),
    ("metric_tags", "remove it: label the pods instead"),
    (
        "cc_model_filenames",
        "GPU compute capabilities have no meaning here",
    ),
    ("runtime", "remove it: ONNX Runtime is the only runtime"),
];

/// Reads `config.pbtxt`.
pub fn read(text: &str) -> Result<ModelConfig> {
    let mut config = ModelConfig {
        model_file: DEFAULT_MODEL_FILE.to_owned(),
        instances: 1,
        ..ModelConfig::default()
    };
    for field in &parse(text)?.fields {
        match field.name.as_str() {
            "name" => config.name = string(field)?,
            "backend" => only(field, "onnxruntime")?,
            "platform" => only(field, "onnxruntime_onnx")?,
            "max_batch_size" => config.max_batch_size = number(field)?,
            "input" => config.inputs.push(tensor(
                field,
                &[("format", "FORMAT_NONE"), ("optional", "false")],
            )?),
            "output" => config.outputs.push(tensor(field, &[])?),
            "default_model_filename" => config.model_file = file_name(field)?,
            "instance_group" => config.instances = instances(field)?,
            "dynamic_batching" => config.dynamic_batching = Some(dynamic_batching(field)?),
            "version_policy" => config.version_policy = version_policy(field)?,
            "parameters" => {
                let (key, value) = parameter(field)?;
                config.parameters.insert(key, value);
            }
            name => return Err(unsupported(field, name)),
        }
    }
    Ok(config)
}

fn unsupported(field: &Field, name: &str) -> ConfigError {
    match UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        Some((_, remedy)) => error_at(field.line, format!("{name} is not supported; {remedy}")),
        None => unknown(field, "a model configuration"),
    }
}

fn unknown(field: &Field, place: &str) -> ConfigError {
    error_at(
        field.line,
        format!("unknown or unsupported field {} in {place}", field.name),
    )
}

fn message(field: &Field) -> Result<&Message> {
    match &field.value {
        Value::Message(message) => Ok(message),
        _ => Err(error_at(
            field.line,
            format!("{} must be a message in braces", field.name),
        )),
    }
}

fn string(field: &Field) -> Result<String> {
    match &field.value {
        Value::String(text) => Ok(text.clone()),
        _ => Err(error_at(
            field.line,
            format!("{} must be a string in quotes", field.name),
        )),
    }
}

fn scalar(field: &Field) -> Result<&str> {
    match &field.value {
        Value::Scalar(text) => Ok(text),
        _ => Err(error_at(
            field.line,
            format!("{} must be a number or a name without quotes", field.name),
        )),
    }
}

fn number<T: std::str::FromStr>(field: &Field) -> Result<T> {
    let text = scalar(field)?;
    text.parse()
        .map_err(|_| error_at(field.line, format!("{} cannot be {text}", field.name)))
}

fn only(field: &Field, supported: &str) -> Result<()> {
    let text = string(field)?;
    if text == supported {
        return Ok(());
    }
    Err(error_at(
        field.line,
        format!(
            "{} \"{text}\" is not supported, only \"{supported}\" is",
            field.name
        ),
    ))
}

fn file_name(field: &Field) -> Result<String> {
    let name = string(field)?;
    if name.is_empty() || name.contains(['/', '\\']) || name == ".." {
        return Err(error_at(
            field.line,
            format!(
                "{} must be the name of a file in the version's folder",
                field.name
            ),
        ));
    }
    Ok(name)
}

/// A tensor; `harmless` are fields with the one value that changes nothing.
fn tensor(field: &Field, harmless: &[(&str, &str)]) -> Result<TensorConfig> {
    let mut name = None;
    let mut datatype = None;
    let mut dims = Vec::new();
    let mut reshape = None;
    let mut label_filename = None;
    for inner in &message(field)?.fields {
        match inner.name.as_str() {
            "name" => name = Some(string(inner)?),
            "data_type" => datatype = Some(data_type(inner)?),
            "dims" => dims.push(dimension(inner)?),
            "reshape" => {
                let shape = message(inner)?
                    .fields
                    .iter()
                    .map(|size| match size.name.as_str() {
                        "shape" => dimension(size),
                        _ => Err(unknown(size, "reshape")),
                    });
                reshape = Some(shape.collect::<Result<Vec<_>>>()?);
            }
            "label_filename" if field.name == "output" => {
                let given = !matches!(&inner.value, Value::String(text) if text.is_empty());
                label_filename = given.then(|| file_name(inner)).transpose()?;
            }
            "label_filename" | "allow_ragged_batch" | "is_shape_tensor" | "is_non_linear_format_io" => {
                let off = matches!(&inner.value, Value::Scalar(text) if text == "false")
                    || matches!(&inner.value, Value::String(text) if text.is_empty());
                if !off {
                    return Err(error_at(inner.line, format!("{} is not supported", inner.name)));
                }
            }
            other => match harmless.iter().find(|(known, _)| *known == other) {
                Some((_, value)) if scalar(inner)? == *value => {}
                Some((_, value)) => {
                    return Err(error_at(
                        inner.line,
                        format!("{other} is not supported but for {value}"),
                    ));
                }
                None => return Err(unknown(inner, &field.name)),
            },
        }
    }
    let name = name.ok_or_else(|| error_at(field.line, format!("{} lacks its name", field.name)))?;
    let datatype = datatype
        .ok_or_else(|| error_at(field.line, format!("{} '{name}' lacks its data_type", field.name)))?;
    Ok(TensorConfig {
        name,
        datatype,
        dims,
        reshape,
        label_filename,
    })
}

fn dimension(field: &Field) -> Result<i64> {
    let size: i64 = number(field)?;
    if size == -1 || size > 0 {
        return Ok(size);
    }
    Err(error_at(
        field.line,
        format!("{} must be -1 or positive, not {size}", field.name),
    ))
}

fn data_type(field: &Field) -> Result<DataType> {
    let text = scalar(field)?;
    DataType::ALL
        .into_iter()
        .find(|datatype| super::datatype_name(*datatype) == text)
        .ok_or_else(|| error_at(field.line, format!("data_type {text} is not known")))
}

fn instances(field: &Field) -> Result<u32> {
    let mut count = 1;
    for inner in &message(field)?.fields {
        match (inner.name.as_str(), &inner.value) {
            ("count", _) => count = number(inner)?,
            ("name", Value::String(_)) => {}
            ("kind", Value::Scalar(kind)) if matches!(kind.as_str(), "KIND_CPU" | "KIND_AUTO") => {}
            ("kind", Value::Scalar(kind)) => {
                return Err(error_at(
                    inner.line,
                    format!("instance_group kind {kind} is not supported, use KIND_CPU"),
                ));
            }
            _ => return Err(unknown(inner, "instance_group")),
        }
    }
    match count {
        1..=64 => Ok(count),
        _ => Err(error_at(
            field.line,
            format!("instance_group count {count} is not between 1 and 64"),
        )),
    }
}

fn dynamic_batching(field: &Field) -> Result<DynamicBatching> {
    let mut batching = DynamicBatching::default();
    for inner in &message(field)?.fields {
        match inner.name.as_str() {
            "preferred_batch_size" => batching.preferred_batch_sizes.push(number(inner)?),
            "max_queue_delay_microseconds" => {
                batching.max_queue_delay = Duration::from_micros(number(inner)?);
            }
            "default_queue_policy" => {
                for policy in &message(inner)?.fields {
                    match policy.name.as_str() {
                        "max_queue_size" => batching.max_queue_size = number(policy)?,
                        _ => return Err(unknown(policy, "default_queue_policy")),
                    }
                }
            }
            _ => return Err(unknown(inner, "dynamic_batching")),
        }
    }
    Ok(batching)
}

fn version_policy(field: &Field) -> Result<VersionPolicy> {
    let [choice] = message(field)?.fields.as_slice() else {
        return Err(error_at(
            field.line,
            "version_policy must hold one of latest, all and specific",
        ));
    };
    let inner = &message(choice)?.fields;
    match choice.name.as_str() {
        "all" => Ok(VersionPolicy::All),
        "latest" => {
            let mut count = 1;
            for setting in inner {
                match setting.name.as_str() {
                    "num_versions" => count = number(setting)?,
                    _ => return Err(unknown(setting, "latest")),
                }
            }
            Ok(VersionPolicy::Latest(count))
        }
        "specific" => {
            let versions = inner.iter().map(|setting| match setting.name.as_str() {
                "versions" => number(setting),
                _ => Err(unknown(setting, "specific")),
            });
            Ok(VersionPolicy::Specific(versions.collect::<Result<_>>()?))
        }
        _ => Err(unknown(choice, "version_policy")),
    }
}

fn parameter(field: &Field) -> Result<(String, String)> {
    let mut key = None;
    let mut value = String::new();
    for inner in &message(field)?.fields {
        match inner.name.as_str() {
            "key" => key = Some(string(inner)?),
            "value" => {
                for setting in &message(inner)?.fields {
                    match setting.name.as_str() {
                        "string_value" => value = string(setting)?,
                        _ => return Err(unknown(setting, "parameters")),
                    }
                }
            }
            _ => return Err(unknown(inner, "parameters")),
        }
    }
    Ok((
        key.ok_or_else(|| error_at(field.line, "parameters lacks its key"))?,
        value,
    ))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
