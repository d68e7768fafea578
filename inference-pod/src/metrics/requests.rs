//! Requests counted, and their durations summed up: Triton's `nv_inference_*`.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::counter::{FailureReason, TritonCounter};
use super::labels::{DetailLabels, ModelLabels};

pub(super) type Counters = Family<ModelLabels, TritonCounter>;
type Pending = Gauge<i64, AtomicI64>;

pub(super) struct RequestFamilies {
    success: Counters,
    failure: Family<DetailLabels, TritonCounter>,
    inferences: Counters,
    executions: Counters,
    durations: [Counters; DURATIONS.len()],
    pending: Family<ModelLabels, Pending>,
}

/// In the order of the fields below.
const DURATIONS: [(&str, &str); 5] = [
    (
        "nv_inference_request_duration_us",
        "Microseconds from receipt to answer, summed up over requests",
    ),
    (
        "nv_inference_queue_duration_us",
        "Microseconds in the queue, summed up over requests",
    ),
    (
        "nv_inference_compute_input_duration_us",
        "Microseconds in which inputs were put together, summed up over requests",
    ),
    (
        "nv_inference_compute_infer_duration_us",
        "Microseconds in the model, summed up over requests",
    ),
    (
        "nv_inference_compute_output_duration_us",
        "Microseconds in which outputs were taken apart, summed up over requests",
    ),
];

/// Those of one model version.
pub(crate) struct Requests {
    pub(crate) success: TritonCounter,
    failures: [TritonCounter; 4],
    pub(crate) inferences: TritonCounter,
    pub(crate) executions: TritonCounter,
    pub(crate) request_duration_us: TritonCounter,
    pub(crate) queue_duration_us: TritonCounter,
    pub(crate) compute_input_duration_us: TritonCounter,
    pub(crate) compute_infer_duration_us: TritonCounter,
    pub(crate) compute_output_duration_us: TritonCounter,
    pub(crate) pending: Pending,
}

impl Requests {
    pub(super) fn failure(&self, reason: FailureReason) -> &TritonCounter {
        &self.failures[reason as usize]
    }
}

impl RequestFamilies {
    /// Without `durations`, times are not exposed as sums.
    pub(super) fn register(registry: &mut Registry, durations: bool) -> Self {
        let mut counters = |name: &str, help: &str, exposed: bool| {
            let family = Counters::default();
            if exposed {
                registry.register(name, help, family.clone());
            }
            family
        };
        let success = counters(
            "nv_inference_request_success",
            "Requests that were answered",
            true,
        );
        let inferences = counters(
            "nv_inference_count",
            "Rows that were inferred: a batch of n counts n",
            true,
        );
        let executions = counters(
            "nv_inference_exec_count",
            "Executions of the model: a batch counts once",
            true,
        );
        let durations = DURATIONS.map(|(name, help)| counters(name, help, durations));
        let failure = Family::default();
        registry.register(
            "nv_inference_request_failure",
            "Requests that failed, by reason",
            failure.clone(),
        );
        let pending = Family::default();
        registry.register(
            "nv_inference_pending_request_count",
            "Requests that wait in the queue",
            pending.clone(),
        );
        Self {
            success,
            failure,
            inferences,
            executions,
            durations,
            pending,
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Requests {
        let [request, queue, input, infer, output] = self
            .durations
            .each_ref()
            .map(|family| family.get_or_create_owned(labels));
        Requests {
            success: self.success.get_or_create_owned(labels),
            failures: FailureReason::NAMES
                .map(|reason| self.failure.get_or_create_owned(&labels.with("reason", reason))),
            inferences: self.inferences.get_or_create_owned(labels),
            executions: self.executions.get_or_create_owned(labels),
            request_duration_us: request,
            queue_duration_us: queue,
            compute_input_duration_us: input,
            compute_infer_duration_us: infer,
            compute_output_duration_us: output,
            pending: self.pending.get_or_create_owned(labels),
        }
    }

    pub(super) fn forget(&self, labels: &ModelLabels) {
        for family in [&self.success, &self.inferences, &self.executions]
            .into_iter()
            .chain(&self.durations)
        {
            family.remove(labels);
        }
        for reason in FailureReason::NAMES {
            self.failure.remove(&labels.with("reason", reason));
        }
        self.pending.remove(labels);
    }
}
