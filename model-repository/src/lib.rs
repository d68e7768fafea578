//! A model repository in NVIDIA Triton's layout, in an S3 bucket or in a folder.
//!
//! ```text
//! <model>/config.pbtxt             the newest version's configuration, for Triton
//! <model>/<version>/config.pbtxt   the configuration this version was published with
//! <model>/<version>/model.onnx
//! <model>/<version>/manifest.json  written last: a version that has one is complete and immutable
//! ```
//!
//! Repositories that Triton's users already have (no manifest, one configuration per model) are read as they are.
//! This crate knows files, digests and object stores; it does not know what a model means.

mod bucket;
mod cache;
mod cached;
mod digest;
mod disk;
mod download;
mod error;
mod fetch;
mod location;
mod manifest;
mod publish;
mod regular;
mod repository;
mod retry;
mod sharing;
mod store;

pub use bucket::create_bucket;
pub use cache::{Cache, Given, Lease};
pub use digest::{Digest, Hasher, hash_file};
pub use download::FetchSettings;
pub use error::{RepositoryError, Result};
pub use fetch::LocalVersion;
pub use location::Location;
pub use manifest::{
    CONFIG_FILE, FORMAT_VERSION, MANIFEST_FILE, Manifest, ManifestFile, Parity, Task, TensorSignature,
};
pub use publish::Published;
pub use repository::Repository;
pub use store::s3::settings::S3Settings;
