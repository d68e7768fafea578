//! Room on the disk: asked for before it is needed, and named when there is none.

use std::fs::File;
use std::io::{Error, ErrorKind};
use std::path::Path;

use rustix::fs::FallocateFlags;

use crate::error::{RepositoryError, Result};

/// Bytes that this process may still write below a folder; nothing where the system does not say.
pub(crate) fn free_bytes(folder: &Path) -> Option<u64> {
    let told = rustix::fs::statvfs(folder).ok()?;
    // Some network file systems say nothing about their size.
    (told.f_blocks > 0).then(|| told.f_bavail.saturating_mul(told.f_frsize))
}

/// Gives a file its size and, where the file system can, its blocks.
pub(crate) fn preallocate(file: &File, size: u64) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        Err(error) => Err(error.into()),
    }
}

/// An error of the file system; where it means that there is no room, in those words.
pub(crate) fn full_or_io(path: &Path, needed: u64, error: Error) -> RepositoryError {
    let is_full = matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    );
    if !is_full {
        return RepositoryError::io(path)(error);
    }
    let folder = path.parent().unwrap_or(path);
    let free = free_bytes(folder);
    full(folder, needed, free, &error.to_string())
}

/// Refuses what will not fit.
pub(crate) fn check(folder: &Path, needed: u64, free: Option<u64>) -> Result<()> {
    match free {
        Some(bytes) if bytes < needed => Err(full(folder, needed, free, "there is too little room")),
        _ => Ok(()),
    }
}

fn full(folder: &Path, needed: u64, free: Option<u64>, reason: &str) -> RepositoryError {
    RepositoryError::DiskFull {
        folder: folder.to_owned(),
        needed,
        free: free.unwrap_or_default(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_the_numbers() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(folder.path());
        assert!(free.is_some_and(|free| free > 0));
        check(folder.path(), 1, free).unwrap();
        let error = check(folder.path(), 1 << 60, free).unwrap_err().to_string();
        for part in [
            &folder.path().display().to_string(),
            &(1_u64 << 60).to_string(),
            "are free",
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
