//! Bringing a version to the local disk, whole and checked, or not at all.

use std::path::{Path, PathBuf};

use tokio::fs;

use crate::digest::Digest;
use crate::error::{RepositoryError, Result};
use crate::location::Location;
use crate::manifest::{
    CONFIG_FILE, MANIFEST_FILE, Manifest, ManifestFile, check_file_path, check_model_name,
};
use crate::repository::Repository;
use crate::retry::with_patience;

/// A version on the local disk.
#[derive(Clone, Debug)]
pub struct LocalVersion {
    /// Folder with the version's files.
    pub folder: PathBuf,
    /// Digest of its files, as computed here.
    pub digest: Digest,
    /// Its manifest, where it has one.
    pub manifest: Option<Manifest>,
    /// Text of the configuration that applies to it.
    pub config: Option<String>,
    /// Bytes that had to be moved; 0 when the files were here already.
    pub fetched_bytes: u64,
}

impl Repository {
    /// Brings a version to `cache/<sha256-digest>/` and checks every byte against its manifest, and the whole against
    /// `expected`. What is cached already is checked and used. A repository in a folder is read in place.
    pub async fn fetch(
        &self,
        model: &str,
        version: u64,
        expected: Option<&Digest>,
        cache: &Path,
    ) -> Result<LocalVersion> {
        check_model_name(model)?;
        let what = format!("version {version} of model {model} in {}", self.location);
        if let (Location::S3 { .. }, Some(expected)) = (&self.location, expected)
            && let Some(local) = cached(cache, model, version, expected).await
        {
            return Ok(local);
        }
        let manifest = self.manifest(model, version).await?;
        if manifest.is_none() && !self.versions(model).await?.contains(&version) {
            return Err(RepositoryError::NotFound { what });
        }
        if let (Some(expected), Some(manifest)) = (expected, &manifest)
            && manifest.digest != *expected
        {
            return Err(mismatch(what, expected, &manifest.digest));
        }
        let config = self.config(model, version).await?;
        let version_folder = format!("{model}/{version}");
        let local = match (&self.location, &manifest) {
            (Location::Folder(root), _) => {
                let folder = root.join(&version_folder);
                let paths = self.file_paths(&version_folder, manifest.as_ref()).await?;
                let digest = digest_of_folder(&folder, &paths).await?;
                LocalVersion {
                    folder,
                    digest,
                    manifest,
                    config,
                    fetched_bytes: 0,
                }
            }
            (Location::S3 { .. }, Some(found)) if is_cached(cache, found).await => {
                let folder = cache.join(found.digest.folder_name());
                LocalVersion {
                    folder,
                    digest: found.digest.clone(),
                    manifest,
                    config,
                    fetched_bytes: 0,
                }
            }
            (Location::S3 { .. }, _) => {
                let (folder, digest, fetched_bytes) = self
                    .download(&version_folder, manifest.as_ref(), expected, cache)
                    .await?;
                LocalVersion {
                    folder,
                    digest,
                    manifest,
                    config,
                    fetched_bytes,
                }
            }
        };
        let promised = expected.or(local.manifest.as_ref().map(|manifest| &manifest.digest));
        match promised {
            Some(promised) if *promised != local.digest => Err(mismatch(what, promised, &local.digest)),
            _ => Ok(local),
        }
    }

    /// Paths of the version's files, relative to its folder, without the manifest.
    async fn file_paths(&self, version_folder: &str, manifest: Option<&Manifest>) -> Result<Vec<String>> {
        if let Some(manifest) = manifest {
            return Ok(manifest.files.iter().map(|file| file.path.clone()).collect());
        }
        let keys = with_patience(self.patience, || self.store.list_files(version_folder)).await?;
        let relative = |key: String| key.strip_prefix(&format!("{version_folder}/")).map(str::to_owned);
        Ok(keys
            .into_iter()
            .filter_map(relative)
            .filter(|path| path != MANIFEST_FILE)
            .collect())
    }

