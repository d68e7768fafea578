//! What can go wrong with a repository, in words that name the object and say what to do.

use std::path::PathBuf;

/// Result of a repository operation.
pub type Result<T, E = RepositoryError> = std::result::Result<T, E>;

/// Why a repository operation did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The store did not answer, or answered that it cannot serve now. Trying again later may help.
    #[error("{location} cannot be reached: {reason}")]
    Unreachable {
        /// Bucket and key, or path.
        location: String,
        /// What the network or the store said.
        reason: String,
    },
    /// The store refused the credentials.
    #[error(
        "access to {location} is denied: {reason}; check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the bucket's policy"
    )]
    AccessDenied {
        /// Bucket and key.
        location: String,
        /// What the store said.
        reason: String,
    },
    /// A bucket, model, version or file that is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// The missing thing, with its full name.
        what: String,
    },
    /// A complete version holds other bytes than the ones to publish.
    #[error(
        "version {version} of model {model} is already published with digest {published}, which differs from {offered}; \
         a published version never changes, so publish under a new version number"
    )]
    VersionConflict {
        /// Model name.
        model: String,
        /// Version number.
        version: u64,
        /// Digest in the repository.
        published: String,
        /// Digest of the bytes that were offered.
        offered: String,
    },
    /// The bytes are not those that were promised.
    #[error("{what} has digest {actual}, expected {expected}; it was damaged or replaced, publish it again")]
    DigestMismatch {
        /// File or version.
        what: String,
        /// Digest that a manifest or a caller promised.
        expected: String,
        /// Digest that was computed.
        actual: String,
    },
    /// A repository URI that cannot be understood.
    #[error("repository \"{uri}\" is not valid: {reason}")]
    InvalidLocation {
        /// The text as given.
        uri: String,
        /// What is wrong with it, and the forms that are accepted.
        reason: String,
    },
    /// A variable of the environment that is missing or wrong.
    #[error("environment variable {variable}: {reason}")]
    InvalidSetting {
        /// Name of the variable.
        variable: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
    /// A manifest that is not JSON of the known format, or contradicts itself.
    #[error("manifest {location}: {reason}")]
    InvalidManifest {
        /// Where the manifest lies.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A model or file name that would lead out of the repository.
    #[error("{what} \"{name}\" is not valid: {reason}")]
    InvalidName {
        /// `model name` or `file name`.
        what: &'static str,
        /// The name as given.
        name: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The store lacks something this crate needs.
    #[error("{location}: the object store does not support {feature}")]
    Unsupported {
        /// Bucket and key.
        location: String,
        /// For example `conditional writes (If-None-Match)`.
        feature: &'static str,
    },
    /// An object became another one while it was fetched.
    #[error("{what} was replaced while it was fetched; what there was of it is thrown away")]
    Replaced {
        /// The object, with its full name.
        what: String,
    },
    /// The disk has no room for what is to be fetched.
    #[error(
        "folder {} has no room for what is fetched ({reason}): {needed} bytes are needed and {free} are free; \
         give it more room, or have a larger folder for --model-cache",
        folder.display()
    )]
    DiskFull {
        /// The folder.
        folder: PathBuf,
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are free.
        free: u64,
        /// The system's reason.
        reason: String,
    },
    /// The local file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

impl RepositoryError {
    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Replaced { .. })
    }

    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
