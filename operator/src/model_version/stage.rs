//! Decides the stage of a version (pure).

use aiops_crds::{ModelVersion, ModelVersionReason as Reason, Stage};
use kube::ResourceExt as _;
use kube::core::DynamicObject;

use super::dereference::text;
use super::validate::ValidatedModelVersion;

/// Another published version of the same model.
#[derive(Clone, Debug)]
pub struct Rival {
    /// The object's name.
    pub name: String,
    /// The version's number.
    pub version: u64,
    /// Whether it asks for Production and its approval names its bytes.
    pub claims_production: bool,
    /// The stage that it has now.
    pub stage: Stage,
    /// Whether this was read from the API server, and not from a store that may lag behind it.
    pub confirmed: bool,
}

impl Rival {
    /// What matters of a peer, or `None` where it is not published.
    pub fn of(peer: &ModelVersion) -> Option<Self> {
        let status = peer.status.as_ref()?;
        let published = status.published.as_ref()?;
        let approved = peer
            .spec
            .approval
            .as_ref()
            .is_some_and(|approval| approval.digest == published.digest);
        Some(Self {
            name: peer.name_any(),
            version: status.version.as_ref()?.parse().ok()?,
            claims_production: peer.spec.stage == Some(Stage::Production) && approved,
            stage: status.stage.unwrap_or_default(),
            confirmed: false,
        })
    }

    /// The object's name, to ask for it by.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// The same of an object as the API server has it, also where this operator cannot read all of it: a value that it does not
    /// know must not cost the object its stage.
    pub fn of_live(peer: &DynamicObject, model: &str) -> Option<Self> {
        let text = |path: &str| text(peer, path);
        if text("/spec/model") != Some(model) || peer.metadata.deletion_timestamp.is_some() {
            return None;
        }
        let digest = text("/status/published/digest")?;
        let stage = peer.data.pointer("/status/stage").cloned().unwrap_or_default();
        Some(Self {
            name: peer.name_any(),
            version: text("/status/version")?.parse().ok()?,
            claims_production: text("/spec/stage") == Some(Stage::Production.as_str())
                && text("/spec/approval/digest") == Some(digest),
            stage: serde_json::from_value(stage).unwrap_or_default(),
            confirmed: true,
        })
    }
}

/// The rival that Production belongs to rather than to `version`: the highest that claims it.
pub fn holder_above(version: u64, rivals: &[Rival]) -> Option<&Rival> {
    rivals
        .iter()
        .filter(|rival| rival.claims_production && rival.version > version)
        .max_by_key(|rival| rival.version)
}

/// That rival, where only a store that may lag behind says so.
pub fn unconfirmed_holder(version: u64, rivals: &[Rival]) -> Option<&Rival> {
    holder_above(version, rivals).filter(|holder| !holder.confirmed)
}

/// The stage that a version gets, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decision {
    /// The stage.
    pub stage: Stage,
    /// Whether it is the one that was asked for.
    pub reached: bool,
    /// `StageReached`, `AwaitingApproval`, `ApprovalOfOtherBytes` or `Superseded`.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What to say about the approval: `Approved`, `AwaitingApproval`, `ApprovalOfOtherBytes` or `NotRequired`.
    pub approval: Reason,
    /// The same for people, where the approval is missing or of other bytes.
    pub approval_message: String,
}

/// Decides by what the objects say and by nothing that happened before, so that any order of events ends the same:
/// of the approved versions that ask for Production the highest one holds it.
pub fn decide(
    validated: &ValidatedModelVersion,
    digest: &str,
    version: u64,
    current: Stage,
    rivals: &[Rival],
) -> Decision {
    let approval = match validated.approved_digest.as_deref() {
        Some(approved) if approved == digest => Reason::Approved,
        Some(_) => Reason::ApprovalOfOtherBytes,
        None if validated.desired == Stage::Production => Reason::AwaitingApproval,
        None => Reason::NotRequired,
    };
    let approval_message = ask(validated, digest);
    let reached = |stage: Stage| Decision {
        stage,
        reached: true,
        reason: Reason::StageReached,
        message: format!("version {version} is in stage {stage}"),
        approval,
        approval_message: approval_message.clone(),
    };
    if validated.desired != Stage::Production {
        return reached(validated.desired);
    }
    if approval != Reason::Approved {
        return Decision {
            stage: Stage::Staging,
            reached: false,
            reason: approval,
            message: approval_message.clone(),
            approval,
            approval_message,
        };
    }
    match holder_above(version, rivals) {
        None => reached(Stage::Production),
        Some(holder) => Decision {
            stage: below(holder, current),
            reached: false,
            reason: Reason::Superseded,
            message: superseded(holder, validated),
            approval,
            approval_message,
        },
    }
}

