//! The connection to one MLflow server: how requests are made and answers read. What they say is in the other files.

use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder, Response, redirect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::authentication::{Authentication, Credentials};
use crate::error::{Error, ErrorKind};

/// Prefix of most calls.
pub(crate) const API: &str = "api/2.0/mlflow";

/// How to reach an MLflow server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the server, `http` or `https`, with the path of `--static-prefix` where it has one.
    pub tracking_uri: Url,
    /// Who the client says it is.
    pub authentication: Authentication,
    /// How long one call may take, and how long a download may stand still.
    pub timeout: Duration,
}

impl Config {
    /// `tracking_uri` without credentials, and 30 s for a call.
    #[must_use]
    pub fn new(tracking_uri: Url) -> Self {
        Self {
            tracking_uri,
            authentication: Authentication::None,
            timeout: Duration::from_secs(30),
        }
    }
}

/// A [`Config`] that no client can be made of.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The tracking URI is not an HTTP address.
    #[error(
        "the MLflow tracking URI {tracking_uri} cannot be used: it must begin with http:// or https:// and have no \
         query; a database or a folder is not an MLflow server"
    )]
    TrackingUri {
        /// The address that was given.
        tracking_uri: String,
    },
    /// The HTTP client could not be set up, which is TLS's roots of trust as a rule.
    #[error("the HTTP client for MLflow at {tracking_uri} cannot be set up: {source}")]
    HttpClient {
        /// The address that was given.
        tracking_uri: String,
        /// Why not.
        source: reqwest::Error,
    },
}

/// A client of one MLflow server. Cloning is cheap and shares the connections.
#[derive(Clone, Debug)]
pub struct Client {
    http: reqwest::Client,
    /// The tracking URI, with a path that does not end with `/`.
    tracking_uri: Url,
    credentials: Arc<Credentials>,
    timeout: Duration,
}

impl Client {
    /// A client of the server that `config` names. Connects to nothing yet.
    ///
    /// # Errors
    /// Where the tracking URI is not an HTTP address, or the system has no roots of trust for `https`.
    pub fn new(config: Config) -> Result<Self, ConfigurationError> {
        let Config {
            tracking_uri,
            authentication,
            timeout,
        } = config;
        if !matches!(tracking_uri.scheme(), "http" | "https") || tracking_uri.query().is_some() {
            return Err(ConfigurationError::TrackingUri {
                tracking_uri: tracking_uri.into(),
            });
        }
        install_crypto_provider();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(timeout)
            .read_timeout(timeout)
            // A POST that is redirected would become a GET; the user is told where the server is instead.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("aiops-mlflow-client/", env!("CARGO_PKG_VERSION")));
        if tracking_uri.scheme() == "http" {
            // Nothing is verified on plain HTTP, so the system's certificates need not be read.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|source| ConfigurationError::HttpClient {
            tracking_uri: tracking_uri.to_string(),
            source,
        })?;
        Ok(Self {
            http,
            tracking_uri,
            credentials: Arc::new(Credentials::new(authentication)),
            timeout,
        })
    }

    /// The address of the server, for people: without a password.
    #[must_use]
    pub fn tracking_uri(&self) -> Url {
        let mut address = self.tracking_uri.clone();
        // These fail only for addresses without a host, which `new` does not take.
        let _ = address.set_username("");
        let _ = address.set_password(None);
        address
    }

    pub(crate) async fn get<Answer: DeserializeOwned>(
        &self,
        path: &str,
        query: &(impl Serialize + ?Sized),
    ) -> Result<Answer, Error> {
        let call = Call::new(self, &Method::GET, path);
        let request = self.http.get(call.url.clone()).query(query).timeout(self.timeout);
        call.answer(request).await
    }

    /// Sends a JSON body with POST, PATCH or DELETE: MLflow reads bodies of all three.
    pub(crate) async fn send<Answer: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<Answer, Error> {
        let call = Call::new(self, &method, path);
        let request = self
            .http
            .request(method, call.url.clone())
            .json(body)
            .timeout(self.timeout);
        call.answer(request).await
    }

    pub(crate) async fn post<Answer: DeserializeOwned>(
        &self,
        path: &str,
        body: &(impl Serialize + ?Sized),
    ) -> Result<Answer, Error> {
        self.send(Method::POST, path, body).await
    }

    /// An answer whose body is not read yet, and with its method and path for later errors. Bounded by the time it may
    /// stand still, not by the time it may take: it may be a file of any size.
    pub(crate) async fn open(
        &self,
        path: &str,
        query: &(impl Serialize + ?Sized),
    ) -> Result<(Response, String), Error> {
        let call = Call::new(self, &Method::GET, path);
        let response = call
            .response(self.http.get(call.url.clone()).query(query))
            .await?;
        Ok((response, call.name))
    }
}

