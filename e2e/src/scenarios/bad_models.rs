//! Files that cannot be served, or are not there, are not published, and say why.

use aiops_crds::ModelVersion;
use anyhow::{Result, ensure};

use super::specs;
use crate::scenario::{Context, Ended};

pub async fn run(context: &Context) -> Result<Ended> {
    context
        .upload(
            "datasets",
            &format!("{}/picture.onnx", context.namespace),
            b"\x89PNG\r\n, not a model",
        )
        .await?;
    let not_onnx = format!("s3://datasets/{}/picture.onnx", context.namespace);
    // The checker of the onnx package knows no opset 99 either, so that the file is made without it.
    let future = context.upload_onnx("future", &["--opset", "99"]).await?;
    let nowhere = format!("s3://datasets/{}/nowhere.onnx", context.namespace);
    let cases: [(&str, &str, &str, &[&str]); 3] = [
        ("picture", &not_onnx, "InvalidModel", &["ONNX"]),
        ("future", &future, "UnsupportedOpset", &["99", "opset"]),
        ("nowhere", &nowhere, "SourceNotFound", &[&nowhere, "upload"]),
    ];
    for (model, uri, _, _) in &cases {
        context
            .create::<ModelVersion>(&format!("{model}-1"), specs::onnx_version(model, uri))
            .await?;
    }
    for (model, _, reason, words) in &cases {
        let version: ModelVersion = context
            .until_refused(&format!("{model}-1"), reason, words)
            .await?;
        ensure!(
            version.status.is_some_and(|status| status.published.is_none()),
            "ModelVersion {model}-1 says that it is published"
        );
        let keys = context
            .stored_keys("models", &format!("{}/{model}/", context.namespace))
            .await?;
        ensure!(
            keys.is_empty(),
            "the model repository has {keys:?} of a model that was refused"
        );
        let versions = context.registered_versions(model).await?;
        ensure!(
            versions.len() <= 1,
            "MLflow has {} versions of {model}",
            versions.len()
        );
    }
    Ok(Ended::Passed)
}
