//! Gathering the files of a model into one folder: the converter's, or a download.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aiops_model_repository::{Location, Repository, RepositoryError};

use super::MODEL_FILE;
use super::termination::{Failure, Reason};
use super::{header, repository_failure};
use crate::arguments::PublishArguments;

/// A folder with `model.onnx` and what belongs to it.
pub(super) enum Source {
    /// Somebody else's.
    Given(PathBuf),
    /// Removed at the end.
    Downloaded(tempfile::TempDir),
}

impl Source {
    pub(super) fn folder(&self) -> &Path {
        match self {
            Self::Given(folder) => folder,
            Self::Downloaded(folder) => folder.path(),
        }
    }
}

pub(super) async fn gather(arguments: &PublishArguments, patience: Duration) -> Result<Source, Failure> {
    match (&arguments.input, &arguments.source) {
        (Some(folder), _) => Ok(Source::Given(folder.clone())),
        (None, Some(source)) => download(source, &arguments.work_folder, patience).await,
        (None, None) => Err(Failure::new(
            Reason::InvalidModel,
            "neither --input nor --source is given",
        )),
    }
}

async fn download(source: &Location, work_folder: &Path, patience: Duration) -> Result<Source, Failure> {
    let (place, name) = source
        .split_file()
        .ok_or_else(|| Failure::new(Reason::InvalidModel, format!("--source {source} names no file")))?;
    let repository = Repository::open(place)
        .map_err(repository_failure)?
        .with_patience(patience);
    let builder = tempfile::Builder::new();
    let folder = if work_folder.is_dir() {
        builder.tempdir_in(work_folder)
    } else {
        builder.tempdir()
    };
    let folder = folder.map_err(|error| {
        Failure::new(
            Reason::RepositoryUnreachable,
            format!("no folder for downloads: {error}"),
        )
    })?;
    let model = folder.path().join(MODEL_FILE);
    repository
        .fetch_file(&name, &model)
        .await
        .map_err(|error| source_failure("--source", error))?;
    for path in header::read(&model)?.external_data {
        let to = folder.path().join(&path);
        if let Some(parent) = to.parent() {
            tokio::fs::create_dir_all(parent).await.map_err(|error| {
                Failure::new(
                    Reason::RepositoryUnreachable,
                    format!("{}: {error}", parent.display()),
                )
            })?;
        }
        let what = format!("{path}, which {name} names as its external data");
        repository
            .fetch_file(&path, &to)
            .await
            .map_err(|error| source_failure(&what, error))?;
    }
    Ok(Source::Downloaded(folder))
}

/// What the same Job would find again ends it; a store that does not answer is tried again.
fn source_failure(what: &str, error: RepositoryError) -> Failure {
    let is_forbidden = match &error {
        RepositoryError::AccessDenied { .. } => true,
        RepositoryError::Io { source, .. } => source.kind() == std::io::ErrorKind::PermissionDenied,
        _ => false,
    };
    match error {
        RepositoryError::NotFound { .. } => Failure::new(
            Reason::SourceNotFound,
            format!("{what}: {error}; put it there, or correct the address, and publish again"),
        ),
        _ if is_forbidden => Failure::new(
            Reason::SourceForbidden,
            format!("{what}: {error}; let the object store's credentials read it, and publish again"),
        ),
        RepositoryError::InvalidName { .. } => Failure::new(Reason::InvalidModel, format!("{what}: {error}")),
        _ => repository_failure(error),
    }
}
