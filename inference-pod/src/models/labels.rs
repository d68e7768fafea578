//! Names of classes: those of the configuration's label files, else those that the publisher wrote.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use aiops_model_repository::{LocalVersion, Repository};

use super::load_error::LoadError;
use crate::configuration::{ModelConfig, TensorConfig};

/// The output whose columns a manifest's `classLabels` name.
const PROBABILITIES: &str = "probabilities";

/// Names of the classes of each output that has any.
pub(super) async fn read(
    repository: &Repository,
    model: &str,
    local: &LocalVersion,
    config: &ModelConfig,
) -> Result<BTreeMap<String, Vec<String>>, LoadError> {
    let mut labels = BTreeMap::new();
    if let Some(manifest) = &local.manifest
        && !manifest.class_labels.is_empty()
    {
        labels.insert(PROBABILITIES.to_owned(), manifest.class_labels.clone());
    }
    for output in &config.outputs {
        if let Some(file) = &output.label_filename {
            let text = label_file(repository, model, local, output, file).await?;
            labels.insert(output.name.clone(), text.lines().map(str::to_owned).collect());
        }
    }
    Ok(labels)
}

/// A published version has its label files in its folder; Triton's repositories have them beside their `config.pbtxt`.
async fn label_file(
    repository: &Repository,
    model: &str,
    local: &LocalVersion,
    output: &TensorConfig,
    file: &str,
) -> Result<String, LoadError> {
    let wrong = |what: String| {
        LoadError::Labels(format!(
            "label_filename \"{file}\" of output '{}' {what}",
            output.name
        ))
    };
    let bytes = match tokio::fs::read(local.folder.join(file)).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => repository
            .model_file(model, file)
            .await?
            .ok_or_else(|| wrong("is neither in the version's folder nor in the model's".to_owned()))?
            .into(),
        Err(error) => return Err(wrong(format!("cannot be read: {error}"))),
    };
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8 text".to_owned()))
}
