//! Files of a version from S3 to the disk: parts of all files side by side, each checked while the others come.

mod file;
mod journal;
mod part;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Semaphore;

use crate::error::Result;
use crate::manifest::ManifestFile;
use crate::store::s3::S3Store;
use file::FileDownload;

/// Folder of what is fetched, below that of an unfinished version.
const FILES: &str = "files";
/// Folder of the journals beside it.
const PARTS: &str = "parts";

/// How files are fetched from S3.
#[derive(Clone, Debug)]
pub struct FetchSettings {
    /// Larger files come in parts of so many bytes.
    pub part_bytes: u64,
    /// Parts that come at the same time, of all files of all fetches of a repository.
    pub parallel_parts: usize,
    /// A connection on which nothing comes for so long is given up.
    pub stall_timeout: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            part_bytes: 8 << 20,
            parallel_parts: 16,
            stall_timeout: Duration::from_secs(15),
        }
    }
}

/// The settings, and the places that all fetches share.
#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    settings: FetchSettings,
    places: Arc<Semaphore>,
}

impl Fetching {
    pub(crate) fn new(settings: FetchSettings) -> Self {
        let places = Arc::new(Semaphore::new(settings.parallel_parts.max(1)));
        Self { settings, places }
    }
}

/// A file that is to be fetched.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// Path in the version's folder.
    pub(crate) path: String,
    /// Key in the repository.
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    /// What its bytes have to be.
    pub(crate) sha256: Option<String>,
    /// The state of the object that is wanted.
    pub(crate) etag: Option<String>,
}

/// What a download gave.
#[derive(Debug, Default)]
pub(crate) struct Downloaded {
    pub(crate) files: Vec<ManifestFile>,
    /// Bytes that had to come over the network.
    pub(crate) fetched_bytes: u64,
    /// Time for hashing, most of it while bytes still came.
    pub(crate) hashing: Duration,
}

/// Fetches files into `incoming/files`, going on with what an earlier attempt left there.
pub(crate) async fn download(
    store: &S3Store,
    fetching: &Fetching,
    patience: Duration,
    wanted: &[Wanted],
    incoming: &Path,
) -> Result<Downloaded> {
    let one = |wanted| {
        let download = FileDownload {
            store,
            settings: &fetching.settings,
            places: &fetching.places,
            patience,
            wanted,
            incoming,
        };
        download.run().boxed()
    };
    // Made before any runs, as the compiler cannot see through a closure that lends.
    let downloads: Vec<_> = wanted.iter().map(one).collect();
    let mut files: Vec<_> = stream::iter(downloads)
        .buffer_unordered(fetching.settings.parallel_parts.max(1))
        .try_collect()
        .await?;
    files.sort_by(|left: &file::Fetched, right| left.file.path.cmp(&right.file.path));
    let mut all = Downloaded::default();
    for fetched in files {
        all.fetched_bytes += fetched.fetched_bytes;
        all.hashing += fetched.hashing;
        all.files.push(fetched.file);
    }
    Ok(all)
}

/// Folder of the files of an unfinished version.
pub(crate) fn files_folder(incoming: &Path) -> std::path::PathBuf {
    incoming.join(FILES)
}

/// Bytes of the disk that the files still need.
pub(crate) fn missing_bytes(wanted: &[Wanted], incoming: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let missing = |wanted: &Wanted| {
        let there = std::fs::metadata(files_folder(incoming).join(&wanted.path));
        // In units of 512 bytes, whatever the file system's are.
        let there = there.map_or(0, |file| file.blocks() * 512);
        wanted.size_bytes.saturating_sub(there)
    };
    wanted.iter().map(missing).sum()
}
