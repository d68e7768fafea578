//! How the client proves who it is to MLflow.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;

/// How long a token read from a file is used: the kubelet renews projected tokens minutes before they expire.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// How the client proves who it is to MLflow. Its `Debug` output shows no secrets.
#[derive(Clone, Default)]
pub enum Authentication {
    /// No credentials: the server takes every request that reaches it.
    #[default]
    None,
    /// HTTP Basic, as MLflow's own `basic-auth` app wants it.
    Basic {
        /// User known to MLflow.
        username: String,
        /// The user's password.
        password: String,
    },
    /// A token that does not change, sent as `Authorization: Bearer`.
    Bearer {
        /// The token without `Bearer`.
        token: String,
    },
    /// A token in a file that another process renews, such as a projected service account token; read again each
    /// minute.
    TokenFile {
        /// Path of the file.
        path: PathBuf,
    },
}

impl fmt::Debug for Authentication {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Basic { username, .. } => write!(formatter, "Basic {{ username: {username:?}, .. }}"),
            Self::Bearer { .. } => formatter.write_str("Bearer { .. }"),
            Self::TokenFile { path } => write!(formatter, "TokenFile {{ path: {path:?} }}"),
        }
    }
}

/// Adds the credentials to requests, and remembers a token read from a file for a minute.
#[derive(Debug)]
pub(crate) struct Credentials {
    authentication: Authentication,
    token_from_file: Mutex<Option<TokenFromFile>>,
}

struct TokenFromFile {
    token: String,
    read_at: Instant,
}

impl fmt::Debug for TokenFromFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenFromFile { .. }")
    }
}

impl Credentials {
    pub(crate) fn new(authentication: Authentication) -> Self {
        Self {
            authentication,
            token_from_file: Mutex::new(None),
        }
    }

    /// Adds the credentials to `request`; the error is a message for the user.
    pub(crate) async fn add_to(&self, request: RequestBuilder) -> Result<RequestBuilder, String> {
        Ok(match &self.authentication {
            Authentication::None => request,
            Authentication::Basic { username, password } => request.basic_auth(username, Some(password)),
            Authentication::Bearer { token } => request.bearer_auth(token),
            Authentication::TokenFile { path } => request.bearer_auth(self.token(path).await?),
        })
    }

    /// Forgets a token that the server refused, so that the next request reads the file again.
    pub(crate) fn forget_token(&self) {
        *self
            .token_from_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    async fn token(&self, path: &Path) -> Result<String, String> {
        if let Some(known) = &*self
            .token_from_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            && known.read_at.elapsed() < TOKEN_LIFETIME
        {
            return Ok(known.token.clone());
        }
        let content = tokio::fs::read_to_string(path).await.map_err(|error| {
            format!(
                "the token file {} cannot be read ({error}); mount the token there",
                path.display()
            )
        })?;
        let token = content.trim().to_owned();
        if token.is_empty() {
            return Err(format!("the token file {} is empty", path.display()));
        }
        *self
            .token_from_file
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(TokenFromFile {
            token: token.clone(),
            read_at: Instant::now(),
        });
        Ok(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn authorization(credentials: &Credentials) -> Result<Option<String>, String> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().tls_certs_only([]).build().unwrap();
        let request = credentials
            .add_to(client.get("http://localhost/"))
            .await?
            .build()
            .unwrap();
        Ok(request
            .headers()
            .get("authorization")
            .map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let basic = Authentication::Basic {
            username: "operator".into(),
            password: "hunter2".into(),
        };
        let bearer = Authentication::Bearer {
            token: "hunter2".into(),
        };
        let output = format!("{basic:?} {bearer:?} {:?}", Credentials::new(basic.clone()));
        assert!(!output.contains("hunter2"), "{output}");
        assert!(output.contains("operator"));
    }

    #[tokio::test]
    async fn a_token_file_is_read_once_a_minute_and_again_after_a_refusal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let credentials = Credentials::new(Authentication::TokenFile { path: path.clone() });

        let missing = authorization(&credentials).await.unwrap_err();
        assert!(missing.contains(&path.display().to_string()), "{missing}");

        std::fs::write(&path, "first\n").unwrap();
        assert_eq!(
            authorization(&credentials).await.unwrap().as_deref(),
            Some("Bearer first")
        );
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(
            authorization(&credentials).await.unwrap().as_deref(),
            Some("Bearer first")
        );
        credentials.forget_token();
        assert_eq!(
            authorization(&credentials).await.unwrap().as_deref(),
            Some("Bearer second")
        );
    }
}
