//! Files that are read are regular ones: a FIFO has an end only when its writer closes it, a device perhaps never.

use std::fs::{File, FileType, OpenOptions};
use std::io::{Error, ErrorKind, Read as _, Result};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens a file for reading, and refuses what is not one.
pub(crate) fn open(path: &Path) -> Result<File> {
    check(path)?;
    let mut options = OpenOptions::new();
    // Should it have become a FIFO meanwhile, its opening would wait for a writer. To a regular file the flag means nothing.
    options.read(true).custom_flags(OFlags::NONBLOCK.bits() as i32);
    let file = options.open(path)?;
    refuse_others(file.metadata()?.file_type())?;
    Ok(file)
}

/// The whole of a small file.
pub(crate) async fn read(path: &Path) -> Result<Vec<u8>> {
    let path = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || {
        let mut content = Vec::new();
        open(&path)?.read_to_end(&mut content)?;
        Ok(content)
    });
    reading.await.unwrap_or_else(|panic| Err(Error::other(panic)))
}

/// Refuses what is there under the path and is no file.
pub(crate) fn check(path: &Path) -> Result<()> {
    // Before it is opened: a socket cannot be, and the system's reason for that helps nobody.
    refuse_others(std::fs::metadata(path)?.file_type())
}

fn refuse_others(kind: FileType) -> Result<()> {
    let what = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => return Err(Error::from(ErrorKind::IsADirectory)),
        kind if kind.is_fifo() => "a FIFO (named pipe)",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let message = format!("it is {what}, and only regular files can be read; remove it");
    Err(Error::new(ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_refused_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, what) in [
            (socket.as_path(), "a socket"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            let error = open(path).unwrap_err().to_string();
            assert!(error.contains(what) && error.contains("remove it"), "{error}");
        }
        assert_eq!(open(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        let link = folder.path().join("link");
        std::fs::write(folder.path().join("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        assert!(open(&link).is_ok(), "links lead to files in mounted volumes");
    }
}
