//! Requests counted, and their durations summed up: Triton's `nv_inference_*`.

use std::sync::atomic::AtomicI64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::counter::{FailureReason, TritonCounter};
use super::labels::{FailureLabels, ModelLabels};

type Counters = Family<ModelLabels, TritonCounter>;

pub(super) struct RequestFamilies {
    success: Counters,
    failure: Family<FailureLabels, TritonCounter>,
    inferences: Counters,
    executions: Counters,
    request_duration_us: Counters,
    queue_duration_us: Counters,
    compute_input_duration_us: Counters,
    compute_infer_duration_us: Counters,
    compute_output_duration_us: Counters,
    pending: Family<ModelLabels, Gauge<i64, AtomicI64>>,
}

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
    pub(crate) pending: Gauge<i64, AtomicI64>,
}

impl Requests {
    pub(super) fn failure(&self, reason: FailureReason) -> &TritonCounter {
        &self.failures[reason as usize]
    }
}

impl RequestFamilies {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let mut counters = |name: &str, help: &str| {
            let family = Counters::default();
            registry.register(name, help, family.clone());
            family
        };
        let success = counters("nv_inference_request_success", "Requests that were answered");
        let inferences = counters("nv_inference_count", "Inferences made; a batch of n counts n");
        let executions = counters(
            "nv_inference_exec_count",
            "Executions of the model; a batch counts once",
        );
        let request_duration_us = counters(
            "nv_inference_request_duration_us",
            "Microseconds from receipt to answer",
        );
        let queue_duration_us = counters(
            "nv_inference_queue_duration_us",
            "Microseconds that requests waited",
        );
        let compute_input_duration_us = counters(
            "nv_inference_compute_input_duration_us",
            "Microseconds spent on putting inputs together",
        );
        let compute_infer_duration_us = counters(
            "nv_inference_compute_infer_duration_us",
            "Microseconds spent in the model",
        );
        let compute_output_duration_us = counters(
            "nv_inference_compute_output_duration_us",
            "Microseconds spent on taking outputs apart",
        );
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
            request_duration_us,
            queue_duration_us,
            compute_input_duration_us,
            compute_infer_duration_us,
            compute_output_duration_us,
            pending,
        }
    }

    pub(super) fn of(&self, labels: &ModelLabels) -> Requests {
        let failure = |reason| {
            let labels = FailureLabels {
                model: labels.model.clone(),
                version: labels.version.clone(),
                reason,
            };
            self.failure.get_or_create_owned(&labels)
        };
        Requests {
            success: self.success.get_or_create_owned(labels),
            failures: FailureReason::NAMES.map(failure),
            inferences: self.inferences.get_or_create_owned(labels),
            executions: self.executions.get_or_create_owned(labels),
            request_duration_us: self.request_duration_us.get_or_create_owned(labels),
            queue_duration_us: self.queue_duration_us.get_or_create_owned(labels),
            compute_input_duration_us: self.compute_input_duration_us.get_or_create_owned(labels),
            compute_infer_duration_us: self.compute_infer_duration_us.get_or_create_owned(labels),
            compute_output_duration_us: self.compute_output_duration_us.get_or_create_owned(labels),
            pending: self.pending.get_or_create_owned(labels),
        }
    }
}
