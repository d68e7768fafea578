//! Fetched versions on the local disk, by what they are: a folder that the servers of a machine may share.
//!
//! ```text
//! sha256-<digest>/            a version with a manifest, by its digest
//! listing-<digest>/           one without: by the names, sizes and ETags of its objects
//! .incoming-<entry>/          one that is being fetched, or was when its server died
//! .given-<random>/            files that a call brought along
//! .locks/<entry>.fetch        held by the one who fetches it; others wait
//! .locks/<entry>.use          shared by all who serve it; who removes it needs it alone
//! ```
//!
//! An entry appears whole, by a rename, and never changes. The time of its `.use` file is when it was last used.

mod clean;
mod lock;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::error::{RepositoryError, Result};
use crate::sharing;
use lock::Kind;

const LOCKS: &str = ".locks";
const INCOMING_PREFIX: &str = ".incoming-";
const GIVEN_PREFIX: &str = ".given-";
const LEAVING_PREFIX: &str = ".leaving-";
/// Beginnings of the names of entries.
const ENTRY_PREFIXES: [&str; 2] = ["sha256-", "listing-"];
/// Held inside of a `.given-` folder for as long as it is needed.
const GIVEN_LOCK: &str = ".lock";

/// A folder of fetched versions.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    capacity: u64,
}

impl From<&Path> for Cache {
    fn from(folder: &Path) -> Self {
        Self::new(folder)
    }
}

impl From<&Self> for Cache {
    fn from(cache: &Self) -> Self {
        cache.clone()
    }
}

/// Keeps an entry from being removed, by any process, until its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Lease {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // What was served until now was used until now. Without it only the order of removal is worse.
        lock::touch(&self.0);
    }
}

/// A folder for files that came with a call; removed when dropped.
pub struct Given {
    folder: TempDir,
    _lock: File,
}

impl Given {
    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Cache {
    /// Keeps nothing that nobody uses.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            capacity: 0,
        }
    }

    /// Keeps versions that nobody uses while all together take at most so many bytes.
    #[must_use]
    pub fn with_capacity(mut self, bytes: u64) -> Self {
        self.capacity = bytes;
        self
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Removes what nobody uses, the least recently used first, until the rest fits; what a process died over, too. Entries
    /// by the names in `keep` stay.
    pub async fn clean(&self, keep: HashSet<OsString>) {
        let cache = self.clone();
        let cleaning = tokio::task::spawn_blocking(move || clean::to_size(&cache, cache.capacity, &keep));
        if let Err(panic) = cleaning.await {
            tracing::warn!(error = %panic, "the model cache was not cleaned");
        }
    }

    /// Removes what processes left that died, but no versions. Blocks.
    pub fn clean_leftovers(&self) {
        clean::leftovers(self, &HashSet::new());
    }

    /// A new folder in the cache that no other process removes.
    pub fn given(&self) -> std::io::Result<Given> {
        std::fs::create_dir_all(&self.folder)?;
        let folder = tempfile::Builder::new()
            .prefix(GIVEN_PREFIX)
            .tempdir_in(&self.folder)?;
        let lock = lock::try_lock(&folder.path().join(GIVEN_LOCK), Kind::Exclusive)?
            .ok_or_else(|| std::io::Error::other("another process took a folder made a moment ago"))?;
        Ok(Given { folder, _lock: lock })
    }

    pub(crate) fn entry(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) fn incoming(&self, entry: &str) -> PathBuf {
        self.folder.join(format!("{INCOMING_PREFIX}{entry}"))
    }

    fn lock_file(&self, entry: &str, what: &str) -> PathBuf {
        self.folder.join(LOCKS).join(format!("{entry}.{what}"))
    }

    async fn make_folders(&self) -> Result<()> {
        let (folder, locks) = (self.folder.clone(), self.folder.join(LOCKS));
        let making = tokio::task::spawn_blocking(move || {
            // Others may use this one only if somebody made it for them.
            std::fs::create_dir_all(&folder)?;
            sharing::create_folders(&folder.join(LOCKS))
        });
        let made = making
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        made.map_err(RepositoryError::io(locks))
    }

    /// From now on the entry stays, whether it is there yet or not.
    pub(crate) async fn lease(&self, entry: &str) -> Result<Lease> {
        self.make_folders().await?;
        let file = lock::lock(self.lock_file(entry, "use"), Kind::Shared).await?;
        lock::touch(&file);
        Ok(Lease {
            _held: Arc::new(Held(file)),
        })
    }

    /// The right to fetch the entry; waits while another process fetches it, and takes over where that one dies.
    pub(crate) async fn lock_for_fetching(&self, entry: &str) -> Result<File> {
        let path = self.lock_file(entry, "fetch");
        self.make_folders().await?;
        let asked = path.clone();
        let first = tokio::task::spawn_blocking(move || lock::try_lock(&asked, Kind::Exclusive)).await;
        match first {
            Ok(Ok(Some(file))) => Ok(file),
            Ok(Err(error)) => Err(RepositoryError::io(path)(error)),
            Ok(Ok(None)) | Err(_) => {
                tracing::info!(entry, "another server fetches this version, waiting for it");
                lock::lock(path, Kind::Exclusive).await
            }
        }
    }

    /// Makes room for so many more bytes: within the size of the cache, and on the disk. Answers what is free there, where
    /// that can be known.
    pub(crate) async fn make_room(&self, needed: u64) -> Option<u64> {
        let cache = self.clone();
        let making = tokio::task::spawn_blocking(move || clean::make_room(&cache, needed));
        making.await.ok().flatten()
    }
}