/// The stage of a version that another one takes Production from. It gives it up once the other one has it, and not before:
/// else there would be a moment at each promotion at which Production is empty.
fn below(holder: &Rival, current: Stage) -> Stage {
    match current {
        Stage::Production if holder.stage == Stage::Production => Stage::Archived,
        current => current.max(Stage::Staging),
    }
}

/// The approval goes with the stage, since the CRD refuses it on an archived version.
fn superseded(holder: &Rival, validated: &ValidatedModelVersion) -> String {
    let patch = r#"{"spec":{"stage":"Archived","approval":null}}"#;
    format!(
        "Production belongs to {} (version {}); to let this version take its place: kubectl patch modelversion {} -n {} --type merge -p '{patch}'",
        holder.name, holder.version, holder.name, validated.namespace
    )
}

fn ask(validated: &ValidatedModelVersion, digest: &str) -> String {
    let what = match &validated.approved_digest {
        Some(approved) => format!("spec.approval.digest is {approved}, but these bytes are {digest}"),
        None => format!("Production needs the approval of {digest}"),
    };
    let patch = format!("{{\"spec\":{{\"approval\":{{\"digest\":\"{digest}\"}}}}}}");
    format!(
        "{what}: kubectl patch modelversion {} -n {} --type merge -p '{patch}'",
        validated.name, validated.namespace
    )
}

