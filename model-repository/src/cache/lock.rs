//! Locks that processes share: `flock` on empty files, which the system gives back when a process dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{RepositoryError, Result};
use crate::sharing;

/// A lock is asked for again after so long: a call that waits in the kernel could not be given up.
const POLL_PERIOD: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Shared,
    Exclusive,
}

/// The lock, unless somebody holds it in a way that excludes this one.
pub(super) fn try_lock(path: &Path, kind: Kind) -> io::Result<Option<File>> {
    loop {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(path)?;
                continue;
            }
            opened => opened?,
        };
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

/// Makes the file unless somebody else does at this moment. It appears with its mode: another user would not get in before.
fn create(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let file = tempfile::NamedTempFile::new_in(folder)?;
    sharing::open_up(file.as_file(), path, sharing::WRITE)?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => Ok(()),
    }
}

/// Notes that what the lock guards is used. Without it only the order of removal is worse.
pub(super) fn touch(file: &File) {
    // Another user's file can be given the time of now, and no other.
    let now = rustix::fs::Timespec {
        tv_sec: 0,
        tv_nsec: rustix::fs::UTIME_NOW,
    };
    let times = rustix::fs::Timestamps {
        last_access: now,
        last_modification: now,
    };
    let _ = rustix::fs::futimens(file, &times);
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
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn users_who_may_write_to_the_folder_share_its_locks() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let path = folder.path().join("x.use");
        let first = try_lock(&path, Kind::Shared).unwrap().unwrap();
        assert_eq!(first.metadata().unwrap().mode() & 0o777, 0o666);
        first.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        sharing::as_another_user(|| {
            let second = try_lock(&path, Kind::Shared).unwrap().expect("shared by users");
            touch(&second);
            let touched = second.metadata().unwrap().modified().unwrap();
            assert!(touched.elapsed().unwrap() < Duration::from_secs(60));
            assert!(try_lock(&path, Kind::Exclusive).unwrap().is_none());
        });
    }

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
