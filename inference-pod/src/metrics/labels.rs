//! What metrics are told apart by.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};

#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ModelLabels {
    pub(super) model: String,
    pub(super) version: String,
    /// `metric_tags` of the model's configuration.
    pub(super) tags: Arc<BTreeMap<String, String>>,
}

impl ModelLabels {
    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = [("model", self.model.as_str()), ("version", self.version.as_str())];
        let tags = self
            .tags
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        own.into_iter().chain(tags)
    }

    /// As they stand between the braces.
    pub(super) fn written(&self) -> String {
        let pairs = self.pairs().map(|(name, value)| {
            let value = value
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        });
        pairs.collect::<Vec<_>>().join(",")
    }

    pub(super) fn with(&self, name: &'static str, value: &'static str) -> DetailLabels {
        DetailLabels {
            model: self.clone(),
            name,
            value,
        }
    }
}

impl EncodeLabelSet for ModelLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        for pair in self.pairs() {
            pair.encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Those of a model and one more.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub(super) struct DetailLabels {
    model: ModelLabels,
    name: &'static str,
    value: &'static str,
}

impl EncodeLabelSet for DetailLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        self.model.encode(encoder)?;
        (self.name, self.value).encode(encoder.encode_label())
    }
}

/// What an exemplar leads to.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(crate) struct TraceLabel {
    pub(crate) trace_id: String,
}
