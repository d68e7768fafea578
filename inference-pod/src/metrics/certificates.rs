//! When the certificates of the fronts end.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FrontLabels {
    front: &'static str,
}

pub(super) struct Certificates {
    ends: Family<FrontLabels, Gauge<i64, AtomicI64>>,
}

impl Certificates {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let ends = Family::default();
        registry.register(
            "aiops_tls_certificate_not_after_seconds",
            "When the certificate in use ends, in seconds since 1970",
            ends.clone(),
        );
        Self { ends }
    }

    pub(super) fn end(&self, front: &'static str, not_after: i64) {
        self.ends
            .get_or_create_owned(&FrontLabels { front })
            .set(not_after);
    }
}
