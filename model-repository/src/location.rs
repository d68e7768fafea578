//! Where a repository is: `s3://bucket/prefix`, Triton's forms with an endpoint in them, or a folder.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::error::RepositoryError;

const FORMS: &str =
    "use s3://bucket/prefix, s3://host:port/bucket/prefix, s3://https://host:port/bucket/prefix or a folder";

/// A parsed repository URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A prefix in an S3 bucket.
    S3 {
        /// Endpoint named in the URI itself, as Triton allows; it wins over the environment's.
        endpoint: Option<String>,
        /// Bucket.
        bucket: String,
        /// Key prefix without slashes at its ends; may be empty.
        prefix: String,
    },
    /// A folder of this machine.
    Folder(PathBuf),
}

impl FromStr for Location {
    type Err = RepositoryError;

    fn from_str(uri: &str) -> Result<Self, RepositoryError> {
        let invalid = |reason: &str| RepositoryError::InvalidLocation {
            uri: uri.to_owned(),
            reason: format!("{reason}; {FORMS}"),
        };
        let Some(rest) = uri.strip_prefix("s3://") else {
            return match uri.split_once("://") {
                Some(("file", path)) if path.starts_with('/') => Ok(Self::Folder(path.into())),
                Some((scheme, _)) => Err(invalid(&format!("{scheme}:// is not supported"))),
                None if uri.is_empty() => Err(invalid("it is empty")),
                None => Ok(Self::Folder(uri.into())),
            };
        };
        let (scheme, rest) = match rest.split_once("://") {
            Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
            Some((scheme, _)) => {
                return Err(invalid(&format!("endpoint scheme {scheme} is not http or https")));
            }
            None => (None, rest),
        };
        let (first, after) = rest.split_once('/').unwrap_or((rest, ""));
        // Triton's rule: a colon in the first part makes it host:port, and plain HTTP unless https:// is written.
        let (endpoint, path) = if scheme.is_some() || first.contains(':') {
            let endpoint = format!("{}://{first}", scheme.unwrap_or("http"));
            if url::Url::parse(&endpoint)
                .ok()
                .filter(url::Url::has_host)
                .is_none()
            {
                return Err(invalid(&format!("endpoint {endpoint} is not a URL")));
            }
            (Some(endpoint), after)
        } else {
            (None, rest)
        };
        let (bucket, prefix) = path.split_once('/').unwrap_or((path, ""));
        if bucket.is_empty() {
            return Err(invalid("it names no bucket"));
        }
        let prefix = prefix
            .split('/')
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join("/");
        Ok(Self::S3 {
            endpoint,
            bucket: bucket.to_owned(),
            prefix,
        })
    }
}

impl Location {
    /// Splits the location of a file into that of its folder and its name.
    pub fn split_file(&self) -> Option<(Self, String)> {
        match self {
            Self::S3 {
                endpoint,
                bucket,
                prefix,
            } => {
                let (folder, name) = prefix.rsplit_once('/').unwrap_or(("", prefix));
                let folder = Self::S3 {
                    endpoint: endpoint.clone(),
                    bucket: bucket.clone(),
                    prefix: folder.to_owned(),
                };
                (!name.is_empty()).then(|| (folder, name.to_owned()))
            }
            Self::Folder(path) => {
                let name = path.file_name()?.to_str()?.to_owned();
                let folder = path.parent()?;
                let folder = if folder.as_os_str().is_empty() {
                    PathBuf::from(".")
                } else {
                    folder.to_owned()
                };
                Some((Self::Folder(folder), name))
            }
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 {
                endpoint,
                bucket,
                prefix,
            } => {
                formatter.write_str("s3://")?;
                if let Some(endpoint) = endpoint {
                    write!(formatter, "{endpoint}/")?;
                }
                formatter.write_str(bucket)?;
                if prefix.is_empty() {
                    Ok(())
                } else {
                    write!(formatter, "/{prefix}")
                }
            }
            Self::Folder(path) => write!(formatter, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(endpoint: Option<&str>, bucket: &str, prefix: &str) -> Location {
        Location::S3 {
            endpoint: endpoint.map(str::to_owned),
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        }
    }

    #[test]
    fn every_form_of_triton_is_understood() {
        let cases = [
            ("s3://models", s3(None, "models", "")),
            ("s3://models/team-a", s3(None, "models", "team-a")),
            ("s3://models//team-a/deep/", s3(None, "models", "team-a/deep")),
            (
                "s3://minio:9000/models/team-a",
                s3(Some("http://minio:9000"), "models", "team-a"),
            ),
            (
                "s3://https://minio:9000/models/a",
                s3(Some("https://minio:9000"), "models", "a"),
            ),
            ("s3://http://minio/models", s3(Some("http://minio"), "models", "")),
            ("/srv/models", Location::Folder("/srv/models".into())),
            ("models", Location::Folder("models".into())),
            ("file:///srv/models", Location::Folder("/srv/models".into())),
        ];
        for (uri, expected) in cases {
            assert_eq!(uri.parse::<Location>().unwrap(), expected, "{uri}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_with_the_accepted_forms() {
        for uri in [
            "",
            "gs://bucket",
            "s3://",
            "s3:///x",
            "s3://ftp://h/b",
            "s3://minio:9000",
            "s3://minio:9000/",
            "s3://:x:/b",
        ] {
            let error = uri.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains("use s3://bucket/prefix"), "{uri}: {error}");
        }
    }

    #[test]
    fn a_file_is_split_into_folder_and_name() {
        let (folder, name) = "s3://b/x/y/model.onnx"
            .parse::<Location>()
            .unwrap()
            .split_file()
            .unwrap();
        assert_eq!((folder, name.as_str()), (s3(None, "b", "x/y"), "model.onnx"));
        let (folder, name) = "model.onnx".parse::<Location>().unwrap().split_file().unwrap();
        assert_eq!(
            (folder, name.as_str()),
            (Location::Folder(".".into()), "model.onnx")
        );
        assert!("s3://b".parse::<Location>().unwrap().split_file().is_none());
    }
}
