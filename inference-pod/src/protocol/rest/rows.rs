//! Rows of JSON to tensors, with errors that name the row, the field and what was expected.

use serde_json::Value;

use crate::configuration::TensorConfig;
use crate::error::{InferenceError, Result};
use crate::models::ModelVersion;
use crate::protocol::json_tensor;
use crate::tensor::{DataType, InferenceRequest, Tensor, TensorData};

/// Requests that together hold all rows, none larger than the model takes.
pub(super) fn decode(model: &ModelVersion, instances: &[Value]) -> Result<Vec<InferenceRequest>> {
    if instances.is_empty() {
        return Err(InferenceError::invalid(
            "\"instances\" is empty: send at least one row",
        ));
    }
    let config = &model.config;
    let chunk = match config.max_batch_size {
        0 => 1,
        size => size as usize,
    };
    let inputs = config.inputs.as_slice();
    let mut requests = Vec::with_capacity(instances.len().div_ceil(chunk));
    for (index, rows) in instances.chunks(chunk).enumerate() {
        let first = index * chunk;
        let tensors = match (feature_names(model), inputs) {
            (Some(names), [input]) => {
                let ordered = rows
                    .iter()
                    .enumerate()
                    .map(|(offset, row)| order_features(row, names, input.datatype, first + offset))
                    .collect::<Result<Vec<_>>>()?;
                vec![tensor(model, input, &ordered.iter().collect::<Vec<_>>(), first)?]
            }
            (_, inputs) => by_tensor_name(model, inputs, rows, first)?,
        };
        requests.push(InferenceRequest {
            inputs: tensors,
            ..InferenceRequest::default()
        });
    }
    Ok(requests)
}

/// Names of the columns of the only input, where the publisher knew them.
fn feature_names(model: &ModelVersion) -> Option<&[String]> {
    let names = model
        .manifest
        .as_ref()
        .map(|manifest| manifest.feature_names.as_slice())?;
    (!names.is_empty()).then_some(names)
}

/// One row as a list in the order of the features.
fn order_features(row: &Value, names: &[String], datatype: DataType, number: usize) -> Result<Value> {
    let is_value = |value: &Value| match datatype {
        DataType::Bytes => value.is_string(),
        DataType::Bool => value.is_boolean(),
        _ => value.is_number(),
    };
    let wanted = match datatype {
        DataType::Bytes => "a string",
        DataType::Bool => "true or false",
        _ => "a number",
    };
    match row {
        Value::Object(fields) => {
            if let Some(stray) = fields.keys().find(|field| !names.contains(field)) {
                return Err(wrong(
                    number,
                    format!(
                        "has an unknown field \"{stray}\"; its fields are {}",
                        quoted(names)
                    ),
                ));
            }
            let values = names.iter().map(|name| match fields.get(name) {
                Some(value) if is_value(value) => Ok(value.clone()),
                Some(other) => Err(wrong(
                    number,
                    format!("field \"{name}\" must be {wanted}, not {other}"),
                )),
                None => Err(wrong(
                    number,
                    format!("lacks the field \"{name}\", which must be {wanted}"),
                )),
            });
            Ok(Value::Array(values.collect::<Result<_>>()?))
        }
        Value::Array(values) => {
            if values.len() != names.len() {
                return Err(wrong(
                    number,
                    format!(
                        "has {} values, but there are {} features: {}",
                        values.len(),
                        names.len(),
                        quoted(names)
                    ),
                ));
            }
            match values.iter().zip(names).find(|(value, _)| !is_value(value)) {
                Some((other, name)) => Err(wrong(
                    number,
                    format!("field \"{name}\" must be {wanted}, not {other}"),
                )),
                None => Ok(row.clone()),
            }
        }
        other => Err(wrong(number, format!("must be a list or an object, not {other}"))),
    }
}

