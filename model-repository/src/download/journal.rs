//! How much of each part of a file is on the disk: lines beside it, read by whoever goes on with it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// One line that says what the file is, then one for each piece that was written: the part, and the bytes of it that are there.
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Opens the journal in `path`. What it says counts only if it is about the same thing as `about`; else it
    /// begins anew.
    pub(super) fn open(path: &Path, about: &str) -> std::io::Result<(Self, BTreeMap<u64, u64>)> {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        let mut text = String::new();
        // What is not text was not written by us.
        let readable = file.read_to_string(&mut text).is_ok();
        if let Some(done) = readable.then(|| parts(&text, about)).flatten() {
            return Ok((Self { file }, done));
        }
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(format!("{about}\n").as_bytes())?;
        Ok((Self { file }, BTreeMap::new()))
    }

    /// Notes how many bytes of a part are written.
    pub(super) fn note(&mut self, part: u64, bytes: u64) -> std::io::Result<()> {
        // In one write: a process that dies leaves a whole line or none.
        self.file.write_all(format!("{part} {bytes}\n").as_bytes())
    }
}

fn parts(text: &str, about: &str) -> Option<BTreeMap<u64, u64>> {
    let (whole, rest) = text.rsplit_once('\n')?;
    let mut lines = whole.lines();
    if !rest.is_empty() || lines.next() != Some(about) {
        return None;
    }
    // Of several lines about a part the last one counts.
    lines
        .map(|line| {
            let (part, bytes) = line.split_once(' ')?;
            Some((part.parse().ok()?, bytes.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_counts_for_the_same_object_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let open = |about: &str| Journal::open(&path, about).unwrap();
        let (mut journal, done) = open("etag-1 100");
        assert!(done.is_empty());
        journal.note(3, 10).unwrap();
        journal.note(0, 5).unwrap();
        journal.note(3, 20).unwrap();
        let (mut journal, done) = open("etag-1 100");
        assert_eq!(done, BTreeMap::from([(0, 5), (3, 20)]));
        journal.note(7, 1).unwrap();
        assert_eq!(open("etag-1 100").1.len(), 3);
        assert!(open("etag-2 100").1.is_empty());
        assert!(open("etag-1 100").1.is_empty(), "the other object took its place");
        std::fs::write(&path, "etag-1 100\n1 5\n2 6").unwrap();
        assert!(open("etag-1 100").1.is_empty(), "half a line");
    }
}
