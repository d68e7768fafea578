//! What users read in `kubectl get infsvc`, for the situations that they meet.

use aiops_crds::{
    ConditionStatus, InferenceService, InferenceServiceReason as Reason, InferenceServiceStatus,
};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use super::observe::PodReport;
use super::progress::{Progress, Served};
use super::resolve::{PublishedVersion, Resolution, ResolvedModel, Unresolved};
use super::serving_plan::RenderedPlan;
use super::status::{look_again_after, status};
use super::validate::tests::{service, spec};
use crate::framework::error::{Error, RESYNC};

fn models() -> Vec<ResolvedModel> {
    vec![ResolvedModel {
        name: "tumour".into(),
        default: PublishedVersion {
            model_version: "tumour-forest-2".into(),
            version: 2,
            digest: format!("sha256:{:064x}", 2),
        },
    }]
}

/// A Deployment with `desired` pods, all of the newest template.
fn deployment(desired: i32, available: i32) -> Deployment {
    serde_json::from_value(serde_json::json!({
        "metadata": {"generation": 1},
        "spec": {"replicas": desired, "selector": {}, "template": {}},
        "status": {"observedGeneration": 1, "replicas": desired, "updatedReplicas": desired,
                   "readyReplicas": available, "availableReplicas": available},
    }))
    .unwrap()
}

fn pod_that_waits(reason: &str) -> Pod {
    serde_json::from_value(
        serde_json::json!({"metadata": {"name": "p-1"}, "status": {"containerStatuses": [{
            "name": "inference", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": "no such image"}},
        }]}}),
    )
    .unwrap()
}

fn report(pod: &str, ready: bool, plan: &str, state: &str, models: &[(&str, u64, &str)]) -> PodReport {
    let models: Vec<serde_json::Value> = models
        .iter()
        .map(|(name, version, state)| {
            serde_json::json!({"name": name, "version": version, "state": state, "reason": "no such bytes"})
        })
        .collect();
    let answer = serde_json::json!({"planSha256": plan, "state": state, "models": models});
    PodReport {
        pod: pod.into(),
        ready,
        answer: Ok(serde_json::from_value(answer).unwrap()),
    }
}

fn silent(pod: &str, ready: bool) -> PodReport {
    PodReport {
        pod: pod.into(),
        ready,
        answer: Err("GET http://10.0.0.9:8002/serving-plan: timed out".into()),
    }
}

/// A reconcile that got to its end.
fn progress(deployment: Deployment, pods: Vec<Pod>, reports: Vec<PodReport>) -> Progress {
    Progress {
        resolution: Some(Resolution {
            models: models(),
            unresolved: Vec::new(),
        }),
        served: Some(Served {
            plan: RenderedPlan::of(&models()),
            models: models(),
            deployment,
            pods,
            reports,
        }),
        ..Progress::default()
    }
}

fn sha() -> String {
    RenderedPlan::of(&models()).sha256
}

fn applied(pod: &str) -> PodReport {
    report(pod, true, &sha(), "Applied", &[("tumour", 2, "READY")])
}

fn after(service: &InferenceService, progress: &Progress, error: Option<&Error>) -> InferenceServiceStatus {
    status(service, progress, error, Timestamp::UNIX_EPOCH)
}

fn least() -> InferenceService {
    service(spec(serde_json::json!({})))
}

fn condition<'status>(
    status: &'status InferenceServiceStatus,
    type_: &str,
) -> (ConditionStatus, &'status str, &'status str) {
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == type_)
        .unwrap();
    (found.status, &found.reason, &found.message)
}

#[test]
fn a_service_whose_every_pod_applied_the_plan_is_ready() {
    let facts = progress(deployment(2, 2), Vec::new(), vec![applied("p-1"), applied("p-2")]);
    let status = after(&least(), &facts, None);
    assert_eq!(
        condition(&status, "Ready"),
        (
            ConditionStatus::True,
            "Serving",
            "tumour:2: 2 of 2 pods are available"
        )
    );
    assert_eq!(status.serving.as_deref(), Some("tumour:2"));
    assert_eq!(status.replicas_summary.as_deref(), Some("2/2"));
    let addresses = status.addresses.as_ref().unwrap();
    assert_eq!(addresses.http, "http://tumour-inference.team.svc:8000");
    assert_eq!(addresses.grpc, "tumour-inference.team.svc:8001");
    assert_eq!(addresses.rest, "http://tumour-inference.team.svc:8080");
    assert_eq!(status.models[0].model_version, "tumour-forest-2");
    assert_eq!(
        status.selector.as_deref(),
        Some("aiops.dev/inference-service=tumour,app.kubernetes.io/component=inference")
    );
    assert_eq!(look_again_after(&status), RESYNC);
}

