//! The manifest of a published version: what its files are, and what the model takes and answers.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, is_sha256_hex};
use crate::error::{RepositoryError, Result};

/// Name of the manifest in a version's folder.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name of Triton's configuration in a model's or a version's folder.
pub const CONFIG_FILE: &str = "config.pbtxt";
/// The only format of manifests there is so far.
pub const FORMAT_VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 1; a reader refuses others.
    pub format_version: u32,
    /// Name of the model's folder.
    pub model: String,
    /// Name of the version's folder.
    pub version: u64,
    /// Digest over `files`.
    pub digest: Digest,
    /// Every file of the version but the manifest itself.
    pub files: Vec<ManifestFile>,
    /// Tensors the model takes, with the batch dimension as -1.
    pub inputs: Vec<TensorSignature>,
    /// Tensors the model answers.
    pub outputs: Vec<TensorSignature>,
    /// What the outputs mean, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Names of the columns of the input `features`; empty where unknown.
    #[serde(default)]
    pub feature_names: Vec<String>,
    /// Names of the classes, in the order of the columns of `probabilities`.
    #[serde(default)]
    pub class_labels: Vec<String>,
    /// What the output `label` holds for each class: integers or strings.
    #[serde(default)]
    pub class_values: Vec<serde_json::Value>,
    /// Operator-set version by domain; the empty domain is `ai.onnx`.
    #[serde(default)]
    pub opset: BTreeMap<String, i64>,
    /// Version of the ONNX file format.
    #[serde(default)]
    pub ir_version: i64,
    /// How well the model agrees with what it was converted from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Parity>,
    /// Where the model comes from, as its converter told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<serde_json::Value>,
}

/// One file of a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestFile {
    /// Path relative to the version's folder, with `/` between folders.
    pub path: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// SHA-256 as 64 hexadecimal digits.
    pub sha256: String,
}

/// Name, element type and shape of a tensor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorSignature {
    /// Name in the graph.
    pub name: String,
    /// Open Inference Protocol name, for example `FP32`.
    pub datatype: String,
    /// Sizes; -1 where any size goes.
    pub shape: Vec<i64>,
}

/// What a model's outputs mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// `label` and `probabilities`.
    Classification,
    /// `prediction`.
    Regression,
}

/// Agreement of the published model with the original's own answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parity {
    /// Rows compared.
    pub rows: u64,
    /// Share of rows with the same label, 0 to 1; absent for regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label_agreement: Option<f64>,
    /// Largest |served - original| over probabilities or predictions.
    pub max_absolute_difference: f64,
    /// Largest |served - original| / |original|.
    pub max_relative_difference: f64,
}

impl Manifest {
    /// Reads a manifest and checks that it does not contradict itself or lead out of its folder.
    pub fn parse(bytes: &[u8], location: &str) -> Result<Self> {
        let invalid = |reason: String| RepositoryError::InvalidManifest {
            location: location.to_owned(),
            reason,
        };
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if manifest.format_version != FORMAT_VERSION {
            return Err(invalid(format!(
                "formatVersion {} is not known, this program reads {FORMAT_VERSION}; update it",
                manifest.format_version
            )));
        }
        for file in &manifest.files {
            check_file_path(&file.path)?;
            if !is_sha256_hex(&file.sha256) {
                return Err(invalid(format!(
                    "sha256 of {} is not 64 lower-case hexadecimal digits",
                    file.path
                )));
            }
        }
        let computed = Digest::of_files(&manifest.files);
        if computed != manifest.digest {
            return Err(invalid(format!(
                "digest is {}, but that of its files is {computed}",
                manifest.digest
            )));
        }
        Ok(manifest)
    }

    /// The bytes to store.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a manifest holds nothing that JSON cannot express")
    }
}

/// Refuses paths that are absolute, climb up, or would replace the manifest.
pub(crate) fn check_file_path(path: &str) -> Result<()> {
    let plain = !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
    let reason = if !plain || path.contains('\\') || path.ends_with('/') {
        "it must be a plain relative path inside the version's folder"
    } else if path == MANIFEST_FILE {
        "the manifest cannot list itself"
    } else {
        return Ok(());
    };
    Err(RepositoryError::InvalidName {
        what: "file name",
        name: path.to_owned(),
        reason,
    })
}

/// Refuses model names that are no single folder.
pub(crate) fn check_model_name(model: &str) -> Result<()> {
    let single = matches!(
        Path::new(model).components().collect::<Vec<_>>()[..],
        [Component::Normal(_)]
    );
    if single && !model.contains(['/', '\\', '\0']) {
        return Ok(());
    }
    Err(RepositoryError::InvalidName {
        what: "model name",
        name: model.to_owned(),
        reason: "it must be the name of one folder",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let files = vec![ManifestFile {
            path: "model.onnx".into(),
            size_bytes: 3,
            sha256: "b".repeat(64),
        }];
        Manifest {
            format_version: 1,
            model: "tumour".into(),
            version: 2,
            digest: Digest::of_files(&files),
            files,
            inputs: vec![],
            outputs: vec![],
            task: Some(Task::Classification),
            feature_names: vec![],
            class_labels: vec![],
            class_values: vec![],
            opset: BTreeMap::from([(String::new(), 17)]),
            ir_version: 8,
            parity: None,
            source: None,
        }
    }

    #[test]
    fn a_manifest_survives_a_round_trip_with_the_names_of_the_contract() {
        let manifest = manifest();
        let json = manifest.to_json();
        assert_eq!(Manifest::parse(&json, "here").unwrap(), manifest);
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        for name in [
            "formatVersion",
            "featureNames",
            "classLabels",
            "classValues",
            "irVersion",
            "opset",
            "task",
        ] {
            assert!(value.get(name).is_some(), "{name}");
        }
        assert_eq!(value["files"][0]["sizeBytes"], 3);
    }

    #[test]
    fn manifests_that_lie_or_climb_are_refused() {
        let refuse = |change: fn(&mut Manifest), part: &str| {
            let mut manifest = manifest();
            change(&mut manifest);
            let error = Manifest::parse(&manifest.to_json(), "here")
                .unwrap_err()
                .to_string();
            assert!(error.contains(part), "{error}");
        };
        refuse(|m| m.format_version = 2, "formatVersion 2");
        refuse(|m| m.files[0].sha256 = "c".repeat(64), "but that of its files is");
        refuse(
            |m| m.files[0].path = "../../etc/passwd".into(),
            "plain relative path",
        );
        refuse(|m| m.files[0].path = "/etc/passwd".into(), "plain relative path");
        refuse(|m| m.files[0].path = MANIFEST_FILE.into(), "cannot list itself");
        assert!(Manifest::parse(b"{", "here").is_err());
    }

    #[test]
    fn model_names_are_single_folders() {
        assert!(check_model_name("tumour-2.b").is_ok());
        for wrong in ["", ".", "..", "a/b", "/", "a/", "a\\b"] {
            assert!(check_model_name(wrong).is_err(), "{wrong}");
        }
    }
}
