//! Why a version could not be loaded.

use aiops_model_repository::RepositoryError;

use super::admission::Refusal;
use crate::configuration::ConfigError;
use crate::runtime::SessionError;

/// Why a version could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be fetched.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Its configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its graph is missing.
    #[error("{0}")]
    MissingGraph(String),
    /// Its graph cannot be served.
    #[error("file {file}: {error}")]
    Graph {
        /// Name of the file.
        file: String,
        /// Why.
        error: SessionError,
    },
    /// Its instances cannot run where its configuration wants them to.
    #[error("{0}")]
    Placement(String),
    /// The names of its classes cannot be read.
    #[error("{0}")]
    Labels(String),
    /// The graph fails on a row of zeros although it takes any, or on a sample of its configuration.
    #[error("the warm-up failed: {0}")]
    WarmUp(String),
    /// The memory is too small for it beside what is there.
    #[error("{0}")]
    Memory(Refusal),
    /// The system refused a thread.
    #[error("a worker thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

impl LoadError {
    /// Whether it may go away by itself.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Repository(error) => error.is_transient(),
            Self::Thread(_) => true,
            Self::Config(_)
            | Self::MissingGraph(_)
            | Self::Placement(_)
            | Self::Labels(_)
            | Self::Graph { .. }
            | Self::Memory(_)
            | Self::WarmUp(_) => false,
        }
    }

    /// Whether what it reads may become right without a new plan, as by a version that is published late, and to look again
    /// costs little.
    pub(super) fn may_pass(&self) -> bool {
        let may_appear = matches!(
            self,
            Self::Repository(
                RepositoryError::NotFound { .. }
                    | RepositoryError::AccessDenied { .. }
                    | RepositoryError::DiskFull { .. }
                    | RepositoryError::Io { .. }
            )
        );
        may_appear || self.is_transient()
    }

    /// Whether it goes away when memory is given back, and not before.
    pub fn is_for_memory(&self) -> bool {
        matches!(self, Self::Memory(_))
    }
}
