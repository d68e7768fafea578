//! The groups of calls that can be restricted, with Triton's names, and the group of each call.

use std::fmt;

use http::Method;

/// A group of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Api {
    /// Whether the server lives, and it or a model is ready; `grpc.health.v1` too.
    Health,
    /// What the server and its models are.
    Metadata,
    /// Asking models.
    Inference,
    /// Memory shared with clients.
    SharedMemory,
    /// Configurations of models.
    ModelConfig,
    /// Listing, loading and unloading models.
    ModelRepository,
    /// Statistics of models.
    Statistics,
    /// Trace settings.
    Trace,
    /// Log settings.
    Logging,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Health,
        Self::Metadata,
        Self::Inference,
        Self::SharedMemory,
        Self::ModelConfig,
        Self::ModelRepository,
        Self::Statistics,
        Self::Trace,
        Self::Logging,
    ];

    /// Those that REST has.
    pub(super) const OF_REST: [Self; 3] = [Self::Health, Self::Metadata, Self::Inference];

    /// Its name in flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Metadata => "metadata",
            Self::Inference => "inference",
            Self::SharedMemory => "shared-memory",
            Self::ModelConfig => "model-config",
            Self::ModelRepository => "model-repository",
            Self::Statistics => "statistics",
            Self::Trace => "trace",
            Self::Logging => "logging",
        }
    }

    /// That of a route of the HTTP server.
    pub(super) fn of_http(route: &str) -> Option<Self> {
        let segments: Vec<_> = route.split('/').skip(1).collect();
        Some(match segments[..] {
            ["v2"] => Self::Metadata,
            ["v2", "health", ..] => Self::Health,
            ["v2", "logging", ..] => Self::Logging,
            ["v2", "trace", ..] => Self::Trace,
            ["v2", "repository", ..] => Self::ModelRepository,
            ["v2", "models", "stats"] => Self::Statistics,
            ["v2", "models", _, "versions", _, ref rest @ ..] | ["v2", "models", _, ref rest @ ..] => {
                Self::of_model(rest)
            }
            ["v2", memory, ..] if memory.ends_with("sharedmemory") => Self::SharedMemory,
            _ => return None,
        })
    }

    fn of_model(rest: &[&str]) -> Self {
        match rest {
            [] => Self::Metadata,
            ["ready"] => Self::Health,
            ["config"] => Self::ModelConfig,
            ["stats"] => Self::Statistics,
            ["trace", ..] => Self::Trace,
            _ => Self::Inference,
        }
    }

    /// That of a route of the REST server. A browser asks with OPTIONS what it may send before it sends any header.
    pub(super) fn of_rest(method: &Method, route: &str) -> Option<Self> {
        match *method {
            Method::OPTIONS => None,
            Method::POST => Some(Self::Inference),
            _ if route.starts_with("/health") || route.starts_with("/v2/health") => Some(Self::Health),
            _ => Some(Self::Metadata),
        }
    }

    /// That of a call over gRPC.
    pub(super) fn of_grpc(path: &str) -> Option<Self> {
        if path.starts_with("/grpc.health.v1.Health/") {
            return Some(Self::Health);
        }
        let call = path.strip_prefix("/inference.GRPCInferenceService/")?;
        Some(match call {
            "ServerLive" | "ServerReady" | "ModelReady" => Self::Health,
            "ServerMetadata" | "ModelMetadata" => Self::Metadata,
            "ModelConfig" => Self::ModelConfig,
            "ModelStatistics" => Self::Statistics,
            "TraceSetting" => Self::Trace,
            "LogSettings" => Self::Logging,
            call if call.starts_with("Repository") => Self::ModelRepository,
            call if call.contains("SharedMemory") => Self::SharedMemory,
            _ => Self::Inference,
        })
    }
}

impl fmt::Display for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_the_group_that_it_has_in_triton() {
        for (route, api) in [
            ("/v2", "metadata"),
            ("/v2/health/live", "health"),
            ("/v2/models/stats", "statistics"),
            ("/v2/models/{model}", "metadata"),
            ("/v2/models/{model}/ready", "health"),
            ("/v2/models/{model}/versions/{version}/ready", "health"),
            ("/v2/models/{model}/config", "model-config"),
            ("/v2/models/{model}/versions/{version}/stats", "statistics"),
            ("/v2/models/{model}/infer", "inference"),
            ("/v2/models/{model}/versions/{version}/generate", "inference"),
            ("/v2/models/{model}/trace/setting", "trace"),
            ("/v2/trace/setting", "trace"),
            ("/v2/logging", "logging"),
            ("/v2/repository/index", "model-repository"),
            ("/v2/repository/models/{model}/load", "model-repository"),
            ("/v2/systemsharedmemory/region/{region}/register", "shared-memory"),
            ("/v2/cudasharedmemory/status", "shared-memory"),
        ] {
            assert_eq!(Api::of_http(route).map(Api::name), Some(api), "{route}");
        }
        for (call, api) in [
            ("ServerReady", "health"),
            ("ModelMetadata", "metadata"),
            ("ModelInfer", "inference"),
            ("ModelStreamInfer", "inference"),
            ("RepositoryIndex", "model-repository"),
            ("SystemSharedMemoryStatus", "shared-memory"),
            ("TraceSetting", "trace"),
            ("LogSettings", "logging"),
        ] {
            let path = format!("/inference.GRPCInferenceService/{call}");
            assert_eq!(Api::of_grpc(&path).map(Api::name), Some(api), "{call}");
        }
        assert_eq!(Api::of_grpc("/grpc.health.v1.Health/Watch"), Some(Api::Health));
        assert_eq!(
            Api::of_rest(&Method::POST, "/predict/{model}"),
            Some(Api::Inference)
        );
        assert_eq!(Api::of_rest(&Method::GET, "/health"), Some(Api::Health));
    }
}
