//! Reading parts of objects, and what they are before they are read.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;

use super::{S3Store, settings, status};
use crate::error::{RepositoryError, Result};

/// What a listing says about an object.
#[derive(Clone, Debug)]
pub(crate) struct ObjectState {
    /// Key in the repository.
    pub(crate) key: String,
    pub(crate) size_bytes: u64,
    pub(crate) etag: String,
}

impl S3Store {
    /// Size and ETag of an object.
    pub(crate) async fn head(&self, key: &str) -> Result<(u64, Option<String>)> {
        let sent = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .send()
            .await;
        let answer = sent.map_err(|error| self.failure(key, &error))?;
        let size = answer.content_length().unwrap_or_default();
        Ok((
            u64::try_from(size).unwrap_or_default(),
            answer.e_tag().map(str::to_owned),
        ))
    }

    /// All objects below a folder, however deep, by their keys.
    pub(crate) async fn states(&self, folder: &str) -> Result<Vec<ObjectState>> {
        let prefix = format!("{}/", self.full_key(folder));
        let mut pages = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&prefix)
            .into_paginator()
            .send();
        let mut states = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failure(folder, &error))?;
            for object in page.contents() {
                let name = object.key().and_then(|key| key.strip_prefix(&prefix));
                // The marker objects that some tools create for folders end with a slash.
                let Some(name) = name.filter(|name| !name.is_empty() && !name.ends_with('/')) else {
                    continue;
                };
                states.push(ObjectState {
                    key: format!("{folder}/{name}"),
                    size_bytes: u64::try_from(object.size().unwrap_or_default()).unwrap_or_default(),
                    etag: object.e_tag().unwrap_or_default().to_owned(),
                });
            }
        }
        states.sort_by(|left, right| left.key.cmp(&right.key));
        Ok(states)
    }

    /// Bytes of an object that has `object_bytes` of them and, where it is known, this ETag. The caller asks again.
    pub(crate) async fn get_range(
        &self,
        key: &str,
        range: Range<u64>,
        object_bytes: u64,
        etag: Option<&str>,
        stall_timeout: Duration,
    ) -> Result<ByteStream> {
        let patience = aws_sdk_s3::config::Builder::new()
            .timeout_config(settings::timeouts(stall_timeout))
            .retry_config(RetryConfig::disabled());
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .range(format!("bytes={}-{}", range.start, range.end - 1))
            .set_if_match(etag.map(str::to_owned))
            .customize()
            .config_override(patience)
            .send()
            .await;
        let answer = match sent {
            Ok(answer) => answer,
            Err(error) if status(&error) == Some(412) => {
                return Err(RepositoryError::Replaced {
                    what: format!("object {}", self.describe(key)),
                });
            }
            // It ends before the range begins.
            Err(error) if status(&error) == Some(416) => {
                let (size, _) = self.head(key).await?;
                return Err(self.wrong_size(key, object_bytes, size));
            }
            Err(error) => return Err(self.failure(key, &error)),
        };
        let told = answer.content_range().unwrap_or_default().to_owned();
        let size = told.rsplit_once('/').and_then(|(_, size)| size.parse().ok());
        match size {
            Some(size) if size != object_bytes => Err(self.wrong_size(key, object_bytes, size)),
            _ if told.starts_with(&format!("bytes {}-", range.start)) => Ok(answer.body),
            _ => Err(RepositoryError::Unsupported {
                location: self.describe(key),
                feature: "reading a part of an object (Range)",
            }),
        }
    }

    pub(crate) fn wrong_size(&self, key: &str, expected: u64, actual: u64) -> RepositoryError {
        RepositoryError::DigestMismatch {
            what: self.describe(key),
            expected: format!("that of {expected} bytes"),
            actual: format!("that of {actual} bytes"),
        }
    }
}
