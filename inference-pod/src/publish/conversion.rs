//! `conversion.json`: what the converter knows about the model.

use std::path::Path;

use aiops_model_repository::Task;
use serde::Deserialize;

use super::termination::{Failure, Reason};

pub(super) const FILE: &str = "conversion.json";

/// What the outputs mean, and where the model comes from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Conversion {
    pub(super) task: Option<Task>,
    #[serde(default)]
    pub(super) feature_names: Vec<String>,
    #[serde(default)]
    pub(super) class_labels: Vec<String>,
    #[serde(default)]
    pub(super) class_values: Vec<serde_json::Value>,
    #[serde(default)]
    pub(super) source: Option<serde_json::Value>,
}

/// Reads it; nothing where there is none.
pub(super) fn read(folder: &Path) -> Result<Option<Conversion>, Failure> {
    let path = folder.join(FILE);
    let invalid = |reason: String| Failure::new(Reason::InvalidModel, format!("{FILE}: {reason}"));
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(invalid(error.to_string())),
    };
    let conversion: Conversion = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
    if conversion.class_labels.len() != conversion.class_values.len() {
        return Err(invalid(format!(
            "it has {} classLabels but {} classValues",
            conversion.class_labels.len(),
            conversion.class_values.len()
        )));
    }
    Ok(Some(conversion))
}
