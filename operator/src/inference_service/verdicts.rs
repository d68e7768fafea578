//! One function for each condition: what it says about the facts of a reconcile (pure).

use aiops_crds::InferenceServiceReason as Reason;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::jiff::Timestamp;

use super::build::METRICS;
use super::observe::PodReport;
use super::progress::Served;
use super::resolve::{Resolution, ResolvedModel};
use super::serving_plan::{ModelState, PlanState, PodAnswer};
use super::validate::Scale;
use crate::framework::pod_trouble::pod_trouble;
use crate::framework::verdict;

/// A verdict of this kind.
pub type Verdict = verdict::Verdict<Reason>;

/// `ModelsResolved`.
pub fn models_resolved(resolution: &Resolution) -> Verdict {
    let Some(first) = resolution.unresolved.first() else {
        let named: Vec<String> = resolution
            .models
            .iter()
            .map(|model| {
                format!(
                    "{}:{} is {}",
                    model.name, model.default.version, model.default.model_version
                )
            })
            .collect();
        return Verdict::holds(Reason::Resolved, named.join(", "));
    };
    let messages: Vec<String> = resolution
        .unresolved
        .iter()
        .map(|unresolved| match unresolved.still_answers {
            Some(version) => format!(
                "{}; {}:{version} still answers",
                unresolved.message, unresolved.model
            ),
            None => unresolved.message.clone(),
        })
        .collect();
    Verdict::not(first.reason, messages.join("; "))
}

/// `PlanApplied`.
pub fn plan_applied(served: &Served) -> Verdict {
    let failed = served.reports.iter().find_map(|report| {
        let answer = report.answer.as_ref().ok()?;
        let ours = answer.plan_sha256 == served.plan.sha256 && answer.state == PlanState::Failed;
        ours.then(|| (report, failure(answer)))
    });
    if let Some((report, why)) = failed {
        let meanwhile = if report.ready {
            "; what served before still does"
        } else {
            ""
        };
        return Verdict::not(
            Reason::LoadFailed,
            format!(
                "pod {} cannot load the serving plan: {why}{meanwhile}",
                report.pod
            ),
        );
    }
    let ready: Vec<&PodReport> = served.reports.iter().filter(|report| report.ready).collect();
    if ready.is_empty() {
        return match served.reports.iter().find_map(|report| at_work(report, served)) {
            Some(loading) => Verdict::not(Reason::Loading, loading),
            None => Verdict::waiting("a pod to start"),
        };
    }
    let late: Vec<String> = ready
        .iter()
        .filter_map(|report| unapplied(report, served))
        .collect();
    match late.first() {
        None => Verdict::holds(
            Reason::PlanApplied,
            format!("{} of {} ready pods serve the plan", ready.len(), ready.len()),
        ),
        Some(first) => Verdict::not(
            Reason::Loading,
            format!(
                "{} of {} ready pods serve the plan; {first}",
                ready.len() - late.len(),
                ready.len()
            ),
        ),
    }
}

/// What a ready pod lacks of the plan, if anything.
fn unapplied(report: &PodReport, served: &Served) -> Option<String> {
    let pod = &report.pod;
    match &report.answer {
        Ok(answer) if answer.plan_sha256 != served.plan.sha256 => {
            Some(format!("pod {pod} has not read the newest plan yet"))
        }
        Ok(answer) if answer.state == PlanState::Applied => None,
        Ok(answer) => Some(format!("pod {pod} loads {}", loading(answer))),
        Err(error) => Some(format!(
            "pod {pod} does not say what it serves: {error}; see that no NetworkPolicy keeps the operator from port {} of the pods",
            METRICS.number
        )),
    }
}

/// What a pod that is not ready yet is doing about the plan. One that does not answer is starting.
fn at_work(report: &PodReport, served: &Served) -> Option<String> {
    let answer = report.answer.as_ref().ok()?;
    (answer.plan_sha256 == served.plan.sha256)
        .then(|| format!("pod {} loads {}", report.pod, loading(answer)))
}

fn loading(answer: &PodAnswer) -> String {
    let models: Vec<String> = answer
        .models
        .iter()
        .filter(|model| model.state == ModelState::Loading)
        .map(|model| format!("{}:{}", model.name, model.version))
        .collect();
    if models.is_empty() {
        "the plan".into()
    } else {
        models.join(", ")
    }
}

