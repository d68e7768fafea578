//! Who may use what is made in the cache: those who may use the folder that it is made in. The process' umask would take that
//! back, and servers that share a folder need not run as the same user.

use std::fs::{File, Metadata, Permissions};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Of a folder. Not the sticky bit: it would keep the others from cleaning up.
const FOLDER_MODE: u32 = 0o2777;
/// Of a file that whoever finds it only reads.
pub(crate) const READ: u32 = 0o644;
/// Of a file that all of them write.
pub(crate) const WRITE: u32 = 0o666;

/// Makes a folder and those above it that are missing, each as open to others as the one that it is made in.
pub(crate) fn create_folders(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        _ if path.is_dir() => return Ok(()),
        None => return std::fs::create_dir(path),
        Some(parent) => parent,
    };
    create_folders(parent)?;
    match std::fs::create_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => {
            let mode = std::fs::metadata(parent)?.mode() & FOLDER_MODE | 0o700;
            std::fs::set_permissions(path, Permissions::from_mode(mode))
        }
    }
}

/// Makes a file as open to others as its folder, within `most`.
pub(crate) fn open_up(file: &File, path: &Path, most: u32) -> Result<()> {
    let folder = path.parent().map_or(0, |folder| {
        std::fs::metadata(folder).as_ref().map_or(0, Metadata::mode)
    });
    let (wanted, found) = (folder & most | 0o600, file.metadata()?);
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    if is_ours && found.mode() & 0o777 != wanted {
        file.set_permissions(Permissions::from_mode(wanted))?;
    }
    Ok(())
}

/// Runs a closure as a user who is not the one of this process; nothing where this process may not do so.
#[cfg(test)]
pub(crate) fn as_another_user<T: Send>(work: impl FnOnce() -> T + Send) -> Option<T> {
    const NOBODY: u32 = 65534;
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // The user of one thread, which ends with it.
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            rustix::thread::set_thread_uid(rustix::process::Uid::from_raw(NOBODY)).unwrap();
            work()
        });
        Some(working.join().unwrap())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_in(mode: u32) -> [u32; 3] {
        let root = tempfile::tempdir().unwrap();
        std::fs::set_permissions(root.path(), Permissions::from_mode(mode)).unwrap();
        let folder = root.path().join("a/b");
        create_folders(&folder).unwrap();
        let made = |name: &str, most: u32| {
            let path = folder.join(name);
            let file = File::create(&path).unwrap();
            open_up(&file, &path, most).unwrap();
            file.metadata().unwrap().mode() & 0o7777
        };
        let files = [made("read", READ), made("written", WRITE)];
        [
            std::fs::metadata(&folder).unwrap().mode() & 0o7777,
            files[0],
            files[1],
        ]
    }

    #[test]
    fn what_is_made_is_as_open_as_the_folder_that_it_is_made_in() {
        assert_eq!(made_in(0o700), [0o700, 0o600, 0o600]);
        assert_eq!(made_in(0o755), [0o755, 0o644, 0o644]);
        assert_eq!(made_in(0o2770), [0o2770, 0o640, 0o660]);
        assert_eq!(made_in(0o1777), [0o777, 0o644, 0o666]);
    }
}
