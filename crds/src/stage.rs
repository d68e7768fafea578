//! The stages of a model version, as MLflow's registry names them.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A stage of a model version, as in MLflow's model registry.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[schemars(inline, transform = crate::schema::leave_description_to_the_field)]
pub enum Stage {
    /// Registered and published, used by nothing.
    #[default]
    None,
    /// Under test.
    Staging,
    /// Serves requests. One version of a model at a time.
    Production,
    /// Kept, no longer used.
    Archived,
}

impl Stage {
    /// The name that MLflow and `kubectl` show.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Staging => "Staging",
            Self::Production => "Production",
            Self::Archived => "Archived",
        }
    }

    /// The registry alias that marks the holder of this stage, where it has one.
    #[must_use]
    pub fn alias(self) -> Option<&'static str> {
        match self {
            Self::Staging => Some("staging"),
            Self::Production => Some("production"),
            Self::None | Self::Archived => None,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
