//! A repository in an S3 bucket, AWS's own or a compatible one.

pub(crate) mod settings;

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CreateBucketConfiguration;
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use super::{Creation, Entry, Moved};
use crate::digest::Hasher;
use crate::error::{RepositoryError, Result};
use settings::S3Settings;

/// One PUT carries at most this much; larger files would need a multipart upload, whose parts no condition guards.
const LARGEST_UPLOAD_BYTES: u64 = 5 << 30;

#[derive(Clone, Debug)]
pub(crate) struct S3Store {
    client: Client,
    bucket: String,
    prefix: String,
}

impl S3Store {
    pub(crate) fn new(settings: &S3Settings, bucket: String, prefix: String) -> Result<Self> {
        Ok(Self {
            client: settings.client()?,
            bucket,
            prefix,
        })
    }

    pub(crate) fn describe(&self, key: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.full_key(key))
    }

    fn full_key(&self, key: &str) -> String {
        match (self.prefix.as_str(), key) {
            ("", key) => key.to_owned(),
            (prefix, "") => prefix.to_owned(),
            (prefix, key) => format!("{prefix}/{key}"),
        }
    }

    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        let mut folder = self.full_key(prefix);
        if !folder.is_empty() {
            folder.push('/');
        }
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&folder)
            .delimiter("/")
            .into_paginator()
            .send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failure(prefix, &error))?;
            for common in page.common_prefixes() {
                let name = common
                    .prefix()
                    .and_then(|name| name.strip_prefix(&folder))
                    .unwrap_or_default();
                entries.push(Entry::Folder(name.trim_end_matches('/').to_owned()));
            }
            for object in page.contents() {
                let name = object
                    .key()
                    .and_then(|name| name.strip_prefix(&folder))
                    .unwrap_or_default();
                // The empty name is the marker object that some tools create for a folder.
                if !name.is_empty() {
                    entries.push(Entry::File(name.to_owned()));
                }
            }
        }
        Ok(entries)
    }

    pub(crate) async fn read(&self, key: &str) -> Result<Option<Bytes>> {
        match self.get(key).await {
            Ok(body) => {
                let content = body.collect().await.map_err(|error| self.broken(key, &error))?;
                Ok(Some(content.into_bytes()))
            }
            Err(RepositoryError::NotFound { what }) if what.starts_with("object") => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn download(&self, key: &str, to: &Path) -> Result<Moved> {
        let mut body = self.get(key).await?;
        let mut file = tokio::fs::File::create(to)
            .await
            .map_err(RepositoryError::io(to))?;
        let mut hasher = Hasher::default();
        let mut size_bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| self.broken(key, &error))?;
            hasher.update(&piece);
            size_bytes += piece.len() as u64;
            file.write_all(&piece).await.map_err(RepositoryError::io(to))?;
        }
        file.flush().await.map_err(RepositoryError::io(to))?;
        Ok(Moved {
            size_bytes,
            sha256: hasher.finish(),
        })
    }

    pub(crate) async fn upload(&self, key: &str, from: &Path) -> Result<()> {
        let size = tokio::fs::metadata(from)
            .await
            .map_err(RepositoryError::io(from))?
            .len();
        if size > LARGEST_UPLOAD_BYTES {
            return Err(RepositoryError::Unsupported {
                location: self.describe(key),
                feature: "files of more than 5 GiB in one write; split the model's external data",
            });
        }
        let body = ByteStream::from_path(from)
            .await
            .map_err(|error| RepositoryError::io(from)(std::io::Error::other(error)))?;
        self.client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .body(body)
            .send()
            .await
            .map_err(|error| self.failure(key, &error))?;
        Ok(())
    }

    pub(crate) async fn create(&self, key: &str, content: Bytes) -> Result<Creation> {
        let sent = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .if_none_match("*")
            .body(ByteStream::from(content))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(Creation::Created),
            Err(error) if status(&error) == Some(412) => Ok(Creation::Existed),
            Err(error) => Err(self.failure(key, &error)),
        }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<()> {
        let sent = self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .send()
            .await;
        match sent {
            Ok(_) => Ok(()),
            Err(error) => match self.failure(key, &error) {
                RepositoryError::NotFound { what } if what.starts_with("object") => Ok(()),
                error => Err(error),
            },
        }
    }

    /// Creates the bucket of this store where there is none.
    pub(crate) async fn ensure_bucket(&self, location: Option<CreateBucketConfiguration>) -> Result<()> {
        let found = self.client.head_bucket().bucket(&self.bucket).send().await;
        match found {
            Ok(_) => return Ok(()),
            Err(error) if status(&error) == Some(404) => {}
            Err(error) => return Err(self.failure("", &error)),
        }
        let request = self
            .client
            .create_bucket()
            .bucket(&self.bucket)
            .set_create_bucket_configuration(location);
        match request.send().await {
            Ok(_) => Ok(()),
            // Somebody was faster.
            Err(error) if status(&error) == Some(409) => Ok(()),
            Err(error) => Err(self.failure("", &error)),
        }
    }

    async fn get(&self, key: &str) -> Result<ByteStream> {
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .send()
            .await;
        Ok(sent.map_err(|error| self.failure(key, &error))?.body)
    }

    fn broken(&self, key: &str, error: &(dyn std::error::Error + 'static)) -> RepositoryError {
        RepositoryError::unreachable(self.describe(key), chain(error))
    }

    fn failure<E>(&self, key: &str, error: &SdkError<E>) -> RepositoryError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let location = self.describe(key);
        let Some(service) = error.as_service_error() else {
            return RepositoryError::unreachable(location, chain(error));
        };
        let status = status(error).unwrap_or_default();
        let code = service.code().unwrap_or_default();
        let reason = match (service.message(), code) {
            (Some(message), code) if !code.is_empty() => format!("{code}: {message}"),
            (_, "") => format!("HTTP status {status}"),
            (_, code) => code.to_owned(),
        };
        match (status, code) {
            (_, "NoSuchBucket") => RepositoryError::NotFound {
                what: format!("bucket {} (for {location})", self.bucket),
            },
            (404, _) => RepositoryError::NotFound {
                what: format!("object {location}"),
            },
            (401 | 403, _) => RepositoryError::AccessDenied { location, reason },
            (501, _) => RepositoryError::Unsupported {
                location,
                feature: "conditional writes (If-None-Match)",
            },
            // 409 is how S3 answers a conditional write that met another one under way.
            _ => RepositoryError::unreachable(location, reason),
        }
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// An error with its causes, as one line; repeated texts once.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
