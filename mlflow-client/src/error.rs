//! What can go wrong with a call to MLflow, as a closed set that callers decide by, with messages for people.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;

/// How many characters of an answer that is not MLflow's JSON are shown.
const EXCERPT_CHARACTERS: usize = 200;

/// What kind of failure it was. The caller decides by this and by nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No answer, or one that says that the server cannot answer now (timeouts, 429, 5xx): try again later.
    Unreachable,
    /// The thing that the call names does not exist.
    NotFound,
    /// A thing of that name exists already.
    AlreadyExists,
    /// The server, or this client before it, refuses what was asked; asking again changes nothing.
    InvalidRequest,
    /// The credentials are known and do not allow it, or the server does not accept the host name it was called by.
    Forbidden,
    /// The credentials are missing, wrong or unreadable.
    Unauthorized,
    /// Not an answer that MLflow gives: another server, or a version this client does not know.
    Unexpected,
}

impl ErrorKind {
    /// Name of the kind, for condition reasons and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "Unreachable",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::InvalidRequest => "InvalidRequest",
            Self::Forbidden => "Forbidden",
            Self::Unauthorized => "Unauthorized",
            Self::Unexpected => "Unexpected",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// A call to MLflow that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("MLflow, {request}: {message}")]
pub struct Error {
    kind: ErrorKind,
    /// Method and URL path, or what was being prepared.
    request: String,
    message: String,
    status: Option<u16>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, request: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            kind,
            request: request.into(),
            message: message.into(),
            status: None,
        }
    }

    /// The kind, which is what a caller decides by.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether the same call may work later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable)
    }

    /// Whether the thing that the call names does not exist.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self.kind, ErrorKind::NotFound)
    }

    /// What the server (or the connection to it) said.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// HTTP status of the answer; `None` where there was none.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        self.status
    }

    /// An error of the connection: nothing, or not all, of an answer arrived.
    pub(crate) fn from_transport(request: &str, error: reqwest::Error) -> Self {
        let kind = if error.is_builder() {
            ErrorKind::InvalidRequest
        } else {
            ErrorKind::Unreachable
        };
        // The URL is named by `request` already, and may hold a password.
        let error = error.without_url();
        let message = if error.is_timeout() && !error.is_connect() {
            "the server did not answer in time".to_owned()
        } else {
            with_causes(&error)
        };
        Self::new(kind, request, message)
    }

    /// An answer whose status is not a success.
    pub(crate) fn from_answer(request: &str, host: &str, status: StatusCode, body: &str) -> Self {
        let (kind, message) = match serde_json::from_str::<ErrorBody>(body) {
            Ok(answer) => (kind_of_code(&answer.error_code, status), answer.describe(status)),
            Err(_) => describe_plain_answer(host, status, body),
        };
        Self {
            kind,
            request: request.to_owned(),
            message,
            status: Some(status.as_u16()),
        }
    }

    /// A successful answer that is not what MLflow answers to this call.
    pub(crate) fn from_unreadable_answer(request: &str, status: StatusCode, cause: &str, body: &str) -> Self {
        let message = format!(
            "the answer is not MLflow's ({cause}): {:?}; check that the tracking URI is that of an MLflow server, \
             with its path prefix if it has one",
            excerpt(body)
        );
        Self {
            kind: ErrorKind::Unexpected,
            request: request.to_owned(),
            message,
            status: Some(status.as_u16()),
        }
    }
}

/// `{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "…"}`
#[derive(Deserialize)]
struct ErrorBody {
    error_code: String,
    #[serde(default)]
    message: String,
}

impl ErrorBody {
    fn describe(&self, status: StatusCode) -> String {
        let message = self.message.trim();
        if message.is_empty() {
            format!("{} (HTTP {})", self.error_code, status.as_u16())
        } else {
            format!("{message} ({}, HTTP {})", self.error_code, status.as_u16())
        }
    }
}

/// Codes and their statuses are in MLflow's `exceptions.py`. The code comes first where the status says less.
fn kind_of_code(code: &str, status: StatusCode) -> ErrorKind {
    match code {
        "RESOURCE_DOES_NOT_EXIST" | "NOT_FOUND" => ErrorKind::NotFound,
        "RESOURCE_ALREADY_EXISTS" | "ALREADY_EXISTS" => ErrorKind::AlreadyExists,
        "INVALID_PARAMETER_VALUE" | "BAD_REQUEST" | "FEATURE_DISABLED" => ErrorKind::InvalidRequest,
        // MLflow gives it status 500 although the object's state, not the server's, is in the way.
        "INVALID_STATE" => ErrorKind::InvalidRequest,
        "PERMISSION_DENIED" => ErrorKind::Forbidden,
        "UNAUTHENTICATED" | "CUSTOMER_UNAUTHORIZED" => ErrorKind::Unauthorized,
        // Concurrent changes of one row: the same call works once the other is through.
        "ABORTED" | "RESOURCE_CONFLICT" => ErrorKind::Unreachable,
        _ => kind_of_status(status),
    }
}

