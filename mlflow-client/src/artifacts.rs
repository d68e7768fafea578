//! Files that runs and logged models have stored, through the server's proxy.

use bytes::Bytes;
use reqwest::Response;
use serde::Deserialize;

use crate::client::{API, Client, path_segment};
use crate::error::{Error, ErrorKind};
use crate::wire;

/// A file or a folder among artifacts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct FileInfo {
    /// Path from the root of the run's (or model's) artifacts.
    pub path: String,
    /// Whether it is a folder.
    #[serde(rename = "is_dir")]
    pub is_folder: bool,
    /// Size of a file.
    #[serde(rename = "file_size", deserialize_with = "wire::deserialize_i64")]
    pub size_bytes: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FilesPage {
    files: Vec<FileInfo>,
    next_page_token: String,
}

/// Whose artifacts.
#[derive(Clone, Copy)]
enum Owner<'call> {
    Run(&'call str),
    LoggedModel(&'call str),
}

/// The content of an artifact, as it arrives. Reading fails where the server stands still for the client's timeout.
#[derive(Debug)]
pub struct ArtifactStream {
    response: Response,
    request: String,
}

impl ArtifactStream {
    /// Size of the whole file, where the server tells.
    #[must_use]
    pub fn size_bytes(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next piece, or `None` at the end of the file.
    ///
    /// # Errors
    /// `Unreachable` where the connection breaks before the end.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.response
            .chunk()
            .await
            .map_err(|error| Error::from_transport(&self.request, error))
    }

    /// Reads to the end, if that comes within `limit_bytes`.
    async fn read_all(mut self, limit_bytes: usize) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        while let Some(chunk) = self.next_chunk().await? {
            if content.len() + chunk.len() > limit_bytes {
                let message = format!("the file is larger than the {limit_bytes} bytes that are read of it");
                return Err(Error::new(ErrorKind::InvalidRequest, self.request, message));
            }
            content.extend_from_slice(&chunk);
        }
        Ok(content)
    }
}

impl Client {
    /// Files and folders right in the folder `path` of a run's artifacts; the root where `path` is empty. Logged models
    /// are not among them: they have a place of their own.
    ///
    /// # Errors
    /// `NotFound` where there is no such run. A folder that does not exist is empty.
    pub async fn list_artifacts(&self, run_id: &str, path: &str) -> Result<Vec<FileInfo>, Error> {
        self.list_files(Owner::Run(run_id), path).await
    }

    /// Files and folders right in the folder `path` of a logged model (`m-…`); the root where `path` is empty.
    ///
    /// # Errors
    /// `NotFound` where there is no such model. A folder that does not exist is empty.
    pub async fn list_logged_model_artifacts(
        &self,
        model_id: &str,
        path: &str,
    ) -> Result<Vec<FileInfo>, Error> {
        self.list_files(Owner::LoggedModel(model_id), path).await
    }

    /// The content of a file of a run, if it has at most `limit_bytes`.
    ///
    /// # Errors
    /// `NotFound` where there is no such run or file, `InvalidRequest` where it is larger.
    pub async fn download_artifact(
        &self,
        run_id: &str,
        path: &str,
        limit_bytes: usize,
    ) -> Result<Vec<u8>, Error> {
        self.open_file(Owner::Run(run_id), path)
            .await?
            .read_all(limit_bytes)
            .await
    }

    /// The content of a file of a logged model (`m-…`), if it has at most `limit_bytes`.
    ///
    /// # Errors
    /// `NotFound` where there is no such model or file, `InvalidRequest` where it is larger.
    pub async fn download_logged_model_artifact(
        &self,
        model_id: &str,
        path: &str,
        limit_bytes: usize,
    ) -> Result<Vec<u8>, Error> {
        self.open_file(Owner::LoggedModel(model_id), path)
            .await?
            .read_all(limit_bytes)
            .await
    }

    /// Opens a file of a run, of any size, for reading piece by piece.
    ///
    /// # Errors
    /// `NotFound` where there is no such run or file.
    pub async fn stream_artifact(&self, run_id: &str, path: &str) -> Result<ArtifactStream, Error> {
        self.open_file(Owner::Run(run_id), path).await
    }

    async fn list_files(&self, owner: Owner<'_>, path: &str) -> Result<Vec<FileInfo>, Error> {
        let (url_path, mut query) = match owner {
            Owner::Run(run_id) => (
                format!("{API}/artifacts/list"),
                vec![("run_id", run_id), ("path", path)],
            ),
            Owner::LoggedModel(model_id) => (
                format!(
                    "{API}/logged-models/{}/artifacts/directories",
                    path_segment(model_id)
                ),
                vec![("artifact_directory_path", path)],
            ),
        };
        // An empty path is a path that is refused; the root is asked for by no path.
        query.retain(|(_, value)| !value.is_empty());
        let mut found: Vec<FileInfo> = Vec::new();
        let mut page_token = String::new();
        loop {
            let mut query = query.clone();
            if !page_token.is_empty() {
                query.push(("page_token", &page_token));
            }
            let page: FilesPage = self.get(&url_path, &query).await?;
            found.extend(page.files);
            if page.next_page_token.is_empty() {
                return Ok(found);
            }
            page_token = page.next_page_token;
        }
    }

    async fn open_file(&self, owner: Owner<'_>, path: &str) -> Result<ArtifactStream, Error> {
        let opened = match owner {
            Owner::Run(run_id) => {
                self.open("get-artifact", &[("run_id", run_id), ("path", path)])
                    .await
            }
            Owner::LoggedModel(model_id) => {
                let url_path = format!(
                    "ajax-api/2.0/mlflow/logged-models/{}/artifacts/files",
                    path_segment(model_id)
                );
                self.open(&url_path, &[("artifact_file_path", path)]).await
            }
        };
        match opened {
            Ok((response, request)) => Ok(ArtifactStream { response, request }),
            // A missing file is an internal error to most of the server's stores, so it is looked for.
            Err(error)
                if error
                    .status()
                    .is_some_and(|status| status == 500 || status == 404) =>
            {
                let (folder, _) = path.rsplit_once('/').unwrap_or(("", path));
                let exists = self
                    .list_files(owner, folder)
                    .await?
                    .iter()
                    .any(|file| file.path == path && !file.is_folder);
                if exists {
                    Err(error)
                } else {
                    Err(missing(owner, path))
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn missing(owner: Owner<'_>, path: &str) -> Error {
    let owner = match owner {
        Owner::Run(run_id) => format!("run {run_id}"),
        Owner::LoggedModel(model_id) => format!("logged model {model_id}"),
    };
    Error::new(
        ErrorKind::NotFound,
        format!("artifact {path:?}"),
        format!("{owner} has no such file"),
    )
}
