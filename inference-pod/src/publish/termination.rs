//! The termination message: what the operator reads when the Job's pod has ended.

use std::path::Path;

use aiops_model_repository::{Manifest, Parity, TensorSignature};
use serde::Serialize;

/// Kubernetes keeps no more of a termination message.
const LONGEST_BYTES: usize = 4096;
const LONGEST_FAILURE_BYTES: usize = 2048;

/// Why a model was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    InvalidModel,
    UnsupportedOpset,
    UnsupportedModel,
    ParityFailed,
    VersionConflict,
    SourceNotFound,
    SourceForbidden,
    RepositoryNotFound,
    RepositoryForbidden,
    RepositoryUnusable,
    RepositoryUnreachable,
    RuntimeUnavailable,
}

impl Reason {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::InvalidModel => "InvalidModel",
            Self::UnsupportedOpset => "UnsupportedOpset",
            Self::UnsupportedModel => "UnsupportedModel",
            Self::ParityFailed => "ParityFailed",
            Self::VersionConflict => "VersionConflict",
            Self::SourceNotFound => "SourceNotFound",
            Self::SourceForbidden => "SourceForbidden",
            Self::RepositoryNotFound => "RepositoryNotFound",
            Self::RepositoryForbidden => "RepositoryForbidden",
            Self::RepositoryUnusable => "RepositoryUnusable",
            Self::RepositoryUnreachable => "RepositoryUnreachable",
            Self::RuntimeUnavailable => "RuntimeUnavailable",
        }
    }

    /// 1 lets the Job try again, 2 does not.
    pub(super) fn exit_code(self) -> u8 {
        match self {
            Self::RepositoryUnreachable | Self::RuntimeUnavailable => 1,
            _ => 2,
        }
    }
}

/// A failure as the operator shows it.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Failure {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Success<'a> {
    digest: String,
    size_bytes: u64,
    inputs: &'a [TensorSignature],
    outputs: &'a [TensorSignature],
    opset: i64,
    ir_version: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    parity: Option<&'a Parity>,
}

#[derive(Serialize)]
struct FailureMessage<'a> {
    reason: &'a str,
    message: &'a str,
}

/// Writes the message; where there is no such file (outside of Kubernetes), to standard output.
pub(super) async fn write(path: &Path, outcome: &Result<Manifest, Failure>) {
    let text = message(outcome);
    if tokio::fs::write(path, &text).await.is_err() {
        #[allow(clippy::print_stdout, reason = "the outcome is this command's output")]
        {
            println!("{text}");
        }
    }
}

fn message(outcome: &Result<Manifest, Failure>) -> String {
    match outcome {
        Ok(manifest) => success(manifest),
        Err(failure) => {
            let shown = shorten(&failure.message, LONGEST_FAILURE_BYTES);
            to_json(&FailureMessage {
                reason: failure.reason.name(),
                message: shown,
            })
        }
    }
}

fn success(manifest: &Manifest) -> String {
    let success = |inputs, outputs| {
        to_json(&Success {
            digest: manifest.digest.to_string(),
            size_bytes: manifest.files.iter().map(|file| file.size_bytes).sum(),
            inputs,
            outputs,
            opset: manifest.opset.get("").copied().unwrap_or_default(),
            ir_version: manifest.ir_version,
            parity: manifest.parity.as_ref(),
        })
    };
    // A model with a hundred inputs does not fit; the manifest has them all.
    [
        success(&manifest.inputs, &manifest.outputs),
        success(&[], &manifest.outputs),
        success(&[], &[]),
    ]
    .into_iter()
    .find(|text| text.len() <= LONGEST_BYTES)
    .unwrap_or_default()
}

fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the message holds nothing that JSON cannot express")
}

/// As much of a text as takes no more than `longest` bytes in JSON, cut at a character.
fn shorten(text: &str, longest: usize) -> &str {
    let mut end = text.len();
    while to_json(&&text[..end]).len() > longest {
        end = text.floor_char_boundary(end - (end / 16).max(1));
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use aiops_model_repository::Digest;

    use super::*;

    fn manifest(inputs: usize) -> Manifest {
        let tensor = |index| TensorSignature {
            name: format!("an input with a long name, number {index}"),
            datatype: "FP32".into(),
            shape: vec![-1, 30],
        };
        Manifest {
            format_version: 1,
            model: "m".into(),
            version: 1,
            digest: Digest::of_files(&[]),
            files: vec![],
            inputs: (0..inputs).map(tensor).collect(),
            outputs: vec![tensor(0)],
            task: None,
            feature_names: vec![],
            class_labels: vec![],
            class_values: vec![],
            opset: [(String::new(), 17)].into(),
            ir_version: 8,
            parity: Some(Parity {
                rows: 200,
                label_agreement: Some(1.0),
                max_absolute_difference: 1e-7,
                max_relative_difference: 1e-6,
            }),
            source: None,
        }
    }

    #[test]
    fn a_success_is_what_the_contract_says() {
        let value: serde_json::Value = serde_json::from_str(&message(&Ok(manifest(1)))).unwrap();
        assert_eq!(value["inputs"][0]["shape"], serde_json::json!([-1, 30]));
        assert_eq!((&value["opset"], &value["irVersion"]), (&17.into(), &8.into()));
        assert_eq!(value["parity"]["labelAgreement"], 1.0);
    }

    #[test]
    fn a_message_never_exceeds_what_kubernetes_keeps() {
        for inputs in [1, 30, 60, 1000] {
            let text = message(&Ok(manifest(inputs)));
            assert!(text.len() <= LONGEST_BYTES);
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        for text in ["ü\n\"".repeat(5000), "short".into()] {
            let text = message(&Err(Failure::new(Reason::ParityFailed, text)));
            assert!(text.len() <= LONGEST_BYTES);
            assert_eq!(
                serde_json::from_str::<serde_json::Value>(&text).unwrap()["reason"],
                "ParityFailed"
            );
        }
    }
}
