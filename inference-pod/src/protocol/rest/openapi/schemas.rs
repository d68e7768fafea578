//! Schemas of the document: JSON Schema 2020-12 of rows and predictions.

use aiops_model_repository::Task;
use serde_json::{Map, Value, json};

use super::reference;
use crate::configuration::TensorConfig;
use crate::models::ModelVersion;
use crate::protocol::rest::elements::{integer_range, largest_float};
use crate::protocol::rest::problems::MOST_LISTED;
use crate::protocol::rest::signature::{Field, Signature, is_float};
use crate::tensor::DataType;

type Schemas = Map<String, Value>;

/// What is the same for all models.
pub(super) fn shared() -> Schemas {
    let text = json!({"type": "string"});
    let texts = json!({"type": ["array", "null"], "items": {"type": "string"}});
    let tensors = json!({"type": "array", "items": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "datatype": {"type": "string", "enum": DataType::ALL.map(DataType::name)},
            "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
        },
        "required": ["name", "datatype", "shape"],
    }});
    let problem = json!({
        "type": "object",
        "properties": {
            "row": {"type": "integer", "minimum": 0, "description": "Number of the row, from 0; absent where it is about all rows"},
            "field": {"type": "string", "description": "The field, with the place in it, such as image[0][3]"},
            "expected": text, "got": text, "message": text,
        },
        "required": ["expected", "got", "message"],
    });
    let schemas = json!({
        "Models": object(&json!({"models": {"type": "array", "items": {"type": "string"}}})),
        "Health": {
            "type": "object",
            "properties": {
                "status": {"type": "string", "enum": ["ready", "alive", "loading models", "stopping"]},
                "requestId": text,
            },
            "required": ["status"],
        },
        "Model": object(&json!({
            "name": text,
            "ready": {"type": "boolean"},
            "model": text,
            "version": {"type": "integer", "minimum": 0},
            "versions": {"type": "array", "items": {"type": "integer", "minimum": 0}},
            "digest": text,
            "task": {"enum": ["Classification", "Regression", null]},
            "featureNames": texts,
            "classLabels": texts,
            "inputs": tensors,
            "outputs": tensors,
        })),
        "Problem": problem,
        "Error": {
            "type": "object",
            "properties": {
                "error": {"type": "string", "description": "What happened, to what, and what to do"},
                "errors": {
                    "type": "array",
                    "items": reference("Problem"),
                    "maxItems": MOST_LISTED,
                    "description": "What is wrong with the rows, one by one",
                },
                "errorCount": {"type": "integer", "minimum": 1, "description": "How many there are, those included that are not listed"},
                "requestId": {"type": "string", "description": "The id of the header X-Request-Id"},
            },
            "required": ["error", "requestId"],
        },
    });
    match schemas {
        Value::Object(schemas) => schemas,
        _ => Map::new(),
    }
}

pub(super) fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "Names the request in the server's log: the client's own id, or a new one",
            "required": true,
            "schema": {"type": "string", "minLength": 1, "maxLength": 128},
        },
        "RetryAfter": {
            "description": "Seconds after which it is worth trying again",
            "required": true,
            "schema": {"type": "integer", "minimum": 0},
        },
    })
}

pub(super) fn parameters() -> Value {
    json!({
        "RequestId": {
            "name": "X-Request-Id",
            "in": "header",
            "required": false,
            "description": "A name for the request, up to 128 visible ASCII characters; anything else is replaced by a new id",
            "schema": {"type": "string"},
        },
    })
}

/// Rows and predictions of a version of a model.
pub(super) fn of_version(model: &ModelVersion, component: &str) -> Schemas {
    let row = format!("{component}Row");
    let prediction = format!("{component}Prediction");
    let rows = json!({
        "type": "object",
        "properties": {
            "instances": {"type": "array", "items": reference(&row), "minItems": 1, "description": "The rows"},
        },
        "required": ["instances"],
        "additionalProperties": false,
    });
    let predictions = object(&json!({
        "model": {"const": model.name},
        "version": {"const": model.version},
        "predictions": {"type": "array", "items": reference(&prediction), "minItems": 1},
    }));
    Map::from_iter([
        (row, row_schema(&Signature::of(model))),
        (format!("{component}Rows"), rows),
        (prediction, prediction_schema(model)),
        (format!("{component}Predictions"), predictions),
    ])
}

/// A row that the model takes.
pub(super) fn example_row(model: &ModelVersion) -> Value {
    let signature = Signature::of(model);
    let fields = signature.fields.iter();
    Value::Object(
        fields
            .map(|field| (field.name.to_owned(), example(field)))
            .collect(),
    )
}

fn example(field: &Field<'_>) -> Value {
    let element = match field.datatype {
        DataType::Bool => json!(false),
        DataType::Bytes => json!("text"),
        datatype if is_float(datatype) => json!(0.0),
        _ => json!(0),
    };
    let dims: &[i64] = if field.unwraps { &[] } else { field.dims };
    dims.iter().rev().fold(element, |inner, size| {
        let count = usize::try_from(*size).unwrap_or(1);
        json!(vec![inner; count])
    })
}

