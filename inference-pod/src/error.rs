//! Why a request could not be answered. The kinds are those of the protocol; `protocol::status` maps them to HTTP and gRPC.

/// The protocol's classes of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request is wrong and will stay wrong.
    InvalidArgument,
    /// The request is larger than this server accepts.
    TooLarge,
    /// The request did not come in whole in time.
    Timeout,
    /// The call asks for what this caller may not do.
    Forbidden,
    /// No such model, version or path.
    NotFound,
    /// Something of this name is there.
    AlreadyExists,
    /// Right request, wrong moment: overload, timeout, loading, stopping.
    Unavailable,
    /// The body is encoded in a way that this server cannot decode.
    UnsupportedEncoding,
    /// A part of the protocol that this server does not have.
    Unsupported,
    /// The model or the runtime failed.
    Internal,
}

/// An error that a client sees.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InferenceError {
    /// Class of the error.
    pub kind: ErrorKind,
    /// What happened, to what, and what to do.
    pub message: String,
}

/// Result of handling a request.
pub type Result<T, E = InferenceError> = std::result::Result<T, E>;

impl InferenceError {
    /// The request is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::InvalidArgument,
            message: message.into(),
        }
    }

    /// Nothing has this name.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::NotFound,
            message: message.into(),
        }
    }

    /// Try again later.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unavailable,
            message: message.into(),
        }
    }

    /// Not a part of this server.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Unsupported,
            message: message.into(),
        }
    }

    /// The model or the runtime failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self {
            kind: ErrorKind::Internal,
            message: message.into(),
        }
    }
}
