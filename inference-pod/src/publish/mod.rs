//! `publish`: a model is loaded in the runtime that will serve it, compared with the original's own answers, and written
//! into the repository as an immutable version.

mod batches;
mod conversion;
mod header;
mod parity;
mod samples;
mod source;
mod termination;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use aiops_model_repository::{
    CONFIG_FILE, Digest, FORMAT_VERSION, Manifest, ManifestFile, Published, Repository, RepositoryError,
    TensorSignature,
};

use crate::arguments::PublishArguments;
use crate::configuration::{self, GraphTensor, InstanceGroup, ModelConfig, SessionSettings};
use crate::runtime::{self, Device, Gpus, GraphSession, Runtime, SessionError, SharedWeights};
use batches::Rows;
use conversion::Conversion;
use header::Header;
use termination::{Failure, Reason};

/// How long to wait for an object store that is away, before the Job is left to try again.
const PATIENCE: Duration = Duration::from_secs(150);
const MODEL_FILE: &str = configuration::DEFAULT_MODEL_FILE;

/// Publishes, and leaves the outcome in the termination message.
pub async fn run(arguments: &PublishArguments) -> ExitCode {
    let outcome = publish(arguments).await;
    termination::write(&arguments.termination_log, &outcome).await;
    match outcome {
        Ok(manifest) => {
            tracing::info!(model = manifest.model, version = manifest.version, digest = %manifest.digest, "published");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            tracing::error!(reason = failure.reason.name(), "{}", failure.message);
            ExitCode::from(failure.reason.exit_code())
        }
    }
}

async fn publish(arguments: &PublishArguments) -> Result<Manifest, Failure> {
    let source = source::gather(arguments, PATIENCE).await?;
    let folder = source.folder().to_owned();
    let library = arguments.common.onnxruntime_library.clone();
    let model = arguments.model.clone();
    let checking = tokio::task::spawn_blocking(move || check(&folder, library.as_deref(), &model));
    let Checked {
        header,
        conversion,
        config,
        inputs,
        outputs,
        parity,
    } = checking.await.unwrap_or_else(|panic| {
        Err(Failure::new(
            Reason::RuntimeUnavailable,
            format!("the check ended early: {panic}"),
        ))
    })?;

    let folder = source.folder();
    tokio::fs::write(folder.join(CONFIG_FILE), configuration::write(&config))
        .await
        .map_err(|error| unreachable(format!("{}: {error}", folder.join(CONFIG_FILE).display())))?;
    let mut files = Vec::new();
    for path in [MODEL_FILE, CONFIG_FILE]
        .into_iter()
        .chain(header.external_data.iter().map(String::as_str))
    {
        files.push(
            ManifestFile::describe(folder, path)
                .await
                .map_err(repository_failure)?,
        );
    }
    let conversion = conversion.unwrap_or_default();
    let manifest = Manifest {
        format_version: FORMAT_VERSION,
        model: arguments.model.clone(),
        version: arguments.version,
        digest: Digest::of_files(&files),
        files,
        inputs: signatures(&inputs),
        outputs: signatures(&outputs),
        task: conversion.task,
        feature_names: conversion.feature_names,
        class_labels: conversion.class_labels,
        class_values: conversion.class_values,
        opset: header.opset,
        ir_version: header.ir_version,
        parity,
        source: conversion.source,
    };
    let repository = Repository::open(arguments.model_repository.clone()).map_err(repository_failure)?;
    let published = repository
        .with_patience(PATIENCE)
        .publish(&manifest, folder)
        .await
        .map_err(repository_failure)?;
    if published == Published::AlreadyThere {
        tracing::info!(
            model = manifest.model,
            version = manifest.version,
            "the same bytes were published before"
        );
    }
    Ok(manifest)
}

struct Checked {
    header: Header,
    conversion: Option<Conversion>,
    config: ModelConfig,
    inputs: Vec<GraphTensor>,
    outputs: Vec<GraphTensor>,
    parity: Option<aiops_model_repository::Parity>,
}

