//! Collects the conditions of one reconcile.

use aiops_crds::{Condition, set_condition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::verdict::{Reason, Verdict};

/// The conditions of an object as they were, changed by what this reconcile observed.
#[derive(Debug)]
pub struct Conditions {
    conditions: Vec<Condition>,
    generation: i64,
    now: Timestamp,
}

impl Conditions {
    /// Starts from the conditions that the object has.
    pub fn new(existing: &[Condition], generation: Option<i64>, now: Timestamp) -> Self {
        Self {
            conditions: existing.to_vec(),
            generation: generation.unwrap_or_default(),
            now,
        }
    }

    /// Sets one condition; `type_` and the verdict's reason come from the kind's closed enums.
    pub fn set<R: Reason>(&mut self, type_: impl std::fmt::Display, verdict: Verdict<R>) {
        let condition = Condition {
            type_: type_.to_string(),
            status: verdict.status,
            reason: verdict.reason.to_string(),
            message: verdict.message,
            observed_generation: self.generation,
            last_transition_time: Time(self.now),
        };
        set_condition(&mut self.conditions, condition);
    }

    /// The finished list.
    pub fn into_vec(self) -> Vec<Condition> {
        self.conditions
    }
}
