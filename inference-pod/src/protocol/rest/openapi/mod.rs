//! The OpenAPI 3.1 document of this front: what every server answers, and for each loaded model its rows and predictions.
//!
//! Written by hand rather than derived from types: names, types and classes are those of the models of the moment.
//! <https://spec.openapis.org/oas/v3.1.1>

mod operations;
mod schemas;

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::models::{ModelVersion, Registry};

const DESCRIPTION: &str = "Send rows, get predictions. A row is an object with a value for each field of the model; \
    no tensors, no shapes. Errors say which row and which field is wrong, and what was expected. \
    The same models answer over the Open Inference Protocol on other ports.";

/// The document for the models that answer now.
pub(super) fn document(registry: &Registry) -> Value {
    let mut paths = Map::new();
    let mut schemas = schemas::shared();
    let mut tags =
        vec![json!({"name": "server", "description": "Which models there are, and whether they answer"})];
    operations::of_server(&mut paths);
    for versions in by_model(registry.all()) {
        let name = &versions[0].name;
        let components: Vec<_> = versions.iter().map(|version| component(version)).collect();
        let numbers: Vec<_> = versions.iter().map(|version| version.version).collect();
        for version in &versions {
            schemas.extend(schemas::of_version(version, &component(version)));
            operations::of_version(&mut paths, version, &component(version));
        }
        // Between two looks the model may have gone; then it is not in this document.
        if let Ok(default) = registry.find(name, None) {
            schemas.extend(schemas::of_version(&default, &component(&default)));
            let all = operations::Versions {
                numbers: &numbers,
                components: &components,
            };
            operations::of_model(&mut paths, &default, &component(&default), &all);
        }
        tags.push(json!({"name": name, "description": format!("Model {name}")}));
    }
    json!({
        "openapi": "3.1.1",
        "info": {
            "title": "Predictions",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": tags,
        "paths": paths,
        "components": {"schemas": schemas, "headers": schemas::headers(), "parameters": schemas::parameters()},
    })
}

fn by_model(versions: Vec<Arc<ModelVersion>>) -> Vec<Vec<Arc<ModelVersion>>> {
    let mut models: Vec<Vec<Arc<ModelVersion>>> = Vec::new();
    for version in versions {
        match models.last_mut().filter(|model| model[0].name == version.name) {
            Some(model) => model.push(version),
            None => models.push(vec![version]),
        }
    }
    models
}

/// Start of the names of a version's schemas, in which few characters are allowed.
fn component(version: &ModelVersion) -> String {
    let mut name = escaped(&version.name, '_', "-_");
    // Writing to a string cannot fail.
    let _ = write!(name, ".{}.", version.version);
    name
}

/// A name as a segment of a path.
fn segment(name: &str) -> String {
    escaped(name, '%', "-_.~")
}

/// Letters, digits and what is `safe` as they are, everything else as hexadecimal digits behind `escape`.
fn escaped(name: &str, escape: char, safe: &str) -> String {
    let mut escaped = String::new();
    for byte in name.bytes() {
        let character = char::from(byte);
        if character.is_ascii_alphanumeric() || safe.contains(character) {
            escaped.push(character);
        } else {
            let _ = write!(escaped, "{escape}{byte:02X}");
        }
    }
    escaped
}

fn reference(schema: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_where_they_stand() {
        assert_eq!(segment("a b{c}/é"), "a%20b%7Bc%7D%2F%C3%A9");
        assert_eq!(segment("churn-v2.1_x~"), "churn-v2.1_x~");
        assert_eq!(escaped("a.b", '_', "-_"), "a_2Eb");
    }
}
