//! A repository in an S3 bucket, AWS's own or a compatible one.

mod range;
pub(crate) mod settings;

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::{PutObjectError, PutObjectOutput};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::CreateBucketConfiguration;
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use super::{Creation, Entry, Moved, Replacement};
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
            Ok(answer) => {
                let content = answer
                    .body
                    .collect()
                    .await
                    .map_err(|error| self.broken(key, &error))?;
                Ok(Some(content.into_bytes()))
            }
            Err(RepositoryError::NotFound { what }) if what.starts_with("object") => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn download(&self, key: &str, to: &Path) -> Result<Moved> {
        let mut file = tokio::fs::File::create(to)
            .await
            .map_err(RepositoryError::io(to))?;
        let moved = self.stream(key, Some((&mut file, to))).await?;
        file.flush().await.map_err(RepositoryError::io(to))?;
        Ok(moved)
    }

    pub(crate) async fn inspect(&self, key: &str) -> Result<Moved> {
        self.stream(key, None).await
    }

    async fn stream(&self, key: &str, mut to: Option<(&mut tokio::fs::File, &Path)>) -> Result<Moved> {
        let answer = self.get(key).await?;
        let tag = answer.e_tag().unwrap_or_default().to_owned();
        let mut body = answer.body;
        let mut hasher = Hasher::default();
        let mut size_bytes = 0;
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(|error| self.broken(key, &error))?;
            hasher.update(&piece);
            size_bytes += piece.len() as u64;
            if let Some((file, path)) = &mut to {
                file.write_all(&piece).await.map_err(RepositoryError::io(*path))?;
            }
        }
        Ok(Moved {
            size_bytes,
            sha256: hasher.finish(),
            tag,
        })
    }

    pub(crate) async fn upload_new(&self, key: &str, from: &Path) -> Result<Creation> {
        match self.put(key, from, |put| put.if_none_match("*")).await? {
            Ok(_) => Ok(Creation::Created),
            Err(error) if status(&error) == Some(412) => Ok(Creation::Existed),
            Err(error) => Err(self.failure(key, &error)),
        }
    }

    pub(crate) async fn replace(&self, key: &str, from: &Path, tag: &str) -> Result<Replacement> {
        match self.put(key, from, |put| put.if_match(tag)).await? {
            Ok(answer) => Ok(Replacement::Replaced(
                answer.e_tag().unwrap_or_default().to_owned(),
            )),
            Err(error) if status(&error) == Some(412) => Ok(Replacement::Changed),
            Err(error) => match self.failure(key, &error) {
                RepositoryError::NotFound { what } if what.starts_with("object") => Ok(Replacement::Changed),
                error => Err(error),
            },
        }
    }

    /// Sends a file. The time it may take grows with its size: the client's read timeout counts the sending, too.
    async fn put(
        &self,
        key: &str,
        from: &Path,
        condition: impl FnOnce(PutObjectFluentBuilder) -> PutObjectFluentBuilder,
    ) -> Result<Result<PutObjectOutput, SdkError<PutObjectError>>> {
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
        let put = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .body(body);
        let timeouts = aws_sdk_s3::config::Builder::new().timeout_config(settings::upload_timeouts(size));
        Ok(condition(put).customize().config_override(timeouts).send().await)
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

    async fn get(&self, key: &str) -> Result<GetObjectOutput> {
        let sent = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .send()
            .await;
        sent.map_err(|error| self.failure(key, &error))
    }

    pub(crate) fn broken(&self, key: &str, error: &(dyn std::error::Error + 'static)) -> RepositoryError {
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
                feature: "conditional writes (If-None-Match, If-Match)",
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

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;

    /// Takes one PUT, so slowly that it lasts two seconds, and answers it.
    fn slow_store() -> String {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut buffer = vec![0; 4 << 20];
            let mut received = Vec::new();
            let mut wanted = usize::MAX;
            while received.len() < wanted {
                std::thread::sleep(Duration::from_millis(200));
                let count = connection.read(&mut buffer).unwrap();
                assert_ne!(count, 0, "the upload was given up");
                received.extend_from_slice(&buffer[..count]);
                if let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") {
                    let head = String::from_utf8_lossy(&received[..end]).to_lowercase();
                    let (_, length) = head.split_once("content-length: ").unwrap();
                    let length: usize = length.lines().next().unwrap().parse().unwrap();
                    wanted = end + 4 + length;
                }
            }
            std::thread::sleep(Duration::from_secs(1));
            connection
                .write_all(b"HTTP/1.1 200 OK\r\netag: \"x\"\r\ncontent-length: 0\r\n\r\n")
                .unwrap();
        });
        endpoint
    }

    #[tokio::test]
    async fn an_upload_may_take_longer_than_an_answer_to_a_question() {
        let settings = S3Settings {
            endpoint: Some(slow_store()),
            region: "us-east-1".into(),
            path_style: true,
            access_key_id: "user".into(),
            secret_access_key: "password".into(),
            session_token: None,
            ca_bundle: None,
        };
        let impatient = settings::timeouts(Duration::from_millis(500));
        let store = S3Store {
            client: settings.client_with(impatient).unwrap(),
            bucket: "models".into(),
            prefix: String::new(),
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![7; 8 << 20]).unwrap();
        let created = store.upload_new("m/1/model.onnx", file.path()).await.unwrap();
        assert_eq!(created, Creation::Created);
    }

    #[test]
    fn the_time_for_an_upload_grows_with_its_size() {
        let seconds = |size| settings::upload_timeouts(size).read_timeout().unwrap().as_secs();
        assert_eq!(seconds(0), 30);
        assert!(seconds(LARGEST_UPLOAD_BYTES) > 3600);
    }
}
