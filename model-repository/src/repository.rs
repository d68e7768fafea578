//! Models and versions of a repository.

use std::time::Duration;

use bytes::Bytes;

use crate::digest::Digest;
use crate::download::{FetchSettings, Fetching};
use crate::error::{RepositoryError, Result};
use crate::location::Location;
use crate::manifest::{CONFIG_FILE, MANIFEST_FILE, Manifest, check_model_name};
use crate::retry::with_patience;
use crate::store::folder::FolderStore;
use crate::store::s3::{S3Store, settings::S3Settings};
use crate::store::{Entry, Store};

/// A model repository. Cloning is cheap and shares connections.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) location: Location,
    pub(crate) store: Store,
    pub(crate) patience: Duration,
    pub(crate) fetching: Fetching,
}

impl Repository {
    /// Opens a repository; for S3 with the settings of the environment. Nothing is read yet.
    pub fn open(location: Location) -> Result<Self> {
        let settings = match &location {
            Location::S3 { .. } => Some(S3Settings::from_environment()?),
            Location::Folder(_) => None,
        };
        Self::open_with(location, settings.as_ref())
    }

    /// Opens a repository with the given settings, which a folder does not need.
    pub fn open_with(location: Location, settings: Option<&S3Settings>) -> Result<Self> {
        let store = match (&location, settings) {
            (Location::Folder(path), _) => Store::Folder(FolderStore::new(path.clone())),
            (
                Location::S3 {
                    endpoint,
                    bucket,
                    prefix,
                },
                Some(settings),
            ) => {
                let mut settings = settings.clone();
                if endpoint.is_some() {
                    settings.endpoint.clone_from(endpoint);
                    settings.path_style = true;
                }
                Store::S3(S3Store::new(&settings, bucket.clone(), prefix.clone())?)
            }
            (Location::S3 { .. }, None) => {
                return Err(RepositoryError::InvalidLocation {
                    uri: location.to_string(),
                    reason: "a repository on S3 needs credentials".to_owned(),
                });
            }
        };
        Ok(Self {
            location,
            store,
            patience: Duration::ZERO,
            fetching: Fetching::new(FetchSettings::default()),
        })
    }

    /// How long an operation waits for a store that is away before it gives up; not at all unless set.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Fetches files in another way than by default.
    #[must_use]
    pub fn with_fetch_settings(mut self, settings: FetchSettings) -> Self {
        self.fetching = Fetching::new(settings);
        self
    }

    /// Where this repository is.
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// Names of all models, sorted: folders that hold at least one version folder.
    pub async fn models(&self) -> Result<Vec<String>> {
        let mut models = Vec::new();
        for entry in self.list("").await? {
            if let Entry::Folder(model) = entry
                && !self.version_folders(&model).await?.is_empty()
            {
                models.push(model);
            }
        }
        Ok(models)
    }

    /// Version numbers of a model that can be fetched, ascending. One that is still being published is left out.
    pub async fn versions(&self, model: &str) -> Result<Vec<u64>> {
        check_model_name(model)?;
        let mut versions = Vec::new();
        for version in self.version_folders(model).await? {
            let names = self.list(&format!("{model}/{version}")).await?;
            let has = |name: &str| names.contains(&Entry::File(name.to_owned()));
            // A publisher writes the configuration first and the manifest last; Triton's own repositories have neither.
            if has(MANIFEST_FILE) || !has(CONFIG_FILE) {
                versions.push(version);
            }
        }
        Ok(versions)
    }

    /// The manifest of a version; nothing for a version without one.
    pub async fn manifest(&self, model: &str, version: u64) -> Result<Option<Manifest>> {
        check_model_name(model)?;
        let key = format!("{model}/{version}/{MANIFEST_FILE}");
        let Some(bytes) = self.read(&key).await? else {
            return Ok(None);
        };
        let manifest = Manifest::parse(&bytes, &self.store.describe(&key))?;
        if manifest.model != model || manifest.version != version {
            return Err(RepositoryError::InvalidManifest {
                location: self.store.describe(&key),
                reason: format!(
                    "it is that of version {} of model {}",
                    manifest.version, manifest.model
                ),
            });
        }
        Ok(Some(manifest))
    }

    /// The text of the configuration that applies to a version: its own, else its model's, else nothing.
    pub async fn config(&self, model: &str, version: u64) -> Result<Option<String>> {
        check_model_name(model)?;
        for key in [
            format!("{model}/{version}/{CONFIG_FILE}"),
            format!("{model}/{CONFIG_FILE}"),
        ] {
            if let Some(bytes) = self.read(&key).await? {
                let text = String::from_utf8(bytes.into()).map_err(|_| RepositoryError::InvalidManifest {
                    location: self.store.describe(&key),
                    reason: "it is not UTF-8 text".to_owned(),
                })?;
                return Ok(Some(text));
            }
        }
        Ok(None)
    }

    /// A file that all versions of a model share, as Triton's label files are; nothing when it is not there.
    pub async fn model_file(&self, model: &str, name: &str) -> Result<Option<Bytes>> {
        check_model_name(model)?;
        crate::manifest::check_file_path(name)?;
        self.read(&format!("{model}/{name}")).await
    }

    /// Copies one file of the repository into a new local file; answers its SHA-256.
    pub async fn fetch_file(&self, path: &str, to: &std::path::Path) -> Result<String> {
        crate::manifest::check_file_path(path)?;
        let moved = with_patience(self.patience, || self.store.download(path, to)).await?;
        Ok(moved.sha256)
    }

    /// Removes a version. The manifest goes first, so that a half-removed version is not complete. Removing what is not
    /// there succeeds. With its last version a model's own configuration goes too.
    pub async fn delete_version(&self, model: &str, version: u64) -> Result<()> {
        check_model_name(model)?;
        let folder = format!("{model}/{version}");
        self.delete(&format!("{folder}/{MANIFEST_FILE}")).await?;
        for key in with_patience(self.patience, || self.store.list_files(&folder)).await? {
            self.delete(&key).await?;
        }
        if self.version_folders(model).await?.is_empty() {
            self.delete(&format!("{model}/{CONFIG_FILE}")).await?;
        }
        Ok(())
    }

    /// The digest of a complete version; nothing when the version has no manifest.
    pub async fn digest(&self, model: &str, version: u64) -> Result<Option<Digest>> {
        Ok(self
            .manifest(model, version)
            .await?
            .map(|manifest| manifest.digest))
    }

    async fn version_folders(&self, model: &str) -> Result<Vec<u64>> {
        let entries = self.list(model).await?;
        let mut versions: Vec<u64> = entries
            .iter()
            .filter_map(|entry| match entry {
                // As Triton does: a folder that is no positive number without leading zeros is no version.
                Entry::Folder(name) => name
                    .parse()
                    .ok()
                    .filter(|number: &u64| *number > 0 && number.to_string() == *name),
                Entry::File(_) => None,
            })
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        with_patience(self.patience, || self.store.list(prefix)).await
    }

    pub(crate) async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        with_patience(self.patience, || self.store.read(key)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        with_patience(self.patience, || self.store.delete(key)).await
    }
}
