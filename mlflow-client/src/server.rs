//! The server itself: whether it works, and what it is.

use serde::Deserialize;

use crate::client::Client;
use crate::error::Error;

/// What the server says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ServerInfo {
    /// Kind of its store; only `SqlStore` has a model registry that one can rely on.
    pub store_type: Option<String>,
    /// Whether calls must name a workspace.
    pub workspaces_enabled: bool,
}

impl Client {
    /// What the server says about itself. It opens its database for the answer, so success means that it works.
    ///
    /// # Errors
    /// `Unreachable` while the server or its database is away.
    pub async fn server_info(&self) -> Result<ServerInfo, Error> {
        self.get("api/3.0/mlflow/server-info", &()).await
    }

    /// MLflow's version, for example `3.17.2`.
    ///
    /// # Errors
    /// `Unreachable` while the server is away.
    pub async fn server_version(&self) -> Result<String, Error> {
        let (response, request) = self.open("version", &()).await?;
        let text = response
            .text()
            .await
            .map_err(|error| Error::from_transport(&request, error))?;
        Ok(text.trim().to_owned())
    }
}
