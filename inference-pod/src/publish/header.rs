//! What an ONNX file says about itself before a runtime reads it: versions, and files that belong to it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path};

use bytes::Bytes;
use prost::Message as _;

use super::termination::{Failure, Reason};
use crate::onnx::{Graph, Model, OperatorSet, Tensor};

/// What a file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) ir_version: i64,
    pub(super) opset: BTreeMap<String, i64>,
    /// Files beside the model that hold its weights, relative to its folder.
    pub(super) external_data: BTreeSet<String>,
}

/// Reads the header of an ONNX file.
pub(super) fn read(path: &Path) -> Result<Header, Failure> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let invalid = |reason: &str| {
        Failure::new(
            Reason::InvalidModel,
            format!("{name} is not an ONNX model: {reason}"),
        )
    };
    let bytes = std::fs::read(path).map_err(|error| {
        Failure::new(
            Reason::InvalidModel,
            format!("{} cannot be read: {error}", path.display()),
        )
    })?;
    let model = Model::decode(Bytes::from(bytes)).map_err(|error| invalid(&error.to_string()))?;
    let graph = model.graph.ok_or_else(|| invalid("it has no graph"))?;
    if model.ir_version <= 0 || model.opset_import.is_empty() {
        return Err(invalid("it has no IR version or imports no operator set"));
    }
    // `ai.onnx` is the long name of the empty domain.
    let domain = |set: &OperatorSet| {
        if set.domain == "ai.onnx" {
            String::new()
        } else {
            set.domain.clone()
        }
    };
    let opset = model
        .opset_import
        .iter()
        .map(|set| (domain(set), set.version))
        .collect();
    let mut external_data = BTreeSet::new();
    collect_external_data(&graph, &mut external_data);
    if let Some(outside) = external_data.iter().find(|path| !is_inside(path)) {
        return Err(invalid(&format!(
            "its external data \"{outside}\" is not beside the model"
        )));
    }
    Ok(Header {
        ir_version: model.ir_version,
        opset,
        external_data,
    })
}

fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

fn collect_external_data(graph: &Graph, found: &mut BTreeSet<String>) {
    let mut of_tensor = |tensor: &Tensor| found.extend(tensor.external("location").map(str::to_owned));
    graph.initializer.iter().for_each(&mut of_tensor);
    let attributes = || graph.node.iter().flat_map(|node| &node.attribute);
    attributes()
        .filter_map(|attribute| attribute.tensor.as_ref())
        .for_each(&mut of_tensor);
    for attribute in attributes() {
        for inner in attribute.graph.iter().chain(&attribute.graphs) {
            collect_external_data(inner, found);
        }
    }
}

impl Header {
    /// Why ONNX Runtime would not take the file: too new, or broken.
    pub(super) fn explain_refusal(&self, message: &str) -> Failure {
        let number_after = |marker: &str| -> Option<i64> {
            let rest = message.split_once(marker)?.1.trim_start();
            let digits = rest
                .find(|character: char| !character.is_ascii_digit())
                .unwrap_or(rest.len());
            rest[..digits].parse().ok()
        };
        if let Some(supported) = number_after("is till opset") {
            let domain = message
                .split_once("for domain ")
                .and_then(|(_, rest)| rest.split_whitespace().next());
            let domain = domain.unwrap_or("ai.onnx");
            let key = if domain == "ai.onnx" { "" } else { domain };
            let asked = self.opset.get(key).map(ToString::to_string).unwrap_or_default();
            return Failure::new(
                Reason::UnsupportedOpset,
                format!(
                    "the model uses opset {asked} of {domain}, and the serving runtime supports opsets up to {supported}; \
                     convert it with a target opset of {supported} or less"
                ),
            );
        }
        if let Some(supported) = number_after("max supported IR version:") {
            return Failure::new(
                Reason::UnsupportedOpset,
                format!(
                    "the model has ONNX IR version {} (opset {}), and the serving runtime supports IR versions up to \
                     {supported}; convert it with an older onnx package or a lower target opset",
                    self.ir_version,
                    self.opset.get("").copied().unwrap_or_default()
                ),
            );
        }
        Failure::new(
            Reason::InvalidModel,
            format!("the serving runtime refuses the model: {message}"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::{Attribute, Entry, Node};

    fn write(model: &Model) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), model.encode_to_vec()).unwrap();
        file
    }

    fn model() -> Model {
        let external = |location: &str| Tensor {
            external_data: vec![Entry {
                key: "location".into(),
                value: location.into(),
            }],
            ..Tensor::default()
        };
        let inner = Graph {
            initializer: vec![external("inner.bin")],
            ..Graph::default()
        };
        let attribute = Attribute {
            tensor: Some(external("constant.bin")),
            graph: Some(inner),
            graphs: vec![],
        };
        Model {
            ir_version: 8,
            graph: Some(Graph {
                node: vec![Node {
                    attribute: vec![attribute],
                }],
                initializer: vec![
                    external("weights.bin"),
                    external("weights.bin"),
                    Tensor::default(),
                ],
                ..Graph::default()
            }),
            opset_import: vec![OperatorSet {
                domain: "ai.onnx".into(),
                version: 17,
            }],
        }
    }

    #[test]
    fn versions_and_external_files_are_found_however_deep() {
        let header = read(write(&model()).path()).unwrap();
        assert_eq!((header.ir_version, header.opset[""]), (8, 17));
        let files: Vec<_> = header.external_data.iter().map(String::as_str).collect();
        assert_eq!(files, ["constant.bin", "inner.bin", "weights.bin"]);
    }

    #[test]
    fn what_is_not_onnx_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for bytes in [&b"not a model at all"[..], b"", b"PK\x03\x04"] {
            std::fs::write(file.path(), bytes).unwrap();
            assert_eq!(read(file.path()).unwrap_err().reason, Reason::InvalidModel);
        }
        let mut climbing = model();
        climbing.graph.as_mut().unwrap().initializer[0].external_data[0].value = "../secret".into();
        assert!(
            read(write(&climbing).path())
                .unwrap_err()
                .message
                .contains("../secret")
        );
    }
}
