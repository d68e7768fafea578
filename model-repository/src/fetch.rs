//! Bringing a version to the local disk, whole and checked, or not at all.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::fs;

use crate::cache::{Cache, Lease};
use crate::cached::{self, Known};
use crate::digest::Digest;
use crate::disk;
use crate::download::{self, Downloaded, Wanted, download};
use crate::error::{RepositoryError, Result};
use crate::manifest::{
    CONFIG_FILE, MANIFEST_FILE, Manifest, ManifestFile, check_file_path, check_model_name,
};
use crate::repository::Repository;
use crate::retry::with_patience;
use crate::sharing;
use crate::store::Store;
use crate::store::s3::S3Store;

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
    /// Time for hashing; where files were fetched, most of it passed while they came.
    pub verify: Duration,
    /// Keeps its files in the cache; nothing for a version that is read in place.
    pub lease: Option<Lease>,
}

/// Files that were looked at or fetched.
struct Checked {
    folder: PathBuf,
    digest: Digest,
    fetched_bytes: u64,
    verify: Duration,
    lease: Option<Lease>,
}

impl Checked {
    fn with(self, manifest: Option<Manifest>, config: Option<String>) -> LocalVersion {
        LocalVersion {
            folder: self.folder,
            digest: self.digest,
            manifest,
            config,
            fetched_bytes: self.fetched_bytes,
            verify: self.verify,
            lease: self.lease,
        }
    }
}

/// A version that is to be brought here.
struct Order<'a> {
    store: &'a S3Store,
    /// Its name in messages.
    what: String,
    /// Its folder in the repository.
    folder: String,
    manifest: Option<&'a Manifest>,
    /// Name of its folder in the cache.
    entry: String,
    files: Vec<Wanted>,
}

impl Repository {
    /// Brings a version into the cache and checks every byte against its manifest, and the whole against `expected`. What is
    /// cached already is checked and used; what another process fetches at this moment is waited for. A repository in a
    /// folder is read in place.
    pub async fn fetch(
        &self,
        model: &str,
        version: u64,
        expected: Option<&Digest>,
        cache: impl Into<Cache>,
    ) -> Result<LocalVersion> {
        check_model_name(model)?;
        let cache = cache.into();
        let what = format!("version {version} of model {model} in {}", self.location);
        if let (Store::S3(_), Some(expected)) = (&self.store, expected)
            && let Some(local) = without_store(&cache, model, version, expected).await?
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
        let folder = format!("{model}/{version}");
        let checked = match &self.store {
            Store::Folder(store) => {
                self.read_in_place(store.path(&folder), &folder, manifest.as_ref())
                    .await?
            }
            Store::S3(store) => {
                let order = self.order(store, what.clone(), folder, manifest.as_ref()).await?;
                // Boxed: the types of what it waits for are too deep for those who wait for this.
                self.bring(&order, &cache).boxed().await?
            }
        };
        let promised = expected.or(manifest.as_ref().map(|manifest| &manifest.digest));
        match promised {
            Some(promised) if *promised != checked.digest => Err(mismatch(what, promised, &checked.digest)),
            _ => Ok(checked.with(manifest, config)),
        }
    }

    async fn read_in_place(
        &self,
        folder: PathBuf,
        version_folder: &str,
        manifest: Option<&Manifest>,
    ) -> Result<Checked> {
        let paths = match manifest {
            Some(manifest) => manifest.files.iter().map(|file| file.path.clone()).collect(),
            None => self.file_paths(version_folder).await?,
        };
        let start = Instant::now();
        let mut files = Vec::new();
        for path in &paths {
            files.push(ManifestFile::describe(&folder, path).await?);
        }
        Ok(Checked {
            folder,
            digest: Digest::of_files(&files),
            fetched_bytes: 0,
            verify: start.elapsed(),
            lease: None,
        })
    }

    /// Paths of the version's files, relative to its folder, without a manifest.
    async fn file_paths(&self, version_folder: &str) -> Result<Vec<String>> {
        let keys = with_patience(self.patience, || self.store.list_files(version_folder)).await?;
        let relative = |key: String| key.strip_prefix(&format!("{version_folder}/")).map(str::to_owned);
        Ok(keys
            .into_iter()
            .filter_map(relative)
            .filter(|path| path != MANIFEST_FILE)
            .collect())
    }

