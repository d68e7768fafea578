//! Models: loading versions, keeping those that are wanted, finding the one that a request names.

mod ensemble;
mod explicit;
mod holdings;
mod keeper;
mod labels;
mod loader;
mod placement;
mod registry;
mod response_cache;
mod scan;
pub mod serving_plan;
mod sessions;
mod unload;
mod validate;
mod version;
mod warm_up;

pub use explicit::Override;
pub use keeper::{Keeper, PlanState, PlanStatus};
pub use loader::{LoadError, Loader};
pub use registry::{Registry, State, VersionStatus};
pub use response_cache::ResponseCache;
pub use version::{ModelVersion, PLATFORM};