/// For answers without a code that is known: proxies, basic-auth's plain text, the artifact routes.
fn kind_of_status(status: StatusCode) -> ErrorKind {
    match status.as_u16() {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        // MLflow says what does not exist with a code; a bare 404 is an address that is not MLflow's.
        501 => ErrorKind::Unexpected,
        408 | 429 | 500..=599 => ErrorKind::Unreachable,
        400 | 409 | 411..=417 | 422 => ErrorKind::InvalidRequest,
        _ => ErrorKind::Unexpected,
    }
}

fn describe_plain_answer(host: &str, status: StatusCode, body: &str) -> (ErrorKind, String) {
    let kind = kind_of_status(status);
    let number = status.as_u16();
    let message = match number {
        403 if body.contains("Invalid Host header") => format!(
            "the server refuses to be called as {host:?}; add that host to its allowed hosts (`mlflow server \
             --allowed-hosts` or MLFLOW_SERVER_ALLOWED_HOSTS, with the port or `:*`)"
        ),
        401 => format!("the server wants other credentials (HTTP 401): {:?}", excerpt(body)),
        300..=399 => format!("the server redirects (HTTP {number}); use the address it redirects to as tracking URI"),
        404 => "no such address on this server (HTTP 404); check that the tracking URI is that of an MLflow 3 server, \
                with its path prefix if it has one"
            .to_owned(),
        _ => format!("HTTP {number}: {:?}", excerpt(body)),
    };
    (kind, message)
}

fn excerpt(body: &str) -> String {
    let body = body.trim();
    match body.char_indices().nth(EXCERPT_CHARACTERS) {
        Some((end, _)) => format!("{}…", &body[..end]),
        None => body.to_owned(),
    }
}

/// The error and what caused it, in one line: the connection's own reason is at the bottom of the chain.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Error {
        Error::from_answer(
            "GET /api",
            "mlflow.ns.svc:5000",
            StatusCode::from_u16(status).unwrap(),
            body,
        )
    }

    #[test]
    fn the_code_decides_before_the_status() {
        let coded = |status, code| {
            answer(
                status,
                &format!(r#"{{"error_code": "{code}", "message": "the server's words"}}"#),
            )
            .kind()
        };
        assert_eq!(coded(400, "RESOURCE_ALREADY_EXISTS"), ErrorKind::AlreadyExists);
        assert_eq!(coded(404, "RESOURCE_DOES_NOT_EXIST"), ErrorKind::NotFound);
        assert_eq!(coded(404, "ENDPOINT_NOT_FOUND"), ErrorKind::Unexpected);
        assert_eq!(coded(400, "INVALID_PARAMETER_VALUE"), ErrorKind::InvalidRequest);
        assert_eq!(coded(500, "INVALID_STATE"), ErrorKind::InvalidRequest);
        assert_eq!(coded(500, "INTERNAL_ERROR"), ErrorKind::Unreachable);
        assert_eq!(coded(503, "TEMPORARILY_UNAVAILABLE"), ErrorKind::Unreachable);
        assert_eq!(coded(429, "REQUEST_LIMIT_EXCEEDED"), ErrorKind::Unreachable);
        assert_eq!(coded(409, "ABORTED"), ErrorKind::Unreachable);
        assert_eq!(coded(403, "PERMISSION_DENIED"), ErrorKind::Forbidden);
        assert_eq!(coded(501, "NOT_IMPLEMENTED"), ErrorKind::Unexpected);
    }

    #[test]
    fn answers_that_are_not_json_are_classified_by_status() {
        assert_eq!(
            answer(502, "<html>Bad Gateway</html>").kind(),
            ErrorKind::Unreachable
        );
        assert_eq!(
            answer(401, "You are not authenticated.").kind(),
            ErrorKind::Unauthorized
        );
        assert_eq!(answer(404, "<html>nginx</html>").kind(), ErrorKind::Unexpected);
        assert_eq!(answer(308, "").kind(), ErrorKind::Unexpected);
        assert_eq!(answer(413, "too large").kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn a_refused_host_header_says_which_host_to_allow_and_where() {
        let error = answer(
            403,
            "Invalid Host header - possible DNS rebinding attack detected",
        );
        assert_eq!(error.kind(), ErrorKind::Forbidden);
        assert!(error.message().contains("mlflow.ns.svc:5000"), "{error}");
        assert!(error.message().contains("--allowed-hosts"), "{error}");
    }

    #[test]
    fn messages_name_the_request_and_cut_long_answers() {
        let error = answer(500, &"é".repeat(10_000));
        let text = error.to_string();
        assert!(text.starts_with("MLflow, GET /api: "), "{text}");
        assert!(text.chars().count() < 300);
        assert!(error.is_retryable());
    }
}