/// One request, with the name that its errors carry.
struct Call<'client> {
    client: &'client Client,
    url: Url,
    /// `GET /api/2.0/mlflow/runs/get`
    name: String,
}

impl<'client> Call<'client> {
    /// `path` is relative to the tracking URI, with segments from elsewhere encoded by [`path_segment`].
    fn new(client: &'client Client, method: &Method, path: &str) -> Self {
        let mut url = client.tracking_uri.clone();
        url.set_path(&format!(
            "{}/{path}",
            client.tracking_uri.path().trim_end_matches('/')
        ));
        let name = format!("{method} {}", url.path());
        Self { client, url, name }
    }

    async fn answer<Answer: DeserializeOwned>(&self, request: RequestBuilder) -> Result<Answer, Error> {
        let response = self.response(request).await?;
        let status = response.status();
        let body = response
            .text()
            .await
            .map_err(|error| Error::from_transport(&self.name, error))?;
        serde_json::from_str(&body)
            .map_err(|error| Error::from_unreadable_answer(&self.name, status, &error.to_string(), &body))
    }

    async fn response(&self, request: RequestBuilder) -> Result<Response, Error> {
        let started = Instant::now();
        let request = self
            .client
            .credentials
            .add_to(request)
            .await
            .map_err(|message| Error::new(ErrorKind::Unauthorized, &self.name, message))?;
        let response = request
            .send()
            .await
            .map_err(|error| Error::from_transport(&self.name, error))?;
        let status = response.status();
        tracing::debug!(
            request = self.name,
            status = status.as_u16(),
            milliseconds = started.elapsed().as_millis(),
            "MLflow answered"
        );
        if status.is_success() {
            return Ok(response);
        }
        let body = response
            .text()
            .await
            .map_err(|error| Error::from_transport(&self.name, error))?;
        let error = Error::from_answer(&self.name, self.client.tracking_uri.authority(), status, &body);
        if error.kind() == ErrorKind::Unauthorized {
            self.client.credentials.forget_token();
        }
        Err(error)
    }
}

/// Encodes an identifier for use as one segment of a URL's path.
pub(crate) fn path_segment(identifier: &str) -> String {
    let mut encoded = String::with_capacity(identifier.len());
    for byte in identifier.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// rustls is built with ring and without a default; the process may have chosen already, which is as good.
fn install_crypto_provider() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(tracking_uri: &str) -> Result<Client, ConfigurationError> {
        Client::new(Config::new(tracking_uri.parse().unwrap()))
    }

    #[test]
    fn only_http_addresses_are_taken() {
        for address in ["sqlite:///mlflow.db", "file:///mlruns", "http://mlflow:5000/?x=1"] {
            let error = client(address).unwrap_err().to_string();
            assert!(error.contains("http:// or https://"), "{error}");
        }
        assert!(client("https://mlflow.example.com").is_ok());
    }

    #[test]
    fn a_path_prefix_is_kept_with_and_without_a_slash_at_its_end() {
        for address in ["http://host/ml", "http://host/ml/"] {
            let client = client(address).unwrap();
            let call = Call::new(&client, &Method::GET, "api/2.0/mlflow/runs/get");
            assert_eq!(call.url.as_str(), "http://host/ml/api/2.0/mlflow/runs/get");
            assert_eq!(call.name, "GET /ml/api/2.0/mlflow/runs/get");
        }
    }

    #[test]
    fn identifiers_cannot_leave_their_segment_of_the_path() {
        assert_eq!(path_segment("m-0af"), "m-0af");
        assert_eq!(path_segment("../runs?x#é"), "%2E%2E%2Fruns%3Fx%23%C3%A9");
    }

    #[test]
    fn the_address_for_people_has_no_password() {
        let shown = client("http://user:secret@host:5000/").unwrap().tracking_uri();
        assert_eq!(shown.as_str(), "http://host:5000/");
    }
}
