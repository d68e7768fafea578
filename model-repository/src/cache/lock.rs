//! Locks that processes share: `flock` on empty files, which the system gives back when a process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{RepositoryError, Result};

/// A lock is asked for again after so long: a call that waits in the kernel could not be given up.
const POLL_PERIOD: Duration = Duration::from_millis(50);
/// Pods that share a folder need not run as the same user.
const MODE: u32 = 0o666;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Shared,
    Exclusive,
}

/// The lock, unless somebody holds it in a way that excludes this one.
pub(super) fn try_lock(path: &Path, kind: Kind) -> io::Result<Option<File>> {
    loop {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(MODE)
            .open(path)?;
        let locked = match kind {
            Kind::Shared => file.try_lock_shared(),
            Kind::Exclusive => file.try_lock(),
        };
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Whoever cleans removes lock files, too: one that went between the opening and the locking guards nothing.
        if is_at(path, &file)? {
            return Ok(Some(file));
        }
    }
}

fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let held = file.metadata()?;
    match std::fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Waits for the lock for as long as the caller does.
pub(super) async fn lock(path: PathBuf, kind: Kind) -> Result<File> {
    loop {
        let asked = path.clone();
        let locked = tokio::task::spawn_blocking(move || try_lock(&asked, kind)).await;
        let locked = locked.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        if let Some(file) = locked.map_err(RepositoryError::io(&path))? {
            return Ok(file);
        }
        tokio::time::sleep(POLL_PERIOD).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_was_removed_is_not_taken_for_the_one_that_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.use");
        let first = try_lock(&path, Kind::Exclusive).unwrap().unwrap();
        assert!(try_lock(&path, Kind::Shared).unwrap().is_none());
        std::fs::remove_file(&path).unwrap();
        let second = try_lock(&path, Kind::Shared).unwrap().unwrap();
        assert!(is_at(&path, &second).unwrap() && !is_at(&path, &first).unwrap());
        assert!(try_lock(&path, Kind::Shared).unwrap().is_some(), "shared by many");
        assert!(try_lock(&path, Kind::Exclusive).unwrap().is_none());
    }
}
