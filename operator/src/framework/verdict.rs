//! What a controller says about one condition, before it is written as one.

use std::fmt::Display;

use aiops_crds::{ConditionStatus, ExperimentReason, InferenceServiceReason, ModelVersionReason};

/// A kind's closed enum of reasons.
pub trait Reason: Copy + Display {
    /// An earlier step has not succeeded, so that this one was not tried.
    const WAITING: Self;
}

impl Reason for ExperimentReason {
    const WAITING: Self = Self::Waiting;
}

impl Reason for ModelVersionReason {
    const WAITING: Self = Self::Waiting;
}

impl Reason for InferenceServiceReason {
    const WAITING: Self = Self::Waiting;
}

/// One condition's part of a status.
#[derive(Clone, Debug)]
pub struct Verdict<R> {
    /// Whether the condition holds.
    pub status: ConditionStatus,
    /// Why, as one word.
    pub reason: R,
    /// Why, for people.
    pub message: String,
}

impl<R: Reason> Verdict<R> {
    /// A verdict.
    pub fn new(status: ConditionStatus, reason: R, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }

    /// It does not hold.
    pub fn not(reason: R, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::False, reason, message)
    }

    /// It holds.
    pub fn holds(reason: R, message: impl Into<String>) -> Self {
        Self::new(ConditionStatus::True, reason, message)
    }

    /// It was not tried.
    pub fn waiting(on: &str) -> Self {
        Self::new(ConditionStatus::Unknown, R::WAITING, format!("waits for {on}"))
    }

    /// Whether it holds.
    pub fn is_true(&self) -> bool {
        self.status == ConditionStatus::True
    }
}
