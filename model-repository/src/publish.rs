//! Writing a version, once and for all.

use std::path::Path;

use bytes::Bytes;

use crate::digest::hash_file;
use crate::error::{RepositoryError, Result};
use crate::manifest::{
    CONFIG_FILE, MANIFEST_FILE, Manifest, ManifestFile, check_file_path, check_model_name,
};
use crate::repository::Repository;
use crate::retry::with_patience;
use crate::store::Creation;

/// What a publication found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The version is new.
    Written,
    /// The same bytes were complete already; nothing was written.
    AlreadyThere,
}

impl ManifestFile {
    /// Describes the file `path` of a folder.
    pub async fn describe(folder: &Path, path: &str) -> Result<Self> {
        check_file_path(path)?;
        let (size_bytes, sha256) = hash_file(&folder.join(path)).await?;
        Ok(Self {
            path: path.to_owned(),
            size_bytes,
            sha256,
        })
    }
}

impl Repository {
    /// Publishes the files that `manifest` lists, which lie in `folder`, as an immutable version.
    ///
    /// The configuration is written first and the manifest last, the latter only if there is none yet, so of several
    /// publishers one wins and no reader takes a half-written version for a whole one. What a publisher that died left
    /// behind is replaced. Equal bytes that are already complete are a success.
    pub async fn publish(&self, manifest: &Manifest, folder: &Path) -> Result<Published> {
        check_model_name(&manifest.model)?;
        if let Some(published) = self.manifest(&manifest.model, manifest.version).await? {
            return already_there(manifest, &published);
        }
        let version_folder = format!("{}/{}", manifest.model, manifest.version);
        let mut files: Vec<_> = manifest.files.iter().collect();
        files.sort_by_key(|file| (file.path != CONFIG_FILE, file.path.as_str()));
        for file in files {
            check_file_path(&file.path)?;
            let path = folder.join(&file.path);
            check_unchanged(&path, file).await?;
            self.upload(&format!("{version_folder}/{}", file.path), &path)
                .await?;
        }
        if manifest.files.iter().any(|file| file.path == CONFIG_FILE) {
            self.upload_model_config(manifest, folder).await?;
        }
        let key = format!("{version_folder}/{MANIFEST_FILE}");
        let content = Bytes::from(manifest.to_json());
        match with_patience(self.patience, || self.store.create(&key, content.clone())).await? {
            Creation::Created => Ok(Published::Written),
            // Another publisher was faster, or our own write had succeeded and its answer was lost.
            Creation::Existed => match self.manifest(&manifest.model, manifest.version).await? {
                Some(published) => already_there(manifest, &published),
                None => Err(RepositoryError::unreachable(
                    self.store.describe(&key),
                    "the manifest vanished meanwhile",
                )),
            },
        }
    }

    /// `<model>/config.pbtxt` is what Triton reads; it is that of the highest version.
    async fn upload_model_config(&self, manifest: &Manifest, folder: &Path) -> Result<()> {
        let versions = self.versions(&manifest.model).await?;
        if versions.iter().any(|version| *version > manifest.version) {
            return Ok(());
        }
        self.upload(
            &format!("{}/{CONFIG_FILE}", manifest.model),
            &folder.join(CONFIG_FILE),
        )
        .await
    }

    async fn upload(&self, key: &str, from: &Path) -> Result<()> {
        with_patience(self.patience, || self.store.upload(key, from)).await
    }
}

fn already_there(manifest: &Manifest, published: &Manifest) -> Result<Published> {
    if published.digest == manifest.digest {
        return Ok(Published::AlreadyThere);
    }
    Err(RepositoryError::VersionConflict {
        model: manifest.model.clone(),
        version: manifest.version,
        published: published.digest.to_string(),
        offered: manifest.digest.to_string(),
    })
}

async fn check_unchanged(path: &Path, file: &ManifestFile) -> Result<()> {
    let (_, sha256) = hash_file(path).await?;
    if sha256 == file.sha256 {
        return Ok(());
    }
    Err(RepositoryError::DigestMismatch {
        what: path.display().to_string(),
        expected: file.sha256.clone(),
        actual: sha256,
    })
}