fn row_schema(signature: &Signature<'_>) -> Value {
    let properties: Map<_, _> = signature
        .fields
        .iter()
        .map(|field| (field.name.to_owned(), field_schema(field)))
        .collect();
    let mut by_name = object(&Value::Object(properties));
    // In the order of the model, in which the page shows them too.
    by_name["required"] = signature.names().collect();
    by_name["additionalProperties"] = json!(false);
    by_name["description"] = json!("A value for each field, by its name");
    let mut forms = vec![by_name];
    if signature.has_list_rows() {
        let values: Vec<_> = signature.fields.iter().map(|field| field_schema(field)).collect();
        forms.push(json!({
            "type": "array",
            "prefixItems": values,
            "minItems": values.len(),
            "maxItems": values.len(),
            "description": "The values of all fields, in their order",
        }));
    }
    if signature.has_bare_rows() {
        forms.extend(signature.fields.iter().map(|field| field_schema(field)));
    }
    any_of(forms)
}

fn field_schema(field: &Field<'_>) -> Value {
    let inside_list = field
        .dims
        .iter()
        .rev()
        .fold(element_schema(field), |inner, size| {
            let mut list = json!({"type": "array", "items": inner});
            match usize::try_from(*size) {
                Ok(count) => {
                    list["minItems"] = json!(count);
                    list["maxItems"] = json!(count);
                }
                Err(_) => list["minItems"] = json!(1),
            }
            list
        });
    if field.unwraps {
        return any_of(vec![element_schema(field), inside_list]);
    }
    if field.dims.is_empty() {
        return element_schema(field);
    }
    inside_list
}

fn element_schema(field: &Field<'_>) -> Value {
    let with_null = |name: &str| {
        if field.nullable {
            json!([name, "null"])
        } else {
            json!(name)
        }
    };
    match field.datatype {
        DataType::Bool => json!({"type": ["boolean", "integer"], "minimum": 0, "maximum": 1}),
        DataType::Bytes => json!({"type": "string"}),
        datatype => match integer_range(datatype) {
            Some((smallest, largest)) => {
                json!({"type": with_null("integer"), "minimum": smallest, "maximum": largest})
            }
            None => {
                let largest = largest_float(datatype);
                json!({"type": with_null("number"), "minimum": -largest, "maximum": largest})
            }
        },
    }
}

fn prediction_schema(model: &ModelVersion) -> Value {
    let outputs = &model.config.outputs;
    let has = |name: &str| outputs.iter().any(|output| output.name == name);
    let manifest = model.manifest.as_ref();
    match manifest.and_then(|manifest| Some((manifest, manifest.task?))) {
        Some((manifest, Task::Classification)) if has("label") => {
            let labels: Vec<Value> = if manifest.class_labels.is_empty() {
                manifest.class_values.clone()
            } else {
                manifest.class_labels.iter().map(|label| json!(label)).collect()
            };
            let mut properties =
                json!({"label": if labels.is_empty() { json!({}) } else { json!({"enum": labels}) }});
            if has("probabilities") {
                let number = json!({"type": ["number", "null"]});
                let shares = manifest
                    .class_labels
                    .iter()
                    .map(|label| (label.clone(), number.clone()));
                properties["probabilities"] = object(&Value::Object(shares.collect()));
            }
            object(&properties)
        }
        Some((_, Task::Regression)) if has("prediction") => {
            object(&json!({"value": {"type": ["number", "null"]}}))
        }
        _ => {
            let schema = |output: &TensorConfig| {
                (
                    output.name.clone(),
                    output_schema(output, model.config.max_batch_size),
                )
            };
            object(&Value::Object(outputs.iter().map(schema).collect()))
        }
    }
}

fn output_schema(output: &TensorConfig, max_batch_size: u32) -> Value {
    if max_batch_size == 0 && output.dims.is_empty() {
        return json!({"description": "A value, or lists of values: the model leaves open how they are nested"});
    }
    let element = match output.datatype {
        DataType::Bool => json!({"type": "boolean"}),
        DataType::Bytes => json!({"type": "string"}),
        datatype if is_float(datatype) => {
            json!({"type": ["number", "null"], "description": "null stands for NaN and infinity, which JSON does not have"})
        }
        _ => json!({"type": "integer"}),
    };
    output
        .dims
        .iter()
        .fold(element, |inner, _| json!({"type": "array", "items": inner}))
}

fn object(properties: &Value) -> Value {
    let names: Vec<_> = properties
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    json!({"type": "object", "properties": properties, "required": names})
}

fn any_of(mut schemas: Vec<Value>) -> Value {
    match schemas.len() {
        1 => schemas.remove(0),
        _ => json!({"anyOf": schemas}),
    }
}
