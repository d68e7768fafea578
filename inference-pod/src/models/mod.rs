//! Models: loading versions, keeping those that are wanted, finding the one that a request names.

mod admission;
mod apply;
#[doc(hidden)]
pub mod counted;
mod ensemble;
mod explicit;
mod holdings;
mod keeper;
mod labels;
mod load_error;
mod load_threads;
mod loader;
mod phases;
mod placement;
mod registry;
mod response_cache;
mod scan;
pub mod serving_plan;
mod sessions;
mod shares;
mod turns;
mod unload;
mod validate;
mod version;
mod warm_up;

pub use admission::{Admission, AdmissionSettings};
pub use explicit::Override;
pub use keeper::{Keeper, PlanState, PlanStatus};
pub use load_error::LoadError;
pub use load_threads::LoadThreads;
pub use loader::Loader;
pub use phases::LoadPhases;
pub use registry::{Registry, State, VersionStatus};
pub use response_cache::ResponseCache;
pub use version::{ModelVersion, PLATFORM};
