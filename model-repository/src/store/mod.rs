//! Objects by key, in a bucket or in a folder: the few operations that a repository needs, with one meaning in both.

pub(crate) mod folder;
pub(crate) mod s3;

use std::path::Path;

use bytes::Bytes;

use crate::error::Result;
use folder::FolderStore;
use s3::S3Store;

/// A name directly under a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Entry {
    Folder(String),
    File(String),
}

/// What a conditional write found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    Created,
    /// The key exists; nothing was written.
    Existed,
}

/// What a write found that was meant for one state of an object only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Replacement {
    /// The object is replaced; its tag from now on.
    Replaced(String),
    /// It is not what it was any more; nothing was written.
    Changed,
}

/// Size and SHA-256 (hexadecimal) of bytes that were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) size_bytes: u64,
    pub(crate) sha256: String,
    /// Names this state of the object for `replace`.
    pub(crate) tag: String,
}

/// Where objects are. Keys are relative to the repository, with `/` between their parts.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    S3(S3Store),
    Folder(FolderStore),
}

impl Store {
    /// The full name of a key, for messages.
    pub(crate) fn describe(&self, key: &str) -> String {
        match self {
            Self::S3(store) => store.describe(key),
            Self::Folder(store) => store.path(key).display().to_string(),
        }
    }

    /// Names directly under the folder `prefix` (empty for the root), sorted. A folder that is not there is empty.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let mut entries = match self {
            Self::S3(store) => store.list(prefix).await?,
            Self::Folder(store) => store.list(prefix).await?,
        };
        entries.sort();
        Ok(entries)
    }

    /// Keys of all files under the folder `prefix`, however deep, sorted.
    pub(crate) async fn list_files(&self, prefix: &str) -> Result<Vec<String>> {
        let mut files = Vec::new();
        let mut folders = vec![prefix.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in self.list(&folder).await? {
                match entry {
                    Entry::Folder(name) => folders.push(format!("{folder}/{name}")),
                    Entry::File(name) => files.push(format!("{folder}/{name}")),
                }
            }
        }
        files.sort();
        Ok(files)
    }

    /// The whole of a small object, or nothing when it is not there.
    pub(crate) async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        match self {
            Self::S3(store) => store.read(key).await,
            Self::Folder(store) => store.read(key).await,
        }
    }

    /// Streams an object into a new local file.
    pub(crate) async fn download(&self, key: &str, to: &Path) -> Result<Moved> {
        match self {
            Self::S3(store) => store.download(key, to).await,
            Self::Folder(store) => store.download(key, to).await,
        }
    }

    /// Streams an object and keeps nothing but what identifies it.
    pub(crate) async fn inspect(&self, key: &str) -> Result<Moved> {
        match self {
            Self::S3(store) => store.inspect(key).await,
            Self::Folder(store) => store.inspect(key).await,
        }
    }

    /// Streams a local file into an object unless the key exists. Of two callers at the same time one creates.
    pub(crate) async fn upload_new(&self, key: &str, from: &Path) -> Result<Creation> {
        match self {
            Self::S3(store) => store.upload_new(key, from).await,
            Self::Folder(store) => store.upload_new(key, from).await,
        }
    }

    /// Streams a local file into an object that still is what `tag` names.
    pub(crate) async fn replace(&self, key: &str, from: &Path, tag: &str) -> Result<Replacement> {
        match self {
            Self::S3(store) => store.replace(key, from, tag).await,
            Self::Folder(store) => store.replace(key, from, tag).await,
        }
    }

    /// Streams a local file into an object, replacing what is there.
    /// Writes a small object unless the key exists. Of two callers at the same time one creates.
    pub(crate) async fn create(&self, key: &str, content: Bytes) -> Result<Creation> {
        match self {
            Self::S3(store) => store.create(key, content).await,
            Self::Folder(store) => store.create(key, content).await,
        }
    }

    /// Removes an object; one that is not there is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        match self {
            Self::S3(store) => store.delete(key).await,
            Self::Folder(store) => store.delete(key).await,
        }
    }
}
