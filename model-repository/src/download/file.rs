//! One file: its parts, its place on the disk, its journal, its hash.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::{Semaphore, mpsc};

use super::journal::Journal;
use super::part::{Part, Target};
use super::{FILES, FetchSettings, PARTS, Wanted};
use crate::digest::Hasher;
use crate::disk;
use crate::error::{RepositoryError, Result};
use crate::manifest::ManifestFile;
use crate::sharing;
use crate::store::s3::S3Store;

const READ_BYTES: u64 = 1 << 20;

/// A name for this process that no other has.
static PROCESS: LazyLock<String> = LazyLock::new(|| format!("process-{:032x}", rand::random::<u128>()));

pub(super) struct FileDownload<'a> {
    pub(super) store: &'a S3Store,
    pub(super) settings: &'a FetchSettings,
    pub(super) places: &'a Semaphore,
    pub(super) patience: Duration,
    pub(super) wanted: &'a Wanted,
    pub(super) incoming: &'a Path,
}

pub(super) struct Fetched {
    pub(super) file: ManifestFile,
    pub(super) fetched_bytes: u64,
    pub(super) hashing: Duration,
}

/// A file with its place on the disk.
struct Prepared {
    target: Target,
    /// Bytes that are there, by part.
    there: BTreeMap<u64, u64>,
}