#[test]
fn while_one_pod_loads_the_old_version_is_what_answers_from_all() {
    let both = [("tumour", 1, "READY"), ("tumour", 2, "READY")];
    let loading = [("tumour", 1, "READY"), ("tumour", 2, "LOADING")];
    let reports = vec![
        report("p-1", true, &sha(), "Applied", &both),
        report("p-2", true, &sha(), "Loading", &loading),
    ];
    let status = after(&least(), &progress(deployment(2, 2), Vec::new(), reports), None);
    let (ready, reason, message) = condition(&status, "Ready");
    assert_eq!((ready, reason), (ConditionStatus::False, "Loading"));
    assert_eq!(
        message,
        "1 of 2 ready pods serve the plan; pod p-2 loads tumour:2"
    );
    assert_eq!(status.serving.as_deref(), Some("tumour:1"));
    assert!(look_again_after(&status) < RESYNC);
}

#[test]
fn a_pod_that_still_has_the_plan_before_has_not_applied_this_one() {
    let reports = vec![report(
        "p-1",
        true,
        "before",
        "Applied",
        &[("tumour", 1, "READY")],
    )];
    let status = after(&least(), &progress(deployment(1, 1), Vec::new(), reports), None);
    assert_eq!(condition(&status, "PlanApplied").1, "Loading");
    assert!(condition(&status, "PlanApplied").2.contains("p-1 has not read"));
}

#[test]
fn a_ready_pod_that_does_not_say_what_it_serves_changes_nothing_of_what_is_known() {
    let mut service = least();
    let facts = progress(deployment(1, 1), Vec::new(), vec![applied("p-1")]);
    service.status = Some(after(&service, &facts, None));
    let facts = progress(deployment(1, 1), Vec::new(), vec![silent("p-1", true)]);
    let status = after(&service, &facts, None);
    assert_eq!(status.serving.as_deref(), Some("tumour:2"));
    assert!(condition(&status, "Ready").2.contains("NetworkPolicy"));
}

#[test]
fn a_pod_that_cannot_load_its_first_plan_says_why_although_it_is_not_ready() {
    let reports = vec![report(
        "p-1",
        false,
        &sha(),
        "Failed",
        &[("tumour", 2, "UNAVAILABLE")],
    )];
    let status = after(&least(), &progress(deployment(1, 0), Vec::new(), reports), None);
    let (ready, reason, message) = condition(&status, "Ready");
    assert_eq!((ready, reason), (ConditionStatus::False, "LoadFailed"));
    assert!(
        message.contains("p-1") && message.contains("tumour:2: no such bytes"),
        "{message}"
    );
}

#[test]
fn a_pod_that_cannot_start_says_why() {
    let facts = progress(
        deployment(1, 0),
        vec![pod_that_waits("ImagePullBackOff")],
        Vec::new(),
    );
    let status = after(&least(), &facts, None);
    let (ready, reason, message) = condition(&status, "Ready");
    assert_eq!((ready, reason), (ConditionStatus::False, "PodsNotStarting"));
    assert!(
        message.contains("ImagePullBackOff") && message.contains("no such image"),
        "{message}"
    );
    assert_eq!(condition(&status, "PlanApplied").0, ConditionStatus::Unknown);
}

#[test]
fn a_rollout_that_is_stuck_is_not_ready_although_the_old_pods_answer() {
    let mut stuck = deployment(1, 1);
    stuck.status.as_mut().unwrap().replicas = Some(2);
    let facts = progress(
        stuck,
        vec![pod_that_waits("ImagePullBackOff")],
        vec![applied("p-0")],
    );
    let status = after(&least(), &facts, None);
    assert_eq!(condition(&status, "Ready").1, "PodsNotStarting");
    assert!(condition(&status, "Ready").2.ends_with("; 1 available meanwhile"));
    assert_eq!(condition(&status, "PlanApplied").0, ConditionStatus::True);
}

#[test]
fn a_deployment_that_was_not_looked_at_since_it_changed_is_not_available() {
    let mut changed = deployment(1, 1);
    changed.metadata.generation = Some(2);
    let status = after(
        &least(),
        &progress(changed, Vec::new(), vec![applied("p-1")]),
        None,
    );
    assert_eq!(condition(&status, "Available").1, "Progressing");
}

