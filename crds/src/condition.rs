//! Conditions from closed enums, as `meta/v1` Conditions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[schemars(inline, transform = crate::schema::leave_description_to_the_field)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It is not known yet.
    Unknown,
}

/// One observed aspect of the object's state (a `meta/v1` Condition).
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Condition {
    /// What the condition is about; `Ready` sums up the others.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 63))]
    pub type_: String,
    /// Whether it holds: `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// Why, as one word from a closed list that programs can match.
    #[schemars(length(min = 1, max = 63))]
    pub reason: String,
    /// Why, for people: what happened, to what, and what to do next.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// The `metadata.generation` that the condition was computed from.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Time,
}

/// Longest message that the schema takes, in characters.
const MESSAGE_LIMIT: usize = 4096;

/// Puts `condition` into `conditions`: the transition time changes only where the status does, the message is cut to
/// what the schema takes, and the order by type is stable.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition) {
    if condition.message.chars().count() > MESSAGE_LIMIT {
        condition.message = condition
            .message
            .chars()
            .take(MESSAGE_LIMIT - 1)
            .chain(['…'])
            .collect();
    }
    match conditions
        .iter_mut()
        .find(|existing| existing.type_ == condition.type_)
    {
        Some(existing) => {
            if existing.status == condition.status {
                condition.last_transition_time = existing.last_transition_time.clone();
            }
            *existing = condition;
        }
        None => conditions.push(condition),
    }
}

/// Declares a closed enum whose names are what users see in `kubectl`.
macro_rules! names {
    ($(#[$attribute:meta])* $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident),+ $(,)? }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum $name { $($(#[doc = $meaning])+ $variant),+ }

        impl $name {
            /// All of them, for the API reference and for metrics.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name as users see it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant)),+ }
            }

            /// What it means, for the API reference: its doc comment.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+).trim_ascii()),+ }
            }

            /// Parses a name as a container reported it.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|candidate| candidate.as_str() == name)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use names;

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(status: ConditionStatus, second: i64) -> Condition {
        Condition {
            type_: "Ready".into(),
            status,
            reason: "Testing".into(),
            message: String::new(),
            observed_generation: 1,
            last_transition_time: Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap()),
        }
    }

    #[test]
    fn the_transition_time_changes_only_with_the_status() {
        let mut conditions = vec![condition(ConditionStatus::False, 1)];
        set_condition(&mut conditions, condition(ConditionStatus::False, 2));
        assert_eq!(conditions[0].last_transition_time.0.as_second(), 1);
        set_condition(&mut conditions, condition(ConditionStatus::True, 3));
        assert_eq!(conditions[0].last_transition_time.0.as_second(), 3);
    }

    #[test]
    fn a_message_longer_than_the_schema_takes_is_cut() {
        let mut conditions = Vec::new();
        let long = Condition {
            message: "ä".repeat(5000),
            ..condition(ConditionStatus::False, 1)
        };
        set_condition(&mut conditions, long);
        assert_eq!(conditions[0].message.chars().count(), MESSAGE_LIMIT);
        assert!(conditions[0].message.ends_with('…'));
    }
}
