//! `publish`: what is checked, what is written, and how it fails.

use std::path::Path;

use aiops_model_repository::Manifest;
use serde_json::{Value, json};

use crate::support::{Repository, Server, converted, models, publish, publish_into};

fn publish_folder(repository: &Repository, input: &Path, version: u64) -> (Option<i32>, Value) {
    let version = version.to_string();
    let arguments = [
        "--input",
        input.to_str().unwrap(),
        "--model-repository",
        &repository.uri(),
        "--model",
        "m",
        "--version",
        &version,
    ];
    let (output, message) = publish(&arguments, &[]);
    (output.status.code(), message)
}

fn publish_source(repository: &Repository, source: &Path) -> (Option<i32>, Value) {
    let arguments = [
        "--source",
        source.to_str().unwrap(),
        "--model-repository",
        &repository.uri(),
        "--model",
        "m",
        "--version",
        "1",
    ];
    let (output, message) = publish(&arguments, &[]);
    (output.status.code(), message)
}

#[test]
fn a_classifier_is_checked_and_written_with_its_manifest() {
    let repository = Repository::new();
    let input = converted("iris");
    let (code, message) = publish_folder(&repository, input.path(), 3);
    assert_eq!(code, Some(0), "{message}");
    assert_eq!(
        message["outputs"][0],
        json!({"name": "label", "datatype": "INT64", "shape": [-1]})
    );
    assert_eq!(
        (&message["opset"], &message["irVersion"]),
        (&json!(17), &json!(8))
    );
    let parity = &message["parity"];
    assert_eq!(
        (&parity["rows"], &parity["labelAgreement"]),
        (&json!(150), &json!(1.0))
    );
    let difference = parity["maxAbsoluteDifference"].as_f64().unwrap();
    assert!(difference > 0.0 && difference < 1e-5, "{parity}");

    let folder = repository.path().join("m/3");
    let manifest =
        Manifest::parse(&std::fs::read(folder.join("manifest.json")).unwrap(), "manifest").unwrap();
    assert_eq!(manifest.class_labels, ["setosa", "versicolor", "virginica"]);
    assert_eq!(manifest.feature_names[3], "petal_width");
    assert_eq!(manifest.source.unwrap()["flavor"], "sklearn");
    // The digest is what anybody can compute with coreutils.
    let shell = format!(
        "cd {} && sha256sum config.pbtxt model.onnx | sha256sum",
        folder.display()
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &shell])
        .output()
        .unwrap();
    let sum = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        message["digest"],
        format!("sha256:{}", sum.split_whitespace().next().unwrap())
    );
    let config = std::fs::read_to_string(repository.path().join("m/config.pbtxt")).unwrap();
    assert!(
        config.contains("reshape { shape: [] }") && config.contains("dynamic_batching"),
        "{config}"
    );
}

#[test]
fn publishing_again_is_a_success_for_equal_bytes_and_a_conflict_for_others() {
    let repository = Repository::new();
    assert_eq!(
        publish_folder(&repository, converted("iris").path(), 1).0,
        Some(0)
    );
    assert_eq!(
        publish_folder(&repository, converted("iris").path(), 1).0,
        Some(0)
    );
    let (code, message) = publish_folder(&repository, converted("iris_names").path(), 1);
    assert_eq!(
        (code, &message["reason"]),
        (Some(2), &json!("VersionConflict")),
        "{message}"
    );
}

#[test]
fn a_model_that_differs_from_its_original_is_not_published() {
    for (labels_of, from, to) in [
        ("iris", "[0, 1, 2]", "[1, 0, 2]"),
        ("iris_names", "\"setosa\"", "\"other\""),
    ] {
        let repository = Repository::new();
        let input = converted(labels_of);
        let path = input.path().join("conversion.json");
        let mut conversion: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let values: Value = serde_json::from_str(
            &conversion["classValues"]
                .to_string()
                .replace(&from.replace(' ', ""), &to.replace(' ', "")),
        )
        .unwrap();
        assert_ne!(conversion["classValues"], values);
        conversion["classValues"] = values;
        std::fs::write(&path, conversion.to_string()).unwrap();
        let (code, message) = publish_folder(&repository, input.path(), 1);
        assert_eq!(
            (code, &message["reason"]),
            (Some(2), &json!("ParityFailed")),
            "{message}"
        );
        assert!(
            message["message"]
                .as_str()
                .unwrap()
                .contains("where the original says"),
            "{message}"
        );
        assert_eq!(
            std::fs::read_dir(repository.path()).unwrap().count(),
            0,
            "nothing is written"
        );
    }
    // Another model's samples.
    let repository = Repository::new();
    let input = converted("diabetes");
    let bytes = std::fs::read(input.path().join("samples.safetensors")).unwrap();
    let mut changed = bytes;
    let last = changed.len() - 1;
    changed[last] ^= 0x7f;
    for byte in changed.iter_mut().rev().take(8 * 20) {
        *byte ^= 0x01;
    }
    std::fs::write(input.path().join("samples.safetensors"), changed).unwrap();
    let (code, message) = publish_folder(&repository, input.path(), 1);
    assert_eq!(
        (code, &message["reason"]),
        (Some(2), &json!("ParityFailed")),
        "{message}"
    );
}

