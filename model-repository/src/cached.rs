//! Looking at an entry of the cache: whether it is what its name says.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::fs;

use crate::digest::{Digest, Hasher};
use crate::download::Wanted;
use crate::manifest::{MANIFEST_FILE, Manifest, ManifestFile};
use crate::regular;

/// Lists, with their hashes, the files of an entry that has no manifest.
pub(crate) const FILE_LIST: &str = ".aiops-files.json";

/// An entry that is whole.
pub(crate) struct Known {
    pub(crate) digest: Digest,
    /// Time for hashing it.
    pub(crate) verify: Duration,
}

/// Name of the entry of a version without a manifest: by what the store says of its objects.
pub(crate) fn listing_name(files: &[Wanted]) -> String {
    let mut hasher = Hasher::default();
    for file in files {
        let etag = file.etag.as_deref().unwrap_or_default();
        hasher.update(format!("{etag} {} {}\n", file.size_bytes, file.path).as_bytes());
    }
    format!("listing-{}", hasher.finish())
}

/// The text of the file list.
pub(crate) fn file_list(files: &[ManifestFile]) -> Vec<u8> {
    serde_json::to_vec_pretty(files).expect("paths and numbers can be written as JSON")
}

/// The manifest of an entry, if it can be read.
pub(crate) async fn manifest(folder: &Path) -> Option<Manifest> {
    let path = folder.join(MANIFEST_FILE);
    Manifest::parse(&regular::read(&path).await.ok()?, &path.display().to_string()).ok()
}

/// Checks every byte of an entry; nothing where it is not there or damaged.
pub(crate) async fn look(folder: &Path, manifest: Option<&Manifest>) -> Option<Known> {
    let files = match manifest {
        Some(manifest) => manifest.files.clone(),
        None => serde_json::from_slice(&regular::read(&folder.join(FILE_LIST)).await.ok()?).ok()?,
    };
    let start = Instant::now();
    if !fs::try_exists(folder).await.ok()? {
        return None;
    }
    if let Some(damaged) = first_damaged(folder, &files).await {
        tracing::warn!(
            file = %folder.join(damaged).display(),
            "a file of the model cache is damaged; its version is fetched anew"
        );
        return None;
    }
    Some(Known {
        digest: Digest::of_files(&files),
        verify: start.elapsed(),
    })
}

async fn first_damaged<'a>(folder: &Path, files: &'a [ManifestFile]) -> Option<&'a str> {
    // Sizes cost nothing.
    for file in files {
        let found = fs::metadata(folder.join(&file.path)).await;
        if !found.is_ok_and(|found| found.len() == file.size_bytes) {
            return Some(&file.path);
        }
    }
    for file in files {
        let found = ManifestFile::describe(folder, &file.path).await;
        if !found.is_ok_and(|found| found == *file) {
            return Some(&file.path);
        }
    }
    None
}