/// Everything that needs the model itself; blocks.
fn check(folder: &Path, library: Option<&Path>, model: &str) -> Result<Checked, Failure> {
    let path = folder.join(MODEL_FILE);
    let header = header::read(&path)?;
    let conversion = conversion::read(folder)?;
    let samples = samples::read(folder)?;
    both_or_neither(conversion.is_some(), samples.is_some())?;
    let library = runtime::find_library(library)
        .map_err(|error| Failure::new(Reason::RuntimeUnavailable, error.to_string()))?;
    let runtime = Runtime::start(&library, runtime::available_threads(), Gpus::Off)
        .map_err(|error| Failure::new(Reason::RuntimeUnavailable, format!("{error:#}")))?;
    let mut session = open(&runtime, &path, &header)?;
    let (inputs, outputs) = (session.inputs().to_vec(), session.outputs().to_vec());
    let mut config = configuration::complete(None, model, &inputs, &outputs)
        .map_err(|error| Failure::new(Reason::UnsupportedModel, error.to_string()))?;
    if config.max_batch_size > 0 {
        let doubt = match batches::try_rows(&mut session)? {
            Rows::Independent => None,
            Rows::Dependent => Some("rows of a batch influence each other".to_owned()),
            Rows::Unknown(error) => Some(format!(
                "whether rows of a batch influence each other cannot be tried, as the model fails on every size that was \
                 made up: {error}"
            )),
        };
        if let Some(doubt) = doubt {
            tracing::warn!("{doubt}, so requests to this model will not be put together");
            config = unbatched(&inputs, &outputs, model);
        }
    }
    let parity = match (&conversion, &samples) {
        (Some(conversion), Some(samples)) => Some(parity::compare(&mut session, conversion, samples)?),
        _ => None,
    };
    Ok(Checked {
        header,
        conversion,
        config,
        inputs,
        outputs,
        parity,
    })
}

/// Without one of the two nothing can be compared, and a model that differs from its original would go unnoticed.
fn both_or_neither(has_conversion: bool, has_samples: bool) -> Result<(), Failure> {
    let (present, absent) = match (has_conversion, has_samples) {
        (true, false) => (conversion::FILE, samples::FILE),
        (false, true) => (samples::FILE, conversion::FILE),
        _ => return Ok(()),
    };
    Err(Failure::new(
        Reason::InvalidModel,
        format!(
            "{present} is beside the model and {absent} is not, so that the model cannot be compared with its original; \
             convert it again, or remove {present} to publish a model without an original"
        ),
    ))
}

fn open(runtime: &Runtime, path: &Path, header: &Header) -> Result<GraphSession, Failure> {
    runtime
        .open(
            path,
            Device::Cpu,
            &SharedWeights::default(),
            &SessionSettings::default(),
        )
        .map_err(|error| match error {
            SessionError::UnsupportedSignature(message) => Failure::new(Reason::UnsupportedModel, message),
            SessionError::Refused(message) => header.explain_refusal(&message),
        })
}

/// The configuration of a model whose first dimension is none of independent rows.
fn unbatched(inputs: &[GraphTensor], outputs: &[GraphTensor], model: &str) -> ModelConfig {
    let plain = ModelConfig {
        model_file: MODEL_FILE.to_owned(),
        instance_groups: vec![InstanceGroup::default()],
        ..ModelConfig::default()
    };
    configuration::complete(Some(plain), model, inputs, outputs)
        .expect("a configuration that asks for nothing contradicts no graph")
}

fn signatures(tensors: &[GraphTensor]) -> Vec<TensorSignature> {
    let describe = |tensor: &GraphTensor| TensorSignature {
        name: tensor.name.clone(),
        datatype: tensor.datatype.name().to_owned(),
        shape: tensor.shape.clone(),
    };
    tensors.iter().map(describe).collect()
}

fn unreachable(message: String) -> Failure {
    Failure::new(Reason::RepositoryUnreachable, message)
}

/// The repository to write to.
fn repository_failure(error: RepositoryError) -> Failure {
    use RepositoryError as Error;
    let (reason, what_to_do) = match &error {
        Error::VersionConflict { .. } => (Reason::VersionConflict, ""),
        Error::NotFound { .. } => (
            Reason::RepositoryNotFound,
            "; create it, or correct the name of the models' bucket",
        ),
        Error::AccessDenied { .. } => (Reason::RepositoryForbidden, ""),
        Error::Unsupported { .. }
        | Error::InvalidLocation { .. }
        | Error::InvalidSetting { .. }
        | Error::InvalidManifest { .. }
        | Error::InvalidName { .. } => (Reason::RepositoryUnusable, ""),
        // A disk of this pod may be full, and a file damaged; the next pod has others.
        Error::Unreachable { .. }
        | Error::Io { .. }
        | Error::DiskFull { .. }
        | Error::Replaced { .. }
        | Error::DigestMismatch { .. } => (Reason::RepositoryUnreachable, ""),
    };
    Failure::new(reason, format!("{error}{what_to_do}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_beside_a_model_is_named_in_one_sentence() {
        assert!(both_or_neither(true, true).is_ok() && both_or_neither(false, false).is_ok());
        let message = both_or_neither(true, false).unwrap_err().message;
        assert!(
            message.contains("its original; convert it again, or remove"),
            "{message}"
        );
    }
}