    async fn download(
        &self,
        version_folder: &str,
        manifest: Option<&Manifest>,
        expected: Option<&Digest>,
        cache: &Path,
    ) -> Result<(PathBuf, Digest, u64)> {
        fs::create_dir_all(cache)
            .await
            .map_err(RepositoryError::io(cache))?;
        let incoming = tempfile::Builder::new()
            .prefix(".incoming-")
            .tempdir_in(cache)
            .map_err(RepositoryError::io(cache))?;
        let mut files = Vec::new();
        for path in self.file_paths(version_folder, manifest).await? {
            check_file_path(&path)?;
            let to = incoming.path().join(&path);
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent)
                    .await
                    .map_err(RepositoryError::io(parent))?;
            }
            let key = format!("{version_folder}/{path}");
            let moved = with_patience(self.patience, || self.store.download(&key, &to)).await?;
            let promised = manifest.and_then(|manifest| manifest.files.iter().find(|file| file.path == path));
            if let Some(promised) = promised.filter(|promised| promised.sha256 != moved.sha256) {
                return Err(RepositoryError::DigestMismatch {
                    what: self.store.describe(&key),
                    expected: promised.sha256.clone(),
                    actual: moved.sha256,
                });
            }
            files.push(ManifestFile {
                path,
                size_bytes: moved.size_bytes,
                sha256: moved.sha256,
            });
        }
        let digest = Digest::of_files(&files);
        if let Some(expected) = expected.filter(|expected| **expected != digest) {
            return Err(mismatch(self.store.describe(version_folder), expected, &digest));
        }
        if let Some(manifest) = manifest {
            // With it, the folder can be used again while the store is away.
            let path = incoming.path().join(MANIFEST_FILE);
            fs::write(&path, manifest.to_json())
                .await
                .map_err(RepositoryError::io(path))?;
        }
        let folder = cache.join(digest.folder_name());
        move_into_place(incoming, &folder).await?;
        Ok((folder, digest, files.iter().map(|file| file.size_bytes).sum()))
    }
}

fn mismatch(what: String, expected: &Digest, actual: &Digest) -> RepositoryError {
    RepositoryError::DigestMismatch {
        what,
        expected: expected.to_string(),
        actual: actual.to_string(),
    }
}

/// Renames the finished folder; what is there is either the same bytes or a damaged copy of them, and is replaced.
async fn move_into_place(incoming: tempfile::TempDir, folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(RepositoryError::io(folder)(error));
        }
        _ => {}
    }
    fs::rename(incoming.path(), folder)
        .await
        .map_err(RepositoryError::io(folder))?;
    // Renamed away: there is nothing left for the guard to remove.
    let _ = incoming.keep();
    Ok(())
}

/// A version that was fetched before and is whole: it needs no store.
async fn cached(cache: &Path, model: &str, version: u64, expected: &Digest) -> Option<LocalVersion> {
    let folder = cache.join(expected.folder_name());
    let path = folder.join(MANIFEST_FILE);
    let manifest = Manifest::parse(&fs::read(&path).await.ok()?, &path.display().to_string()).ok()?;
    let is_it = manifest.model == model && manifest.version == version && manifest.digest == *expected;
    if !is_it || !is_cached(cache, &manifest).await {
        return None;
    }
    let config = fs::read_to_string(folder.join(CONFIG_FILE)).await.ok();
    Some(LocalVersion {
        folder,
        digest: expected.clone(),
        manifest: Some(manifest),
        config,
        fetched_bytes: 0,
    })
}

async fn is_cached(cache: &Path, manifest: &Manifest) -> bool {
    let folder = cache.join(manifest.digest.folder_name());
    let paths: Vec<_> = manifest.files.iter().map(|file| file.path.clone()).collect();
    digest_of_folder(&folder, &paths)
        .await
        .is_ok_and(|digest| digest == manifest.digest)
}

async fn digest_of_folder(folder: &Path, paths: &[String]) -> Result<Digest> {
    let mut files = Vec::new();
    for path in paths {
        files.push(ManifestFile::describe(folder, path).await?);
    }
    Ok(Digest::of_files(&files))
}
