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
        if let Some(expected) = etag {
            self.check_etag(key, expected, answer.e_tag())?;
        }
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

    /// Not every store heeds `If-Match`, and parts of two objects would make one that never was.
    fn check_etag(&self, key: &str, expected: &str, answered: Option<&str>) -> Result<()> {
        // Gateways add the weakness, and some stores quote only here.
        let bare = |etag: &str| etag.trim_start_matches("W/").trim_matches('"').to_owned();
        match answered.map(bare) {
            _ if expected.is_empty() => Ok(()),
            Some(answered) if answered == bare(expected) => Ok(()),
            Some(_) => Err(RepositoryError::Replaced {
                what: format!("object {}", self.describe(key)),
            }),
            None => Err(RepositoryError::Unsupported {
                location: self.describe(key),
                feature: "the ETag of an object in the answer with a part of it",
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio::time::Instant;

    use super::*;
    use crate::store::s3::settings::S3Settings;

    fn store(endpoint: String) -> S3Store {
        let settings = S3Settings {
            endpoint: Some(endpoint),
            region: "us-east-1".into(),
            path_style: true,
            access_key_id: "user".into(),
            secret_access_key: "password".into(),
            session_token: None,
            ca_bundle: None,
        };
        S3Store::new(&settings, "models".into(), String::new()).unwrap()
    }

    /// Answers every question with three bytes of an object with these headers, whatever was asked for.
    fn deaf_store(headers: &'static str) -> S3Store {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            while let Ok((mut connection, _)) = listener.accept() {
                let _ = connection.read(&mut [0; 8192]);
                let answer = format!(
                    "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes 0-2/9\r\ncontent-length: 3\r\n{headers}\r\nabc"
                );
                let _ = connection.write_all(answer.as_bytes());
            }
        });
        store(endpoint)
    }

    #[tokio::test]
    async fn a_part_of_another_object_is_refused_though_the_store_ignores_the_condition() {
        let stall = Duration::from_secs(10);
        for (headers, is_accepted, error) in [
            ("etag: \"new\"\r\n", false, "was replaced while it was fetched"),
            ("", false, "does not support the ETag"),
            ("etag: \"old\"\r\n", true, ""),
            ("etag: W/\"old\"\r\n", true, ""),
        ] {
            let store = deaf_store(headers);
            let answer = store.get_range("m/1/f", 0..3, 9, Some("\"old\""), stall).await;
            match answer {
                Ok(_) => assert!(is_accepted, "{headers}"),
                Err(refusal) => {
                    let refusal = refusal.to_string();
                    assert!(!is_accepted && refusal.contains(error), "{headers}: {refusal}");
                    assert!(refusal.contains("s3://models/m/1/f"), "{refusal}");
                }
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_hangs_is_told_of_within_20_seconds() {
        // Connections are taken by the system, and nobody ever reads them.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let store = store(format!("http://{}", listener.local_addr().unwrap()));
        let start = Instant::now();
        for error in [
            store.list("m").await.unwrap_err(),
            store.read("m/config.pbtxt").await.unwrap_err(),
            store.states("m/1").await.unwrap_err(),
            store.head("m/1/f").await.unwrap_err(),
        ] {
            assert!(error.is_transient(), "{error}");
            assert!(error.to_string().contains("s3://models/m"), "{error}");
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(4 * 21), "{took:?}");
    }
}