fn failure(answer: &PodAnswer) -> String {
    if !answer.message.is_empty() {
        return answer.message.clone();
    }
    let models = answer
        .models
        .iter()
        .filter(|model| model.state == ModelState::Unavailable);
    let models: Vec<String> = models
        .map(|model| format!("{}:{}: {}", model.name, model.version, model.reason))
        .collect();
    models.join("; ")
}

/// `Available`.
pub fn available(served: &Served, scale: &Scale, now: Timestamp) -> Verdict {
    let least = scale.least();
    if least == 0 {
        return Verdict::not(
            Reason::ScaledToZero,
            "spec.replicas is 0: nothing answers until it is 1 or more",
        );
    }
    let deployment = &served.deployment;
    let status = deployment.status.clone().unwrap_or_default();
    let count = |field: Option<i32>| field.unwrap_or_default();
    let (all, updated, available) = (
        count(status.replicas),
        count(status.updated_replicas),
        count(status.available_replicas),
    );
    // As `kubectl rollout status` has it: the newest template, no pod of an older one, and enough of them.
    let observed = status.observed_generation >= deployment.metadata.generation;
    if observed && updated == all && available >= least {
        return Verdict::holds(
            Reason::Available,
            format!("{available} of {} pods are available", desired(deployment)),
        );
    }
    let mut troubles = served
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let trouble = troubles
        .find_map(|pod| pod_trouble(pod, now))
        .or_else(|| no_pod(deployment));
    let answering = if available > 0 {
        format!("; {available} available meanwhile")
    } else {
        String::new()
    };
    match trouble {
        Some(trouble) => Verdict::not(Reason::PodsNotStarting, format!("{trouble}{answering}")),
        None => Verdict::not(
            Reason::Progressing,
            format!(
                "{available} of {} pods are available{}",
                desired(deployment),
                if updated == all {
                    ""
                } else {
                    ", while pods of an older template are replaced"
                }
            ),
        ),
    }
}

/// Why the Deployment cannot create a pod, where a quota or an admission controller refuses it.
fn no_pod(deployment: &Deployment) -> Option<String> {
    let conditions = deployment.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    Some(format!(
        "no pod can be created: {}",
        failure.message.as_deref().unwrap_or("no reason given")
    ))
}

/// `Ready`, where no error ended the reconcile: the first of the others that does not hold and says most.
pub fn ready(
    models_resolved: &Verdict,
    plan_applied: &Verdict,
    available: &Verdict,
    models: &[ResolvedModel],
) -> Verdict {
    let load_failed = plan_applied.reason == Reason::LoadFailed;
    let chain = if load_failed {
        [models_resolved, plan_applied, available]
    } else {
        [models_resolved, available, plan_applied]
    };
    match chain.into_iter().find(|verdict| !verdict.is_true()) {
        Some(verdict) => Verdict::not(verdict.reason, &verdict.message),
        None => {
            let answers: Vec<String> = models
                .iter()
                .map(|model| format!("{}:{}", model.name, model.default.version))
                .collect();
            Verdict::holds(
                Reason::Serving,
                format!("{}: {}", answers.join(", "), available.message),
            )
        }
    }
}

/// The versions that answer from every ready pod, such as `tumour:2, wine:1`. `None` where that cannot be told, because a
/// ready pod does not say.
pub fn answering(reports: &[PodReport]) -> Option<Vec<(String, u64)>> {
    let mut everywhere: Option<Vec<(String, u64)>> = None;
    for report in reports.iter().filter(|report| report.ready) {
        let answer = report.answer.as_ref().ok()?;
        let mut here: Vec<(String, u64)> = answer
            .models
            .iter()
            .filter(|model| model.state == ModelState::Ready)
            .map(|model| (model.name.clone(), model.version))
            .collect();
        here.sort();
        everywhere = Some(match everywhere {
            None => here,
            Some(before) => before
                .into_iter()
                .filter(|version| here.contains(version))
                .collect(),
        });
    }
    Some(everywhere.unwrap_or_default())
}

/// How many pods the Deployment wants.
pub fn desired(deployment: &Deployment) -> i32 {
    deployment
        .spec
        .as_ref()
        .and_then(|spec| spec.replicas)
        .unwrap_or(1)
}