    /// What there is to fetch, by the manifest or by what the store lists.
    async fn order<'a>(
        &self,
        store: &'a S3Store,
        what: String,
        folder: String,
        manifest: Option<&'a Manifest>,
    ) -> Result<Order<'a>> {
        let files: Vec<Wanted> = match manifest {
            Some(manifest) => {
                let wanted = |file: &ManifestFile| Wanted {
                    path: file.path.clone(),
                    key: format!("{folder}/{}", file.path),
                    size_bytes: file.size_bytes,
                    sha256: Some(file.sha256.clone()),
                    etag: None,
                };
                manifest.files.iter().map(wanted).collect()
            }
            None => {
                let states = with_patience(self.patience, || store.states(&folder)).await?;
                let wanted = states.into_iter().map(|state| Wanted {
                    path: state.key[folder.len() + 1..].to_owned(),
                    key: state.key,
                    size_bytes: state.size_bytes,
                    sha256: None,
                    etag: Some(state.etag),
                });
                wanted.collect()
            }
        };
        for file in &files {
            check_file_path(&file.path)?;
        }
        let entry = match manifest {
            Some(manifest) => manifest.digest.folder_name(),
            None => cached::listing_name(&files),
        };
        Ok(Order {
            store,
            what,
            folder,
            manifest,
            entry,
            files,
        })
    }

    /// The version in the cache, fetched unless it is there and whole. One process fetches, others wait for it.
    async fn bring(&self, order: &Order<'_>, cache: &Cache) -> Result<Checked> {
        let lease = cache.lease(&order.entry).await?;
        let here = |known: Known, lease: Lease| Checked {
            folder: cache.entry(&order.entry),
            digest: known.digest,
            fetched_bytes: 0,
            verify: known.verify,
            lease: Some(lease),
        };
        if let Some(known) = cached::look(&cache.entry(&order.entry), order.manifest).await {
            return Ok(here(known, lease));
        }
        let _fetching = cache.lock_for_fetching(&order.entry).await?;
        // Somebody else may have fetched it meanwhile.
        if let Some(known) = cached::look(&cache.entry(&order.entry), order.manifest).await {
            return Ok(here(known, lease));
        }
        let incoming = cache.incoming(&order.entry);
        let fetched = self.fetch_into(order, cache, &incoming).await;
        if let Err(error) = &fetched
            && !matches!(error, RepositoryError::Unreachable { .. })
        {
            // Nothing can be made of it; after a lost connection it is gone on with.
            remove(&incoming).await;
        }
        let (downloaded, digest) = fetched?;
        Ok(Checked {
            folder: cache.entry(&order.entry),
            digest,
            fetched_bytes: downloaded.fetched_bytes,
            verify: downloaded.hashing,
            lease: Some(lease),
        })
    }

    async fn fetch_into(
        &self,
        order: &Order<'_>,
        cache: &Cache,
        incoming: &Path,
    ) -> Result<(Downloaded, Digest)> {
        let files = download::files_folder(incoming);
        sharing::create_folders(&files).map_err(|error| disk::full_or_io(&files, 0, error))?;
        let missing = download::missing_bytes(&order.files, incoming);
        let free = cache.make_room(missing).await;
        disk::check(cache.folder(), missing, free)?;
        let downloaded = download(order.store, &self.fetching, self.patience, &order.files, incoming).await?;
        let digest = Digest::of_files(&downloaded.files);
        let (name, text) = match order.manifest {
            Some(manifest) if manifest.digest != digest => {
                let what = order.store.describe(&order.folder);
                return Err(mismatch(what, &manifest.digest, &digest));
            }
            // With it, the folder can be used again while the store is away.
            Some(manifest) => (MANIFEST_FILE, manifest.to_json()),
            None => (cached::FILE_LIST, cached::file_list(&downloaded.files)),
        };
        let path = files.join(name);
        write(&path, &text).map_err(|error| disk::full_or_io(&path, 0, error))?;
        move_into_place(incoming, &files, &cache.entry(&order.entry)).await?;
        tracing::debug!(what = order.what, bytes = downloaded.fetched_bytes, "fetched");
        Ok((downloaded, digest))
    }
}

fn write(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    sharing::open_up(&file, path, sharing::READ)?;
    std::io::Write::write_all(&mut file, text)
}

/// Removes a folder in which work that nobody can call off any more may still make a file.
async fn remove(folder: &Path) {
    for _ in 0..10 {
        let _ = fs::remove_dir_all(folder).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        if !fs::try_exists(folder).await.unwrap_or_default() {
            return;
        }
    }
}

fn mismatch(what: String, expected: &Digest, actual: &Digest) -> RepositoryError {
    RepositoryError::DigestMismatch {
        what,
        expected: expected.to_string(),
        actual: actual.to_string(),
    }
}

/// Renames the finished folder; what is there is a damaged copy of the same bytes, and is replaced. Whoever has its files open
/// keeps them.
async fn move_into_place(incoming: &Path, files: &Path, entry: &Path) -> Result<()> {
    let damaged = incoming.join("damaged");
    match fs::rename(entry, &damaged).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(RepositoryError::io(entry)(error));
        }
        _ => {}
    }
    fs::rename(files, entry)
        .await
        .map_err(RepositoryError::io(entry))?;
    // What is left of it takes no part in anything, and is removed with the next cleaning at the latest.
    let _ = fs::remove_dir_all(incoming).await;
    Ok(())
}

/// A version that was fetched before and is whole: it needs no store.
async fn without_store(
    cache: &Cache,
    model: &str,
    version: u64,
    expected: &Digest,
) -> Result<Option<LocalVersion>> {
    let folder = cache.entry(&expected.folder_name());
    if !fs::try_exists(folder.join(MANIFEST_FILE))
        .await
        .unwrap_or_default()
    {
        return Ok(None);
    }
    let lease = cache.lease(&expected.folder_name()).await?;
    let Some(manifest) = cached::manifest(&folder).await else {
        return Ok(None);
    };
    if manifest.model != model || manifest.version != version || manifest.digest != *expected {
        return Ok(None);
    }
    let Some(known) = cached::look(&folder, Some(&manifest)).await else {
        return Ok(None);
    };
    let config = crate::regular::read(&folder.join(CONFIG_FILE)).await.ok();
    let config = config.and_then(|text| String::from_utf8(text).ok());
    let checked = Checked {
        folder,
        digest: known.digest,
        fetched_bytes: 0,
        verify: known.verify,
        lease: Some(lease),
    };
    Ok(Some(checked.with(Some(manifest), config)))
}
