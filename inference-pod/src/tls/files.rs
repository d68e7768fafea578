//! The files of a certificate, and what may be wrong with them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Where a front's certificate is, by the flags that begin with its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The front.
    pub front: &'static str,
    /// `--<front>-server-cert`.
    pub certificate: PathBuf,
    /// `--<front>-server-key`.
    pub key: PathBuf,
    /// `--<front>-root-cert`, where clients have to show a certificate.
    pub client_authorities: Option<PathBuf>,
}

/// Why files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there, or not for this process.
    #[error("--{flag}: {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The flag that names the file.
        flag: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file holds something else.
    #[error("--{flag}: {} holds no {what} in PEM form (-----BEGIN …-----)", path.display())]
    Empty {
        /// The flag that names the file.
        flag: String,
        /// The file.
        path: PathBuf,
        /// What is looked for.
        what: &'static str,
    },
    /// A key that needs a password.
    #[error("--{flag}: the key in {file} is encrypted, and there is nobody to ask for its password: decrypt it with `openssl pkey -in {file} -out <file>`", file = path.display())]
    Encrypted {
        /// The flag that names the file.
        flag: String,
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key are of two pairs.
    #[error("--{front}-server-key: the key in {} does not belong to the first certificate in {} (--{front}-server-cert): give the pair that was made together", key.display(), certificate.display())]
    Mismatch {
        /// The front.
        front: &'static str,
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// What the TLS library does not take.
    #[error("--{flag}: {} cannot be used: {error}", path.display())]
    Rejected {
        /// The flag that names the file.
        flag: String,
        /// The file.
        path: PathBuf,
        /// Why.
        error: String,
    },
}

/// What the files hold.
#[derive(PartialEq, Eq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_authorities: Option<Vec<u8>>,
}

impl TlsFiles {
    pub(super) fn read(&self) -> Result<Contents, TlsError> {
        let read = |flag: &str, path: &Path| {
            std::fs::read(path).map_err(|error| TlsError::Unreadable {
                flag: self.flag(flag),
                path: path.to_owned(),
                error,
            })
        };
        Ok(Contents {
            certificate: read("server-cert", &self.certificate)?,
            key: read("server-key", &self.key)?,
            client_authorities: self
                .client_authorities
                .as_deref()
                .map(|path| read("root-cert", path))
                .transpose()?,
        })
    }

    /// What connections are accepted with, and when the certificate ends in seconds since 1970. A certificate that is not
    /// valid now is used with a warning: a pod that does not start helps nobody who renews it.
    pub(super) fn config(&self, contents: &Contents) -> Result<(ServerConfig, i64), TlsError> {
        let chain = self.certificates("server-cert", &self.certificate, &contents.certificate)?;
        let key = self.private_key(&contents.key)?;
        let not_after = self.check_validity(&chain[0])?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let rejected =
            |error: rustls::Error| self.rejected("server-cert", &self.certificate, error.to_string());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(rejected)?;
        let builder = match (&self.client_authorities, &contents.client_authorities) {
            (Some(path), Some(pem)) => {
                let roots = self.authorities(path, pem)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .map_err(|error| self.rejected("root-cert", path, error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch {
                    front: self.front,
                    certificate: self.certificate.clone(),
                    key: self.key.clone(),
                },
                error => rejected(error),
            })?;
        Ok((config, not_after))
    }

    fn authorities(&self, path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates("root-cert", path, pem)? {
            roots
                .add(certificate)
                .map_err(|error| self.rejected("root-cert", path, error.to_string()))?;
        }
        Ok(roots)
    }

    fn certificates(
        &self,
        flag: &str,
        path: &Path,
        pem: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| self.rejected(flag, path, error.to_string()))?;
        if chain.is_empty() {
            return Err(TlsError::Empty {
                flag: self.flag(flag),
                path: path.to_owned(),
                what: "certificate",
            });
        }
        Ok(chain)
    }

    fn private_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
        let (flag, path) = (self.flag("server-key"), self.key.clone());
        let text = String::from_utf8_lossy(pem);
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(TlsError::Encrypted { flag, path });
        }
        PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            rustls::pki_types::pem::Error::NoItemsFound => TlsError::Empty {
                flag,
                path,
                what: "private key",
            },
            error => self.rejected("server-key", &self.key, error.to_string()),
        })
    }

    fn check_validity(&self, certificate: &CertificateDer<'_>) -> Result<i64, TlsError> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| self.rejected("server-cert", &self.certificate, error.to_string()))?;
        let validity = parsed.validity();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX));
        let file = self.certificate.display();
        if validity.not_after.timestamp() < now {
            tracing::warn!(
                "--{}-server-cert: the certificate in {file} ended at {}: clients will refuse it until it is renewed",
                self.front,
                validity.not_after
            );
        } else if validity.not_before.timestamp() > now {
            tracing::warn!(
                "--{}-server-cert: the certificate in {file} begins at {}: clients will refuse it until then; is the clock right?",
                self.front,
                validity.not_before
            );
        }
        Ok(validity.not_after.timestamp())
    }

    fn flag(&self, rest: &str) -> String {
        format!("{}-{rest}", self.front)
    }

    fn rejected(&self, flag: &str, path: &Path, error: String) -> TlsError {
        TlsError::Rejected {
            flag: self.flag(flag),
            path: path.to_owned(),
            error,
        }
    }
}