#[test]
fn a_service_without_pods_says_who_switched_it_off() {
    let service = service(spec(serde_json::json!({"replicas": 0})));
    let status = after(
        &service,
        &progress(deployment(0, 0), Vec::new(), Vec::new()),
        None,
    );
    assert_eq!(condition(&status, "Ready").1, "ScaledToZero");
    assert_eq!(status.serving, None);
    assert_eq!(status.replicas_summary.as_deref(), Some("0/0"));
    assert_eq!(look_again_after(&status), RESYNC);
}

#[test]
fn an_autoscaled_service_stays_ready_while_more_pods_start() {
    let service = service(spec(
        serde_json::json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 5}}),
    ));
    let facts = progress(deployment(4, 1), Vec::new(), vec![applied("p-1")]);
    assert_eq!(
        condition(&after(&service, &facts, None), "Ready").0,
        ConditionStatus::True
    );
}

fn waiting(still_answers: Option<u64>) -> Unresolved {
    Unresolved {
        model: "tumour".into(),
        reason: Reason::WaitingForStage,
        message: "tumour: no published version holds stage Production".into(),
        still_answers,
    }
}

#[test]
fn nothing_resolved_waits_and_forgets_what_was_served() {
    let mut service = least();
    let facts = progress(deployment(1, 1), Vec::new(), vec![applied("p-1")]);
    service.status = Some(after(&service, &facts, None));
    let nothing = Progress {
        resolution: Some(Resolution {
            models: Vec::new(),
            unresolved: vec![waiting(None)],
        }),
        ..Progress::default()
    };
    let status = after(&service, &nothing, None);
    assert_eq!(condition(&status, "Ready").1, "WaitingForStage");
    assert_eq!(condition(&status, "PlanApplied").0, ConditionStatus::Unknown);
    assert_eq!(
        (
            status.models.len(),
            &status.serving,
            &status.addresses,
            status.replicas
        ),
        (0, &None, &None, Some(0))
    );
}

#[test]
fn what_served_before_is_named_as_still_answering() {
    let mut facts = progress(deployment(1, 1), Vec::new(), vec![applied("p-1")]);
    facts.resolution.as_mut().unwrap().unresolved = vec![waiting(Some(2))];
    let status = after(&least(), &facts, None);
    let (ready, reason, message) = condition(&status, "Ready");
    assert_eq!((ready, reason), (ConditionStatus::False, "WaitingForStage"));
    assert!(message.ends_with("; tumour:2 still answers"), "{message}");
    assert_eq!(condition(&status, "PlanApplied").0, ConditionStatus::True);
    assert_eq!(status.serving.as_deref(), Some("tumour:2"));
}

#[test]
fn a_taken_name_is_told_and_what_was_known_of_the_pods_stands() {
    let mut service = least();
    let facts = progress(deployment(1, 1), Vec::new(), vec![applied("p-1")]);
    service.status = Some(after(&service, &facts, None));
    service.metadata.generation = Some(2);
    let taken = Error::NameTaken {
        kind: "Service".into(),
        namespace: "team".into(),
        name: "tumour-inference".into(),
        holder: "nobody this operator knows".into(),
        remedy: "delete or rename it",
    };
    let cut_short = Progress {
        resolution: facts.resolution,
        ..Progress::default()
    };
    let status = after(&service, &cut_short, Some(&taken));
    assert_eq!(condition(&status, "Ready").1, "NameTaken");
    assert!(
        condition(&status, "Ready")
            .2
            .contains("Service team/tumour-inference")
    );
    assert_eq!(condition(&status, "Available").1, "Available");
    assert_eq!(status.serving.as_deref(), Some("tumour:2"));
    assert_eq!(status.observed_generation, Some(2));
}

#[test]
fn a_spec_that_contradicts_itself_says_so_and_what_serves_stays_as_it_is() {
    let mut service = least();
    let facts = progress(deployment(1, 1), Vec::new(), vec![applied("p-1")]);
    service.status = Some(after(&service, &facts, None));
    service.spec.models[0].version.stage = None;
    let invalid = Progress {
        invalid: Some("spec.models[tumour].version must set exactly one of stage and ref".into()),
        ..Progress::default()
    };
    let status = after(&service, &invalid, None);
    assert_eq!(condition(&status, "Ready").1, "InvalidSpec");
    assert_eq!(condition(&status, "Available").0, ConditionStatus::True);
    assert_eq!(status.serving.as_deref(), Some("tumour:2"));
}

#[test]
fn the_same_facts_give_the_same_status_later() {
    let mut service = least();
    let facts = progress(deployment(1, 1), Vec::new(), vec![applied("p-1")]);
    let first = after(&service, &facts, None);
    service.status = Some(first.clone());
    let later = Timestamp::from_second(60).unwrap();
    assert_eq!(status(&service, &facts, None, later), first);
}