impl FileDownload<'_> {
    /// Fetches the file and hashes it. One that goes on with an earlier attempt and turns out wrong is fetched once more from
    /// its beginning: the machine may have gone down before all of it was on the disk.
    pub(super) async fn run(self) -> Result<Fetched> {
        let etag = self.etag().await?;
        let first = self.attempt(etag.as_deref()).await?;
        if self.is_right(&first) {
            return Ok(first);
        }
        if first.fetched_bytes < self.wanted.size_bytes {
            tracing::warn!(
                file = self.store.describe(&self.wanted.key),
                "what an earlier attempt left of it was damaged; it is fetched anew"
            );
            self.forget().await;
            let second = self.attempt(etag.as_deref()).await?;
            if self.is_right(&second) {
                return Ok(second);
            }
        }
        Err(RepositoryError::DigestMismatch {
            what: self.store.describe(&self.wanted.key),
            expected: self.wanted.sha256.clone().unwrap_or_default(),
            actual: first.file.sha256,
        })
    }

    fn is_right(&self, fetched: &Fetched) -> bool {
        let promised = self.wanted.sha256.as_ref();
        promised.is_none_or(|promised| *promised == fetched.file.sha256)
    }

    fn is_in_parts(&self) -> bool {
        self.wanted.size_bytes > self.settings.part_bytes
    }

    fn part_count(&self) -> u64 {
        self.wanted.size_bytes.div_ceil(self.settings.part_bytes)
    }

    fn path(&self) -> PathBuf {
        self.incoming.join(FILES).join(&self.wanted.path)
    }

    fn journal_path(&self) -> PathBuf {
        let mut hasher = Hasher::default();
        hasher.update(self.wanted.path.as_bytes());
        self.incoming.join(PARTS).join(hasher.finish())
    }

    /// The state of the object that every part has to come from. A file that comes in one answer needs none.
    async fn etag(&self) -> Result<Option<String>> {
        if self.wanted.etag.is_some() || !self.is_in_parts() {
            return Ok(self.wanted.etag.clone());
        }
        let _place = self.places.acquire().await;
        let (size, etag) =
            crate::retry::with_patience(self.patience, || self.store.head(&self.wanted.key)).await?;
        if size != self.wanted.size_bytes {
            return Err(self
                .store
                .wrong_size(&self.wanted.key, self.wanted.size_bytes, size));
        }
        Ok(etag)
    }

    async fn forget(&self) {
        for path in [self.journal_path(), self.path()] {
            let _ = tokio::fs::remove_file(path).await;
        }
    }

    async fn attempt(&self, etag: Option<&str>) -> Result<Fetched> {
        let Prepared { target, there } = self.prepare(etag).await?;
        let (ready, parts) = mpsc::unbounded_channel();
        let mut missing = Vec::new();
        let mut fetched_bytes = 0;
        for part in 0..self.part_count() {
            let there = there.get(&part).copied().unwrap_or_default();
            match (self.end(part) - self.start(part)).saturating_sub(there) {
                0 => _ = ready.send(part),
                bytes => {
                    fetched_bytes += bytes;
                    missing.push((part, there));
                }
            }
        }
        let target = &target;
        let fetching = async {
            let parts =
                stream::iter(missing).map(|(part, there)| self.part(part, there, etag, target, &ready));
            let all = parts.buffer_unordered(self.settings.parallel_parts.max(1));
            let fetched: Result<()> = all.try_collect().await;
            // Nothing more becomes ready: the hashing ends.
            drop(ready);
            fetched
        };
        let ((), (sha256, hashing)) = tokio::try_join!(fetching, self.hash(target, parts))?;
        Ok(Fetched {
            file: ManifestFile {
                path: self.wanted.path.clone(),
                size_bytes: self.wanted.size_bytes,
                sha256,
            },
            fetched_bytes,
            hashing,
        })
    }

    fn start(&self, part: u64) -> u64 {
        part * self.settings.part_bytes
    }

    fn end(&self, part: u64) -> u64 {
        self.wanted.size_bytes.min(self.start(part + 1))
    }

    /// Makes the file, at its full size, and finds what an earlier attempt left of it.
    async fn prepare(&self, etag: Option<&str>) -> Result<Prepared> {
        let (path, journal_path) = (self.path(), self.journal_path());
        let size = self.wanted.size_bytes;
        let about = etag.filter(|_| self.is_in_parts()).map(|etag| {
            let proof = proof(self.wanted.sha256.as_deref(), &PROCESS);
            format!("{etag} {size} {} {proof}", self.settings.part_bytes)
        });
        let preparing = tokio::task::spawn_blocking(move || prepare(&path, &journal_path, size, about));
        preparing
            .await
            .unwrap_or_else(|panic| Err(RepositoryError::io(self.path())(std::io::Error::other(panic))))
    }

    async fn part(
        &self,
        number: u64,
        there: u64,
        etag: Option<&str>,
        target: &Target,
        ready: &mpsc::UnboundedSender<u64>,
    ) -> Result<()> {
        let _place = self.places.acquire().await;
        let part = Part {
            key: &self.wanted.key,
            etag,
            object_bytes: self.wanted.size_bytes,
            number,
            start: self.start(number),
            end: self.end(number),
        };
        part.fetch(self.store, target, self.settings, self.patience, there)
            .await?;
        let _ = ready.send(number);
        Ok(())
    }

    /// Hashes parts in their order, each as soon as it and all before it are there. They are read from the page cache.
    async fn hash(
        &self,
        target: &Target,
        mut parts: mpsc::UnboundedReceiver<u64>,
    ) -> Result<(String, Duration)> {
        let mut hasher = Hasher::default();
        let mut hashing = Duration::ZERO;
        let mut ready = BTreeSet::new();
        let mut next = 0;
        while next < self.part_count() {
            if !ready.remove(&next) {
                match parts.recv().await {
                    Some(part) => ready.insert(part),
                    // The fetching failed, and says why.
                    None => return Ok((String::new(), hashing)),
                };
                continue;
            }
            let (file, start, end) = (Arc::clone(&target.file), self.start(next), self.end(next));
            let reading = tokio::task::spawn_blocking(move || hash_range(hasher, &file, start, end));
            let read = reading
                .await
                .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
            let took;
            (hasher, took) = read.map_err(RepositoryError::io(&target.path))?;
            hashing += took;
            next += 1;
        }
        Ok((hasher.finish(), hashing))
    }
}

