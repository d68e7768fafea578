//! A repository in a folder. Writes go to a temporary file first, so that a reader never sees half of one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::fs;

use super::{Creation, Entry, Moved, Replacement};
use crate::digest::hash_file;
use crate::error::{RepositoryError, Result};
use crate::regular;

#[derive(Clone, Debug)]
pub(crate) struct FolderStore {
    root: PathBuf,
}

impl FolderStore {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let folder = self.path(prefix);
        let mut reader = match fs::read_dir(&folder).await {
            Ok(reader) => reader,
            Err(error) if error.kind() == ErrorKind::NotFound && !prefix.is_empty() => return Ok(Vec::new()),
            Err(error) => return Err(RepositoryError::io(folder)(error)),
        };
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry().await.map_err(RepositoryError::io(&folder))? {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // Hidden files are a mounted volume's or an editor's affair, never a model's.
            if name.starts_with('.') {
                continue;
            }
            let metadata = fs::metadata(entry.path())
                .await
                .map_err(RepositoryError::io(entry.path()))?;
            entries.push(if metadata.is_dir() {
                Entry::Folder(name)
            } else {
                Entry::File(name)
            });
        }
        Ok(entries)
    }

    pub(crate) async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        let path = self.path(key);
        match regular::read(&path).await {
            Ok(content) => Ok(Some(content.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(RepositoryError::io(path)(error)),
        }
    }

    pub(crate) async fn download(&self, key: &str, to: &Path) -> Result<Moved> {
        let path = self.path(key);
        regular::check(&path).map_err(|error| not_found_or_io(&path, error))?;
        fs::copy(&path, to)
            .await
            .map_err(|error| not_found_or_io(&path, error))?;
        moved(to).await
    }

    pub(crate) async fn inspect(&self, key: &str) -> Result<Moved> {
        let path = self.path(key);
        fs::metadata(&path)
            .await
            .map_err(|error| not_found_or_io(&path, error))?;
        moved(&path).await
    }

    pub(crate) async fn upload_new(&self, key: &str, from: &Path) -> Result<Creation> {
        let to = self.path(key);
        persist_new(self.copied_beside(&to, from).await?, &to)
    }

    /// A file system compares and renames in two steps; between them lies no more than a moment.
    pub(crate) async fn replace(&self, key: &str, from: &Path, tag: &str) -> Result<Replacement> {
        let to = self.path(key);
        let temporary = self.copied_beside(&to, from).await?;
        let (_, new_tag) = hash_file(temporary.path()).await?;
        match self.inspect(key).await {
            Ok(found) if found.tag == tag => {}
            Ok(_) | Err(RepositoryError::NotFound { .. }) => return Ok(Replacement::Changed),
            Err(error) => return Err(error),
        }
        temporary
            .persist(&to)
            .map_err(|error| RepositoryError::io(&to)(error.error))?;
        Ok(Replacement::Replaced(new_tag))
    }

    pub(crate) async fn create(&self, key: &str, content: Bytes) -> Result<Creation> {
        let to = self.path(key);
        let temporary = self.temporary_beside(&to).await?;
        fs::write(temporary.path(), content)
            .await
            .map_err(RepositoryError::io(&to))?;
        persist_new(temporary, &to)
    }

    /// Removes a file, and the folders that this leaves empty, up to the root.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(key);
        match fs::remove_file(&path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(RepositoryError::io(path)(error));
            }
            _ => {}
        }
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.root) {
            if fs::remove_dir(empty).await.is_err() {
                break;
            }
            folder = empty.parent();
        }
        Ok(())
    }

    async fn copied_beside(&self, to: &Path, from: &Path) -> Result<tempfile::NamedTempFile> {
        let temporary = self.temporary_beside(to).await?;
        fs::copy(from, temporary.path())
            .await
            .map_err(RepositoryError::io(to))?;
        Ok(temporary)
    }

    async fn temporary_beside(&self, path: &Path) -> Result<tempfile::NamedTempFile> {
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)
            .await
            .map_err(RepositoryError::io(folder))?;
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // A server often runs as another user than the publisher.
            builder.permissions(std::fs::Permissions::from_mode(0o644));
        }
        builder
            .prefix(".publishing-")
            .tempfile_in(folder)
            .map_err(RepositoryError::io(folder))
    }
}

fn persist_new(temporary: tempfile::NamedTempFile, to: &Path) -> Result<Creation> {
    match temporary.persist_noclobber(to) {
        Ok(_) => Ok(Creation::Created),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Creation::Existed),
        Err(error) => Err(RepositoryError::io(to)(error.error)),
    }
}

/// A file's bytes are their own tag.
async fn moved(path: &Path) -> Result<Moved> {
    let (size_bytes, sha256) = hash_file(path).await?;
    Ok(Moved {
        size_bytes,
        tag: sha256.clone(),
        sha256,
    })
}

fn not_found_or_io(path: &Path, error: std::io::Error) -> RepositoryError {
    match error.kind() {
        ErrorKind::NotFound => RepositoryError::NotFound {
            what: format!("file {}", path.display()),
        },
        _ => RepositoryError::io(path)(error),
    }
}
