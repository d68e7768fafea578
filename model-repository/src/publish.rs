//! Writing a version, once and for all.
//!
//! Nothing is ever written over blindly: a file is created where there is none, and one with other bytes is replaced only
//! if it still is what was read and no manifest promises it. The first manifest decides which bytes the version has; from
//! then on every publisher, whichever bytes it brought, only ever restores those.

use std::path::Path;

use bytes::Bytes;
use tempfile::NamedTempFile;

use crate::digest::hash_file;
use crate::error::{RepositoryError, Result};
use crate::manifest::{
    CONFIG_FILE, MANIFEST_FILE, Manifest, ManifestFile, check_file_path, check_model_name,
};
use crate::repository::Repository;
use crate::retry::with_patience;
use crate::store::{Creation, Moved, Replacement};

/// How often an object may turn out to be another one than a moment ago. Each time somebody else wrote it, and nobody
/// writes a file more than a few times.
const ROUNDS: usize = 10;

/// What a publication found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The version is new.
    Written,
    /// The same bytes were complete already; nothing was written but files that had been damaged.
    AlreadyThere,
}

/// A file that had other bytes and was taken for the rest of a publisher that died.
struct Replaced {
    path: String,
    before: NamedTempFile,
    before_sha256: String,
    /// The file as it was written here.
    tag: String,
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
    /// behind is replaced. Equal bytes that are already complete are a success. A success means that every file was
    /// read back and is what the manifest promises.
    pub async fn publish(&self, manifest: &Manifest, folder: &Path) -> Result<Published> {
        check_model_name(&manifest.model)?;
        for file in &manifest.files {
            check_file_path(&file.path)?;
            check_unchanged(&folder.join(&file.path), file).await?;
        }
        let mut replaced = Vec::new();
        let published = self.write(manifest, folder, &mut replaced).await;
        if let Err(RepositoryError::VersionConflict { .. }) = &published {
            self.put_back(manifest, replaced).await?;
        }
        let published = published?;
        self.make_whole(manifest, folder).await?;
        Ok(published)
    }

    async fn write(
        &self,
        manifest: &Manifest,
        folder: &Path,
        replaced: &mut Vec<Replaced>,
    ) -> Result<Published> {
        if self.is_complete(manifest).await? {
            return Ok(Published::AlreadyThere);
        }
        self.write_files(manifest, folder, replaced).await?;
        self.complete(manifest, folder).await
    }

    async fn write_files(
        &self,
        manifest: &Manifest,
        folder: &Path,
        replaced: &mut Vec<Replaced>,
    ) -> Result<()> {
        let mut files: Vec<_> = manifest.files.iter().collect();
        files.sort_by_key(|file| (file.path != CONFIG_FILE, file.path.as_str()));
        for file in files {
            replaced.extend(self.put(manifest, file, folder).await?);
        }
        self.put_model_config(manifest, folder, manifest.version).await
    }

    async fn complete(&self, manifest: &Manifest, folder: &Path) -> Result<Published> {
        let published = self.write_manifest(manifest).await?;
        // An older version's publisher, which could not see this version before, may have written its own meanwhile.
        self.put_model_config(manifest, folder, manifest.version.saturating_add(1))
            .await?;
        Ok(published)
    }

    async fn write_manifest(&self, manifest: &Manifest) -> Result<Published> {
        let key = key(manifest, MANIFEST_FILE);
        let content = Bytes::from(manifest.to_json());
        match with_patience(self.patience, || self.store.create(&key, content.clone())).await? {
            Creation::Created => Ok(Published::Written),
            // Another publisher was faster, or our own write had succeeded and its answer was lost.
            Creation::Existed if self.is_complete(manifest).await? => Ok(Published::AlreadyThere),
            Creation::Existed => Err(RepositoryError::unreachable(
                self.store.describe(&key),
                "the manifest vanished meanwhile",
            )),
        }
    }

    /// Whether the version is complete with these bytes; with others it is a conflict.
    async fn is_complete(&self, manifest: &Manifest) -> Result<bool> {
        match self.manifest(&manifest.model, manifest.version).await? {
            None => Ok(false),
            Some(published) if published.digest == manifest.digest => Ok(true),
            Some(published) => Err(RepositoryError::VersionConflict {
                model: manifest.model.clone(),
                version: manifest.version,
                published: published.digest.to_string(),
                offered: manifest.digest.to_string(),
            }),
        }
    }

