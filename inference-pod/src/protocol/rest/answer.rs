//! Outputs of a model in the words of its task: labels with probabilities, or values.

use aiops_model_repository::{Manifest, Task};
use serde_json::{Map, Value, json};

use super::elements;
use crate::models::ModelVersion;
use crate::tensor::{InferenceResponse, Tensor};

/// What a model takes and answers.
pub(super) fn describe(model: &ModelVersion, versions: &[u64]) -> Value {
    let tensors = |tensors: &[crate::configuration::TensorConfig]| -> Vec<Value> {
        let shape =
            |tensor: &crate::configuration::TensorConfig| tensor.client_shape(model.config.max_batch_size);
        tensors
            .iter()
            .map(|tensor| json!({"name": tensor.name, "datatype": tensor.datatype.name(), "shape": shape(tensor)}))
            .collect()
    };
    let manifest = model.manifest.as_ref();
    json!({
        "name": model.name,
        "ready": true,
        "model": model.name,
        "version": model.version,
        "versions": versions,
        "digest": model.digest.to_string(),
        "task": manifest.and_then(|manifest| manifest.task),
        "featureNames": manifest.map(|manifest| &manifest.feature_names),
        "classLabels": manifest.map(|manifest| &manifest.class_labels),
        "inputs": tensors(&model.config.inputs),
        "outputs": tensors(&model.config.outputs),
    })
}

/// One prediction for each row.
pub(super) fn predictions(model: &ModelVersion, answer: &InferenceResponse) -> Vec<Value> {
    let batched = model.config.max_batch_size > 0;
    let columns = answer
        .outputs
        .iter()
        .map(|output| (output, rows(output, batched)));
    let columns: Vec<(&Tensor, Vec<Value>)> = columns.collect();
    let count = columns.first().map_or(0, |(_, rows)| rows.len());
    let column = |name: &str| {
        columns
            .iter()
            .find(|(output, _)| output.name == name)
            .map(|(_, rows)| rows.as_slice())
    };
    let manifest = model.manifest.as_ref();
    match manifest.and_then(|manifest| manifest.task) {
        Some(Task::Classification) => {
            if let (Some(manifest), Some(labels)) = (manifest, column("label")) {
                let probabilities = column("probabilities");
                return (0..count)
                    .map(|row| {
                        classification(
                            manifest,
                            labels.get(row),
                            probabilities.and_then(|rows| rows.get(row)),
                        )
                    })
                    .collect();
            }
        }
        Some(Task::Regression) => {
            if let Some(values) = column("prediction") {
                return values
                    .iter()
                    .map(|value| json!({"value": scalar(value)}))
                    .collect();
            }
        }
        None => {}
    }
    (0..count).map(|row| by_output_name(&columns, row)).collect()
}

fn classification(manifest: &Manifest, label: Option<&Value>, probabilities: Option<&Value>) -> Value {
    let label = label.map_or(&Value::Null, scalar);
    let class = manifest.class_values.iter().position(|value| value == label);
    let name = class.and_then(|class| manifest.class_labels.get(class));
    let mut prediction = Map::new();
    prediction.insert(
        "label".to_owned(),
        name.map_or_else(|| label.clone(), |name| json!(name)),
    );
    if let Some(Value::Array(shares)) = probabilities {
        let by_name: Map<_, _> = manifest
            .class_labels
            .iter()
            .cloned()
            .zip(shares.iter().cloned())
            .collect();
        prediction.insert("probabilities".to_owned(), Value::Object(by_name));
    }
    Value::Object(prediction)
}

/// Models that nobody described: every output by its name.
fn by_output_name(columns: &[(&Tensor, Vec<Value>)], row: usize) -> Value {
    let named = columns
        .iter()
        .filter_map(|(output, rows)| Some((output.name.clone(), rows.get(row)?.clone())));
    Value::Object(named.collect())
}

/// The only element of a list of one, or the value itself.
fn scalar(value: &Value) -> &Value {
    match value {
        Value::Array(list) if list.len() == 1 => scalar(&list[0]),
        other => other,
    }
}

/// An output as one nested value for each row; as one row where the model has none.
fn rows(output: &Tensor, batched: bool) -> Vec<Value> {
    let mut flat = elements::values(output).into_iter();
    if !batched {
        return vec![nest(&output.shape, &mut flat)];
    }
    let count = output.shape.first().copied().unwrap_or(0);
    let inner = output.shape.get(1..).unwrap_or_default();
    (0..count).map(|_| nest(inner, &mut flat)).collect()
}

fn nest(shape: &[i64], flat: &mut impl Iterator<Item = Value>) -> Value {
    match shape {
        [] => flat.next().unwrap_or(Value::Null),
        [size, inner @ ..] => (0..*size).map(|_| nest(inner, flat)).collect(),
    }
}
