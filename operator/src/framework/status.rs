//! Writes status: once at the end of a reconcile, not at all where nothing changed, and the event after it.

use std::fmt::Debug;

use aiops_crds::{Condition, ConditionStatus};
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::Context;
use super::error::{DuringAction as _, Error};
use super::metrics::KindLabels;

/// A status with conditions.
pub trait Status: Clone + Debug + PartialEq + Serialize {
    /// The object's conditions.
    fn conditions(&self) -> &[Condition];
}

/// Writes `status` if it differs from what `object` has, then an event for each condition that changed its reason.
///
/// # Errors
/// The API's own. An object that is gone meanwhile is no error.
pub async fn write<Object, ObjectStatus>(
    context: &Context,
    field_manager: &'static str,
    object: &Object,
    existing: Option<&ObjectStatus>,
    status: &ObjectStatus,
) -> Result<(), Error>
where
    Object: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned,
    ObjectStatus: Status,
{
    if existing == Some(status) {
        return Ok(());
    }
    let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
    let kind = Object::kind(&());
    let api: Api<Object> = Api::namespaced(context.client.clone(), &namespace);
    let patch = serde_json::json!({
        "apiVersion": Object::api_version(&()),
        "kind": kind,
        // The UID keeps the status of a deleted object from landing on one created under its name.
        "metadata": {"name": name, "namespace": namespace, "uid": object.uid()},
        "status": status,
    });
    let parameters = PatchParams::apply(field_manager).force();
    match api.patch_status(&name, &parameters, &Patch::Apply(&patch)).await {
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => return Ok(()),
        result => result.during(|| format!("write the status of {kind} {namespace}/{name}"))?,
    };
    if let Some(kind) = static_kind(&kind) {
        context
            .metrics
            .status_writes
            .get_or_create(&KindLabels { kind })
            .inc();
    }
    let before = existing.map(Status::conditions).unwrap_or_default();
    for condition in changed(before, status.conditions()) {
        publish(context, object, condition).await;
    }
    Ok(())
}

/// The conditions whose reason or status is new, except those that say that nothing was tried yet.
fn changed<'status>(before: &[Condition], after: &'status [Condition]) -> Vec<&'status Condition> {
    let same = |condition: &Condition| {
        before.iter().any(|earlier| {
            earlier.type_ == condition.type_
                && earlier.reason == condition.reason
                && earlier.status == condition.status
        })
    };
    // `Ready` repeats the condition that decides it: an event for each would say everything twice.
    let repeated = |condition: &Condition| {
        condition.type_ == "Ready"
            && after
                .iter()
                .any(|other| other.type_ != "Ready" && other.reason == condition.reason)
    };
    let mut changed: Vec<&Condition> = Vec::new();
    for condition in after {
        // Two conditions that wait for the same say it once.
        let said = changed
            .iter()
            .any(|other| other.reason == condition.reason && other.message == condition.message);
        let silent = matches!(
            condition.reason.as_str(),
            "Waiting" | "NotRequested" | "NotRequired"
        );
        if !same(condition) && !repeated(condition) && !silent && !said {
            changed.push(condition);
        }
    }
    changed
}

/// Publishes the event of one condition. An event that cannot be written is logged: it must not hold up the work.
async fn publish<Object>(context: &Context, object: &Object, condition: &Condition)
where
    Object: Resource<DynamicType = ()>,
{
    let warning = condition.status == ConditionStatus::False && !is_progress(&condition.reason);
    let event = Event {
        type_: if warning {
            EventType::Warning
        } else {
            EventType::Normal
        },
        reason: condition.reason.clone(),
        note: Some(note(&condition.message)),
        action: condition.type_.clone(),
        secondary: None,
    };
    if let Err(error) = context.recorder.publish(&event, &object.object_ref(&())).await {
        tracing::warn!(reason = condition.reason, "unable to publish an event: {error}");
    }
}

/// A message, cut to what the API server takes as an event's note: 1,024 bytes.
fn note(message: &str) -> String {
    const LIMIT: usize = 1024;
    const ELLIPSIS: char = '…';
    if message.len() <= LIMIT {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(LIMIT - ELLIPSIS.len_utf8());
    format!("{}{ELLIPSIS}", &message[..end])
}

/// Reasons of work that goes on as it should.
fn is_progress(reason: &str) -> bool {
    matches!(
        reason,
        "Training"
            | "Publishing"
            | "Loading"
            | "Progressing"
            | "SourceNotReady"
            | "AwaitingApproval"
            | "Superseded"
            | "ScaledToZero"
    ) || reason.starts_with("WaitingFor")
}

fn static_kind(kind: &str) -> Option<&'static str> {
    ["Experiment", "ModelVersion", "InferenceService"]
        .into_iter()
        .find(|known| *known == kind)
}

impl Status for aiops_crds::ExperimentStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Status for aiops_crds::ModelVersionStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

impl Status for aiops_crds::InferenceServiceStatus {
    fn conditions(&self) -> &[Condition] {
        &self.conditions
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    fn condition(type_: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.into(),
            status: ConditionStatus::False,
            reason: reason.into(),
            message: format!("about {reason}"),
            observed_generation: 1,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        }
    }

    #[test]
    fn a_note_keeps_the_limit_in_bytes_and_ends_with_a_whole_character() {
        assert_eq!(note("kurz"), "kurz");
        assert_eq!(note(&"a".repeat(1024)).len(), 1024);
        for message in ["ä".repeat(513), format!("a{}", "測".repeat(400))] {
            let note = note(&message);
            assert!(note.len() > 1020 && note.len() <= 1024, "{}", note.len());
            assert!(note.ends_with('…'));
        }
    }

    #[test]
    fn what_several_conditions_say_is_one_event_and_what_was_said_before_is_none() {
        let after = [
            condition("Ready", "AwaitingApproval"),
            condition("Approved", "AwaitingApproval"),
            condition("Promoted", "AwaitingApproval"),
            condition("Published", "Waiting"),
        ];
        let types: Vec<&str> = changed(&[], &after)
            .iter()
            .map(|found| found.type_.as_str())
            .collect();
        assert_eq!(types, ["Approved"]);
        assert!(changed(&after, &after).is_empty());
    }
}
