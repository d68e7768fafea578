//! What metrics are told apart by.

use prometheus_client::encoding::EncodeLabelSet;

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
pub(super) struct ModelLabels {
    pub(super) model: String,
    pub(super) version: String,
}

impl ModelLabels {
    /// As they stand between the braces.
    pub(super) fn written(&self) -> String {
        let escaped = self.model.replace('\\', "\\\\").replace('"', "\\\"");
        format!("model=\"{escaped}\",version=\"{}\"", self.version)
    }

    pub(super) fn with_reason(&self, reason: &'static str) -> FailureLabels {
        FailureLabels {
            model: self.model.clone(),
            version: self.version.clone(),
            reason,
        }
    }

    pub(super) fn with_phase(&self, phase: &'static str) -> PhaseLabels {
        PhaseLabels {
            model: self.model.clone(),
            version: self.version.clone(),
            phase,
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FailureLabels {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct PhaseLabels {
    pub(super) model: String,
    pub(super) version: String,
    pub(super) phase: &'static str,
}

/// What an exemplar leads to.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct TraceLabel {
    pub(crate) trace_id: String,
}