/// Rows of a model whose features have no names: an object by input names, or the value itself for a single input.
fn by_tensor_name(
    model: &ModelVersion,
    inputs: &[TensorConfig],
    rows: &[Value],
    first: usize,
) -> Result<Vec<Tensor>> {
    let names: Vec<_> = inputs.iter().map(|input| input.name.clone()).collect();
    inputs
        .iter()
        .map(|input| {
            let values = rows.iter().enumerate().map(|(offset, row)| match row {
                Value::Object(fields) => {
                    if let Some(stray) = fields.keys().find(|field| !names.contains(field)) {
                        let known = quoted(&names);
                        return Err(wrong(
                            first + offset,
                            format!("has an unknown field \"{stray}\"; its fields are {known}"),
                        ));
                    }
                    fields.get(&input.name).ok_or_else(|| {
                        wrong(
                            first + offset,
                            format!("lacks the field \"{}\" of {}", input.name, input.datatype),
                        )
                    })
                }
                value if inputs.len() == 1 => Ok(value),
                _ => Err(wrong(
                    first + offset,
                    format!("must be an object with the fields {}", quoted(&names)),
                )),
            });
            tensor(model, input, &values.collect::<Result<Vec<_>>>()?, first)
        })
        .collect()
}

/// Rows of one input, put together. Open sizes are those of the first row.
fn tensor(model: &ModelVersion, input: &TensorConfig, rows: &[&Value], first: usize) -> Result<Tensor> {
    let batched = model.config.max_batch_size > 0;
    let mut dims: Option<Vec<i64>> = None;
    let mut bytes = Vec::new();
    let mut strings = Vec::new();
    for (offset, row) in rows.iter().enumerate() {
        let mut shape = shape_of(row);
        if batched && input.dims == [1] && shape.is_empty() {
            // One value a row needs no list around it.
            shape = vec![1];
        }
        let fits = shape.len() == input.dims.len()
            && input
                .dims
                .iter()
                .zip(&shape)
                .all(|(wanted, given)| *wanted == -1 || wanted == given);
        if !fits || dims.as_ref().is_some_and(|dims| *dims != shape) {
            let wanted = dims.as_ref().unwrap_or(&input.dims);
            return Err(wrong(
                first + offset,
                format!(
                    "input \"{}\" must have shape {wanted:?}, not {shape:?}",
                    input.name
                ),
            ));
        }
        dims = Some(shape);
        let text = row.to_string();
        match json_tensor::decode(&input.name, input.datatype, &text, text.len()) {
            Ok(TensorData::Fixed(more)) => bytes.extend_from_slice(&more),
            Ok(TensorData::Strings(more)) => strings.extend(more),
            Err(error) => return Err(wrong(first + offset, error.message)),
        }
    }
    let rows = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let shape = batched
        .then_some(rows)
        .into_iter()
        .chain(dims.unwrap_or_default())
        .collect();
    let data = match input.datatype {
        DataType::Bytes => TensorData::Strings(strings),
        _ => TensorData::Fixed(bytes.into()),
    };
    Tensor::new(input.name.clone(), input.datatype, shape, data)
        .map_err(|error| wrong(first, format!("its lists are ragged: {}", error.message)))
}

/// Sizes of nested lists, following the first element of each.
fn shape_of(value: &Value) -> Vec<i64> {
    let mut shape = Vec::new();
    let mut inner = value;
    while let Value::Array(list) = inner {
        shape.push(i64::try_from(list.len()).unwrap_or(i64::MAX));
        match list.first() {
            Some(first) => inner = first,
            None => break,
        }
    }
    shape
}

fn wrong(row: usize, what: String) -> InferenceError {
    InferenceError::invalid(format!("instances[{row}]: {what}"))
}

fn quoted(names: &[String]) -> String {
    const SHOWN: usize = 40;
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|name| format!("\"{name}\""))
        .collect();
    let more = if names.len() > SHOWN {
        format!(" and {} more", names.len() - SHOWN)
    } else {
        String::new()
    };
    shown.join(", ") + &more
}
