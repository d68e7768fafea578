//! How to reach an S3 store, read from the environment variables that every part of the product shares.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{RepositoryError, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Of the answer to an upload, besides the time for sending it.
const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(30);
/// A question (what is there, what a small file says) whose answer does not begin within this is asked again, as its
/// connection may hang alone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// One that is not answered within this, all attempts together, is not answered: the store hangs.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(20);
/// The slowest connection that an upload is given time for; one that moves nothing at all is given up after seconds, by
/// the SDK's protection against stalled streams.
const SLOWEST_UPLOAD_BYTES_PER_SECOND: u64 = 128 << 10;
/// Attempts of the SDK itself, for a connection that was reset; a store that is away is waited for above it.
const ATTEMPTS: u32 = 3;

/// Endpoint, credentials and trust of an object store.
#[derive(Clone)]
pub struct S3Settings {
    /// URL of the store; absent for AWS itself.
    pub endpoint: Option<String>,
    /// Region; `us-east-1` where the store has none.
    pub region: String,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    pub path_style: bool,
    /// Access key.
    pub access_key_id: String,
    /// Secret key.
    pub secret_access_key: String,
    /// Token of temporary credentials.
    pub session_token: Option<String>,
    /// PEM file with the only authorities to trust; absent for the system's.
    pub ca_bundle: Option<PathBuf>,
}

impl S3Settings {
    /// Reads `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL_S3`, `AWS_REGION`,
    /// `AIOPS_S3_PATH_STYLE` and `AWS_CA_BUNDLE`.
    pub fn from_environment() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// The same from any source of variables. An empty value counts as absent.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let value = |name: &str| {
            variable(name)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty())
        };
        let required = |name: &'static str| {
            value(name).ok_or(RepositoryError::InvalidSetting {
                variable: name,
                reason: "is not set; it comes from the Secret aiops-object-store".to_owned(),
            })
        };
        let endpoint = value("AWS_ENDPOINT_URL_S3");
        if let Some(endpoint) = &endpoint {
            let url = url::Url::parse(endpoint).ok().filter(|url| url.has_host());
            if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https")) {
                return Err(RepositoryError::InvalidSetting {
                    variable: "AWS_ENDPOINT_URL_S3",
                    reason: format!("\"{endpoint}\" is not a URL such as http://minio:9000"),
                });
            }
        }
        let path_style = match value("AIOPS_S3_PATH_STYLE").as_deref() {
            Some("true") => true,
            Some("false") => false,
            None => endpoint.is_some(),
            Some(other) => {
                return Err(RepositoryError::InvalidSetting {
                    variable: "AIOPS_S3_PATH_STYLE",
                    reason: format!("\"{other}\" is neither true nor false"),
                });
            }
        };
        Ok(Self {
            endpoint,
            region: value("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
            path_style,
            access_key_id: required("AWS_ACCESS_KEY_ID")?,
            secret_access_key: required("AWS_SECRET_ACCESS_KEY")?,
            session_token: value("AWS_SESSION_TOKEN"),
            ca_bundle: value("AWS_CA_BUNDLE").map(PathBuf::from),
        })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        let timeouts = timeouts(ANSWER_TIMEOUT).to_builder();
        self.client_with(timeouts.operation_timeout(QUESTION_TIMEOUT).build())
    }

    pub(crate) fn client_with(&self, timeouts: TimeoutConfig) -> Result<Client> {
        let trust = match &self.ca_bundle {
            None => TrustStore::default(),
            Some(path) => {
                let pem = std::fs::read(path).map_err(|error| RepositoryError::InvalidSetting {
                    variable: "AWS_CA_BUNDLE",
                    reason: format!(
                        "{} cannot be read ({error}); in a pod it is the key ca.crt of the Secret with the credentials",
                        path.display()
                    ),
                })?;
                TrustStore::empty().with_pem_certificate(pem)
            }
        };
        let invalid_bundle = |error: &dyn std::fmt::Display| RepositoryError::InvalidSetting {
            variable: "AWS_CA_BUNDLE",
            reason: error.to_string(),
        };
        let tls = TlsContext::builder()
            .with_trust_store(trust)
            .build()
            .map_err(|error| invalid_bundle(&error))?;
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .tls_context(tls)
            .build_https();
        let credentials = Credentials::new(
            &self.access_key_id,
            &self.secret_access_key,
            self.session_token.clone(),
            None,
            "environment",
        );
        let mut config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .credentials_provider(credentials)
            .region(Region::new(self.region.clone()))
            .force_path_style(self.path_style)
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            // Many S3-compatible stores do not know the newer checksum headers; manifests carry SHA-256 anyway.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if let Some(endpoint) = &self.endpoint {
            config = config.endpoint_url(endpoint);
        }
        Ok(Client::from_conf(config.build()))
    }
}

pub(crate) fn timeouts(first_byte: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(first_byte)
        .build()
}

/// Those of a call that sends so many bytes before the first byte of its answer can come.
pub(crate) fn upload_timeouts(size_bytes: u64) -> TimeoutConfig {
    let first_byte = FIRST_BYTE_TIMEOUT + Duration::from_secs(size_bytes / SLOWEST_UPLOAD_BYTES_PER_SECOND);
    timeouts(first_byte)
        .to_builder()
        .disable_operation_timeout()
        .build()
}

impl std::fmt::Debug for S3Settings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret key and the token stay out of logs.
        formatter
            .debug_struct("S3Settings")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("path_style", &self.path_style)
            .field("access_key_id", &self.access_key_id)
            .field("ca_bundle", &self.ca_bundle)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<S3Settings> {
        S3Settings::from_variables(|name| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "hidden")];

    #[test]
    fn an_own_endpoint_means_path_style_unless_told_otherwise() {
        let minio = [&KEYS[..], &[("AWS_ENDPOINT_URL_S3", "http://minio:9000")]].concat();
        assert!(settings(&minio).unwrap().path_style);
        assert!(
            !settings(&[&minio[..], &[("AIOPS_S3_PATH_STYLE", "false")]].concat())
                .unwrap()
                .path_style
        );
        let aws = settings(&[&KEYS[..], &[("AWS_ENDPOINT_URL_S3", "")]].concat()).unwrap();
        assert!(!aws.path_style);
        assert_eq!((aws.endpoint, aws.region.as_str()), (None, "us-east-1"));
    }

    #[test]
    fn wrong_variables_are_named() {
        for (variables, name) in [
            (vec![], "AWS_ACCESS_KEY_ID"),
            (vec![KEYS[0]], "AWS_SECRET_ACCESS_KEY"),
            (
                vec![KEYS[0], KEYS[1], ("AWS_ENDPOINT_URL_S3", "minio:9000")],
                "AWS_ENDPOINT_URL_S3",
            ),
            (
                vec![KEYS[0], KEYS[1], ("AIOPS_S3_PATH_STYLE", "yes")],
                "AIOPS_S3_PATH_STYLE",
            ),
        ] {
            assert!(
                settings(&variables).unwrap_err().to_string().contains(name),
                "{name}"
            );
        }
    }

    #[test]
    fn an_authority_that_is_not_there_is_named_with_where_it_comes_from() {
        let variables = [&KEYS[..], &[("AWS_CA_BUNDLE", "/nowhere/ca.crt")]].concat();
        let error = settings(&variables).unwrap().client().unwrap_err().to_string();
        for part in ["AWS_CA_BUNDLE", "/nowhere/ca.crt", "key ca.crt of the Secret"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        assert!(!format!("{:?}", settings(&KEYS).unwrap()).contains("hidden"));
    }
}