/// The stages that lie between two, the last one included: Production is reached over Staging.
pub fn path(from: Stage, to: Stage) -> Vec<Stage> {
    match (from, to) {
        (from, to) if from == to => Vec::new(),
        (Stage::None, Stage::Production) => vec![Stage::Staging, Stage::Production],
        (_, to) => vec![to],
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use aiops_crds::{DeletionPolicy, PublishedModel, Source};

    /// What a published version has.
    pub fn published() -> PublishedModel {
        serde_json::from_value(serde_json::json!({
            "digest": "d", "sizeBytes": 1, "uri": "s3://models/team/tumour/1", "inputs": [], "outputs": [], "opset": 17,
        }))
        .unwrap()
    }

    /// The decision on an approved version that gets what it asks for.
    pub fn decision_of_reached(stage: Stage) -> Decision {
        decide(&wants(stage, Some("d")), "d", 1, Stage::None, &[])
    }

    fn wants(desired: Stage, approved: Option<&str>) -> ValidatedModelVersion {
        ValidatedModelVersion {
            namespace: "team".into(),
            name: "forest-1".into(),
            uid: "u".into(),
            model: "tumour".into(),
            source: Source::default(),
            desired,
            approved_digest: approved.map(str::to_owned),
            deletion_policy: DeletionPolicy::Retain,
        }
    }

    fn rival(version: u64, claims_production: bool) -> Rival {
        Rival {
            name: format!("forest-{version}"),
            version,
            claims_production,
            stage: Stage::Production,
            confirmed: true,
        }
    }

    #[test]
    fn production_waits_for_an_approval_of_exactly_these_bytes() {
        let decision = decide(&wants(Stage::Production, None), "sha256:a", 1, Stage::None, &[]);
        assert_eq!(
            (decision.stage, decision.reason),
            (Stage::Staging, Reason::AwaitingApproval)
        );
        assert!(
            decision
                .message
                .contains("kubectl patch modelversion forest-1 -n team"),
            "{}",
            decision.message
        );
        let other = decide(
            &wants(Stage::Production, Some("sha256:b")),
            "sha256:a",
            1,
            Stage::Staging,
            &[],
        );
        assert_eq!(
            (other.stage, other.reason),
            (Stage::Staging, Reason::ApprovalOfOtherBytes)
        );
        let approved = decide(
            &wants(Stage::Production, Some("sha256:a")),
            "sha256:a",
            1,
            Stage::Staging,
            &[],
        );
        assert_eq!((approved.stage, approved.reached), (Stage::Production, true));
    }

    #[test]
    fn a_rival_with_a_value_of_a_later_release_keeps_what_it_claims() {
        let object = |spec: serde_json::Value| -> DynamicObject {
            serde_json::from_value(serde_json::json!({
                "apiVersion": "aiops.dev/v1alpha1", "kind": "ModelVersion",
                "metadata": {"name": "forest-2", "namespace": "team"}, "spec": spec,
                "status": {"version": "2", "stage": "Production", "published": {"digest": "d"}},
            }))
            .unwrap()
        };
        let spec = serde_json::json!({"model": "tumour", "stage": "Production", "approval": {"digest": "d"},
            "deletionPolicy": "Orphan"});
        let rival = Rival::of_live(&object(spec.clone()), "tumour").unwrap();
        assert!(rival.claims_production);
        let decision = decide(
            &wants(Stage::Production, Some("d")),
            "d",
            1,
            Stage::Archived,
            &[rival],
        );
        assert_eq!(decision.reason, Reason::Superseded);
        assert!(Rival::of_live(&object(spec), "wine").is_none());
    }

    #[test]
    fn the_highest_approved_version_holds_production() {
        let wants = wants(Stage::Production, Some("d"));
        let lower = decide(&wants, "d", 1, Stage::Production, &[rival(2, true)]);
        assert_eq!((lower.stage, lower.reason), (Stage::Archived, Reason::Superseded));
        assert_eq!(
            decide(&wants, "d", 3, Stage::Staging, &[rival(2, true)]).stage,
            Stage::Production
        );
        assert_eq!(
            decide(&wants, "d", 1, Stage::Archived, &[rival(2, false)]).stage,
            Stage::Production
        );
    }

    #[test]
    fn a_version_that_was_never_in_production_stays_in_staging_when_it_is_superseded() {
        let decision = decide(
            &wants(Stage::Production, Some("d")),
            "d",
            1,
            Stage::None,
            &[rival(2, true)],
        );
        assert_eq!(decision.stage, Stage::Staging);
    }

    #[test]
    fn production_is_given_up_once_the_successor_has_it_and_not_before() {
        let wants = wants(Stage::Production, Some("d"));
        let on_its_way = Rival {
            stage: Stage::Staging,
            ..rival(2, true)
        };
        let meanwhile = decide(&wants, "d", 1, Stage::Production, &[on_its_way]);
        assert_eq!(
            (meanwhile.stage, meanwhile.reason, meanwhile.reached),
            (Stage::Production, Reason::Superseded, false)
        );
        let then = decide(&wants, "d", 1, Stage::Production, &[rival(2, true)]);
        assert_eq!(then.stage, Stage::Archived);
    }

    #[test]
    fn a_superseded_version_names_a_command_that_the_crd_takes() {
        let decision = decide(
            &wants(Stage::Production, Some("d")),
            "d",
            1,
            Stage::Production,
            &[rival(2, true)],
        );
        let command = r#"kubectl patch modelversion forest-2 -n team --type merge -p '{"spec":{"stage":"Archived","approval":null}}'"#;
        assert!(decision.message.contains(command), "{}", decision.message);
    }

    #[test]
    fn an_approval_of_other_bytes_is_told_as_such_in_every_stage() {
        let decision = decide(
            &wants(Stage::Staging, Some("sha256:b")),
            "sha256:a",
            1,
            Stage::None,
            &[],
        );
        assert_eq!(
            (decision.reached, decision.approval),
            (true, Reason::ApprovalOfOtherBytes)
        );
        assert!(
            decision
                .approval_message
                .contains("is sha256:b, but these bytes are sha256:a"),
            "{}",
            decision.approval_message
        );
    }

    #[test]
    fn the_decision_is_stable_once_it_is_carried_out() {
        for rivals in [vec![], vec![rival(2, true)]] {
            let wants = wants(Stage::Production, Some("d"));
            let mut stage = Stage::None;
            for _ in 0..3 {
                stage = decide(&wants, "d", 1, stage, &rivals).stage;
            }
            assert_eq!(decide(&wants, "d", 1, stage, &rivals).stage, stage);
        }
    }

    #[test]
    fn production_is_reached_over_staging() {
        assert_eq!(
            path(Stage::None, Stage::Production),
            [Stage::Staging, Stage::Production]
        );
        assert_eq!(path(Stage::Staging, Stage::Production), [Stage::Production]);
        assert!(path(Stage::Archived, Stage::Archived).is_empty());
    }
}