    /// Lets one file be what the manifest says. Answers what it replaced.
    async fn put(&self, manifest: &Manifest, file: &ManifestFile, folder: &Path) -> Result<Option<Replaced>> {
        let (key, from) = (key(manifest, &file.path), folder.join(&file.path));
        let mut replaced = None;
        for _ in 0..ROUNDS {
            match with_patience(self.patience, || self.store.upload_new(&key, &from)).await? {
                Creation::Created => return Ok(None),
                Creation::Existed => {}
            }
            let before = NamedTempFile::new_in(folder).map_err(RepositoryError::io(folder))?;
            let found = with_patience(self.patience, || self.store.download(&key, before.path())).await;
            let Some(Moved { sha256, tag, .. }) = unless_missing(found)? else {
                continue;
            };
            if sha256 == file.sha256 {
                // The answer to our own write may have been lost.
                return Ok(replaced.map(|replaced| Replaced { tag, ..replaced }));
            }
            self.is_complete(manifest).await?;
            tracing::warn!(
                file = self.store.describe(&key),
                "another publication left other bytes, they are replaced"
            );
            let written = with_patience(self.patience, || self.store.replace(&key, &from, &tag)).await?;
            let known = Replaced {
                path: file.path.clone(),
                before,
                before_sha256: sha256,
                tag,
            };
            match written {
                Replacement::Replaced(tag) => return Ok(Some(Replaced { tag, ..known })),
                Replacement::Changed => replaced = Some(known),
            }
        }
        Err(self.never_settles(&key))
    }

    /// Gives a version that another publisher completed meanwhile its own bytes back: what looked like the rest of one
    /// that died was not.
    async fn put_back(&self, manifest: &Manifest, replaced: Vec<Replaced>) -> Result<()> {
        let Some(published) = self.manifest(&manifest.model, manifest.version).await? else {
            return Ok(());
        };
        for file in replaced {
            let promised = published.files.iter().find(|known| known.path == file.path);
            if promised.is_some_and(|promised| promised.sha256 == file.before_sha256) {
                let key = key(manifest, &file.path);
                // Where it changed again, its publisher has restored it already.
                with_patience(self.patience, || {
                    self.store.replace(&key, file.before.path(), &file.tag)
                })
                .await?;
            }
        }
        Ok(())
    }

    /// Reads every file of a complete version, and restores those that are not what its manifest promises: a publisher
    /// with other bytes may have been between reading and writing when the manifest came.
    async fn make_whole(&self, manifest: &Manifest, folder: &Path) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut is_whole = true;
            for file in &manifest.files {
                let key = key(manifest, &file.path);
                let found = with_patience(self.patience, || self.store.inspect(&key)).await;
                if unless_missing(found)?.is_none_or(|found| found.sha256 != file.sha256) {
                    is_whole = false;
                    self.put(manifest, file, folder).await?;
                }
            }
            if is_whole {
                return Ok(());
            }
        }
        Err(self.never_settles(&key(manifest, "")))
    }

    fn never_settles(&self, key: &str) -> RepositoryError {
        RepositoryError::unreachable(
            self.store.describe(key),
            "other publishers write it again and again; end those that publish other bytes as this version",
        )
    }

    /// `<model>/config.pbtxt` is what Triton reads; it is that of the highest version, so it is left alone once a version
    /// from `first_newer` on is complete. It is read before the versions are: whoever completes one later writes it later,
    /// and then this write finds it changed.
    async fn put_model_config(&self, manifest: &Manifest, folder: &Path, first_newer: u64) -> Result<()> {
        let Some(file) = manifest.files.iter().find(|file| file.path == CONFIG_FILE) else {
            return Ok(());
        };
        let (key, from) = (
            format!("{}/{CONFIG_FILE}", manifest.model),
            folder.join(CONFIG_FILE),
        );
        for _ in 0..ROUNDS {
            let found = with_patience(self.patience, || self.store.inspect(&key)).await;
            let found = unless_missing(found)?;
            let versions = self.versions(&manifest.model).await?;
            if versions.iter().any(|version| *version >= first_newer) {
                return Ok(());
            }
            let is_written = match found {
                Some(found) if found.sha256 == file.sha256 => true,
                Some(Moved { tag, .. }) => {
                    let written =
                        with_patience(self.patience, || self.store.replace(&key, &from, &tag)).await?;
                    written != Replacement::Changed
                }
                None => {
                    let written = with_patience(self.patience, || self.store.upload_new(&key, &from)).await?;
                    written == Creation::Created
                }
            };
            if is_written {
                return Ok(());
            }
        }
        Err(self.never_settles(&key))
    }
}

fn key(manifest: &Manifest, path: &str) -> String {
    format!("{}/{}/{path}", manifest.model, manifest.version)
}

fn unless_missing(found: Result<Moved>) -> Result<Option<Moved>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(RepositoryError::NotFound { what }) if !what.starts_with("bucket") => Ok(None),
        Err(error) => Err(error),
    }
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

#[cfg(test)]
#[path = "publish_tests.rs"]
mod tests;