/// What makes sure that the bytes a journal tells of are there. Without a digest only this process does: after a crash of
/// the machine the journal may be on the disk and the bytes not, and nobody would notice.
fn proof<'a>(sha256: Option<&'a str>, process: &'a str) -> &'a str {
    sha256.unwrap_or(process)
}

fn hash_range(mut hasher: Hasher, file: &File, start: u64, end: u64) -> std::io::Result<(Hasher, Duration)> {
    let begin = Instant::now();
    let mut buffer = vec![0; READ_BYTES.min(end - start) as usize];
    let mut at = start;
    while at < end {
        let count = (end - at).min(READ_BYTES) as usize;
        file.read_exact_at(&mut buffer[..count], at)?;
        hasher.update(&buffer[..count]);
        at += count as u64;
    }
    Ok((hasher, begin.elapsed()))
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(path)?;
    sharing::open_up(&file, path, sharing::READ)?;
    Ok(file)
}

fn prepare(path: &Path, journal_path: &Path, size: u64, about: Option<String>) -> Result<Prepared> {
    for folder in [path, journal_path].into_iter().filter_map(Path::parent) {
        sharing::create_folders(folder).map_err(|error| disk::full_or_io(folder, size, error))?;
    }
    let had_its_size = std::fs::metadata(path).is_ok_and(|file| file.len() == size);
    if !had_its_size {
        let _ = std::fs::remove_file(journal_path);
    }
    let file = match open(path) {
        // Another user's, who had to give it up: the folder is all that is shared.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let _ = std::fs::remove_file(journal_path);
            std::fs::remove_file(path).and_then(|()| open(path))
        }
        opened => opened,
    };
    let file = file.map_err(RepositoryError::io(path))?;
    let sized = file.set_len(size).and_then(|()| match size {
        0 => Ok(()),
        size => disk::preallocate(&file, size),
    });
    sized.map_err(|error| disk::full_or_io(path, size, error))?;
    let opened = about.map(|about| Journal::open(journal_path, &about)).transpose();
    let (journal, there) = opened
        .map_err(|error| disk::full_or_io(journal_path, size, error))?
        .map_or((None, BTreeMap::new()), |(journal, there)| {
            (Some(Mutex::new(journal)), there)
        });
    Ok(Prepared {
        target: Target {
            file: Arc::new(file),
            path: path.to_owned(),
            journal,
        },
        there,
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn without_a_digest_only_the_process_that_wrote_bytes_goes_on_with_them() {
        let folder = tempfile::tempdir().unwrap();
        let (path, journal) = (folder.path().join("files/f"), folder.path().join("parts/j"));
        let found = |sha256: Option<&str>, process: &str| {
            let about = format!("etag {}", proof(sha256, process));
            let prepared = prepare(&path, &journal, 100, Some(about)).unwrap();
            let notes = prepared.target.journal.unwrap();
            notes.into_inner().unwrap().note(0, 50).unwrap();
            prepared.there
        };
        let half = BTreeMap::from([(0, 50)]);
        assert!(found(None, "one").is_empty());
        assert_eq!(found(None, "one"), half);
        assert!(found(None, "two").is_empty(), "its machine may have crashed");
        assert!(found(Some("digest"), "two").is_empty());
        assert_eq!(found(Some("digest"), "three"), half);
    }

    #[test]
    fn what_another_user_began_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let files = folder.path().join("incoming/files");
        let (path, journal) = (files.join("deep/f"), folder.path().join("incoming/parts/j"));
        let prepare = || prepare(&path, &journal, 100, Some("digest".to_owned())).unwrap();
        let first = prepare().target.journal.unwrap();
        first.into_inner().unwrap().note(0, 100).unwrap();
        sharing::as_another_user(|| {
            assert!(prepare().there.is_empty());
            std::fs::rename(&files, folder.path().join("entry")).unwrap();
            std::fs::remove_dir_all(folder.path().join("entry")).unwrap();
        });
    }
}