#[test]
fn what_cannot_be_served_is_refused_with_its_reason() {
    let garbage = tempfile::tempdir().unwrap();
    std::fs::write(garbage.path().join("model.onnx"), "PK not a model").unwrap();
    let cases = [
        (
            garbage.path().join("model.onnx"),
            "InvalidModel",
            "not an ONNX model",
        ),
        (models().join("opset_999.onnx"), "UnsupportedOpset", "opset 999"),
        (models().join("ir_999.onnx"), "UnsupportedOpset", "IR version 999"),
        (
            models().join("zipmap.onnx"),
            "UnsupportedModel",
            "only tensors can be served",
        ),
    ];
    for (source, reason, part) in cases {
        let repository = Repository::new();
        let (code, message) = publish_source(&repository, &source);
        assert_eq!((code, &message["reason"]), (Some(2), &json!(reason)), "{message}");
        assert!(message["message"].as_str().unwrap().contains(part), "{message}");
    }
    let (code, message) = publish_source(&Repository::new(), Path::new("/absent/model.onnx"));
    assert_eq!(
        (code, &message["reason"]),
        (Some(2), &json!("SourceNotFound")),
        "{message}"
    );
    let (code, message) = publish_folder(&Repository::new(), garbage.path(), 1);
    assert_eq!(
        (code, &message["reason"]),
        (Some(2), &json!("InvalidModel")),
        "{message}"
    );
}

#[test]
fn a_model_that_cannot_be_compared_with_its_original_is_not_published() {
    for absent in ["conversion.json", "samples.safetensors"] {
        let input = converted("iris");
        std::fs::remove_file(input.path().join(absent)).unwrap();
        let (code, message) = publish_folder(&Repository::new(), input.path(), 1);
        assert_eq!(
            (code, &message["reason"]),
            (Some(2), &json!("InvalidModel")),
            "{message}"
        );
        assert!(message["message"].as_str().unwrap().contains(absent), "{message}");
    }
}

#[tokio::test]
async fn sizes_that_are_open_beyond_the_rows_are_no_obstacle() {
    for (source, batches) in [("convolution", true), ("columns_of_99", false)] {
        let repository = Repository::new();
        let (code, message) = publish_source(&repository, &models().join(format!("{source}.onnx")));
        assert_eq!(code, Some(0), "{message}");
        let config = std::fs::read_to_string(repository.path().join("m/config.pbtxt")).unwrap();
        assert_eq!(config.contains("dynamic_batching"), batches, "{source}: {config}");
        Server::start(&repository.uri(), &[]).await;
    }
}

#[tokio::test]
async fn an_output_whose_rank_the_graph_leaves_open_is_answered_with_its_real_shape() {
    let repository = Repository::new();
    let (code, message) = publish_source(&repository, &models().join("unknown_rank.onnx"));
    assert_eq!(code, Some(0), "{message}");
    let server = Server::start(&repository.uri(), &[]).await;
    for shape in [json!([2, 3]), json!([6]), json!([1, 2, 3])] {
        let request = json!({"inputs": [
            {"name": "x", "shape": [6], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6]},
            {"name": "shape", "shape": [shape.as_array().unwrap().len()], "datatype": "INT64", "data": shape},
        ]});
        let (status, answer) = server.infer("m", &request).await;
        assert_eq!(
            (status, &answer["outputs"][0]["shape"]),
            (200, &shape),
            "{answer}"
        );
    }
}

#[tokio::test]
async fn an_onnx_file_without_an_original_is_published_and_served() {
    for (source, batches) in [("dense_1", true), ("fixed", false), ("centred", false)] {
        let repository = Repository::new();
        let (code, message) = publish_source(&repository, &models().join(format!("{source}.onnx")));
        assert_eq!(code, Some(0), "{message}");
        assert!(message.get("parity").is_none());
        let config = std::fs::read_to_string(repository.path().join("m/config.pbtxt")).unwrap();
        assert_eq!(
            config.contains("max_batch_size: 64"),
            batches,
            "{source}: {config}"
        );
        assert_eq!(config.contains("dynamic_batching"), batches, "{source}: {config}");
        Server::start(&repository.uri(), &[]).await;
    }
}

#[tokio::test]
async fn weights_beside_the_graph_are_published_with_it() {
    let repository = Repository::new();
    let (code, message) = publish_source(&repository, &models().join("external/model.onnx"));
    assert_eq!(code, Some(0), "{message}");
    assert!(repository.path().join("m/1/weights.bin").is_file());
    let server = Server::start(&repository.uri(), &[]).await;
    let request =
        json!({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]});
    let (_, answer) = server.infer("m", &request).await;
    assert_eq!(answer["outputs"][0]["data"], json!([3.0, 6.0, 9.0, 12.0]));

    let alone = tempfile::tempdir().unwrap();
    std::fs::copy(
        models().join("external/model.onnx"),
        alone.path().join("model.onnx"),
    )
    .unwrap();
    let (code, message) = publish_source(&Repository::new(), &alone.path().join("model.onnx"));
    assert_eq!(
        (code, &message["reason"]),
        (Some(2), &json!("SourceNotFound")),
        "{message}"
    );
    assert!(
        message["message"].as_str().unwrap().contains("weights.bin"),
        "{message}"
    );
}

#[tokio::test]
async fn a_published_version_that_rots_is_not_served() {
    let repository = Repository::new();
    publish_into(&repository, "iris", "iris", 1);
    std::fs::write(repository.path().join("iris/1/model.onnx"), "rot").unwrap();
    let mut server = Server::start_unready(&repository.uri(), &[]);
    assert_eq!(server.end().await.code(), Some(1));
    assert!(server.log().contains("has digest sha256:"), "{}", server.log());
}
