//! What is printed after a failure: the objects' conditions, their events, the pods' states and the ends of their logs.

use std::fmt::Write as _;

use aiops_crds::{Experiment, InferenceService, ModelVersion};
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod};
use kube::ResourceExt as _;
use kube::api::{ListParams, LogParams};

use crate::cluster::Cluster;
use crate::conditions::{Conditioned, describe};
use crate::wait::shortened;

const LOG_LINES: i64 = 25;
const EVENTS: usize = 25;

/// All of it for one namespace, and the end of the operator's log.
pub async fn diagnose(cluster: &Cluster, namespace: &str) -> String {
    let mut text = format!("--- namespace {namespace}\n");
    objects::<Experiment>(cluster, namespace, &mut text).await;
    objects::<ModelVersion>(cluster, namespace, &mut text).await;
    objects::<InferenceService>(cluster, namespace, &mut text).await;
    events(cluster, namespace, &mut text).await;
    pods(cluster, namespace, "", &mut text).await;
    let _ = writeln!(text, "--- operator");
    pods(
        cluster,
        &cluster.release_namespace,
        "app.kubernetes.io/component=operator",
        &mut text,
    )
    .await;
    text
}

async fn objects<Kind: Conditioned>(cluster: &Cluster, namespace: &str, text: &mut String) {
    let kind = Kind::kind(&());
    match cluster.api::<Kind>(namespace).list(&ListParams::default()).await {
        Err(error) => {
            let _ = writeln!(text, "{kind}: cannot be listed: {error}");
        }
        Ok(all) => {
            for object in all {
                let deleting = if object.meta().deletion_timestamp.is_some() {
                    ", being deleted"
                } else {
                    ""
                };
                let generation = object.meta().generation.unwrap_or_default();
                let _ = writeln!(
                    text,
                    "{kind} {} (generation {generation}{deleting})",
                    object.name_any()
                );
                for condition in object.conditions() {
                    let seen = condition.observed_generation;
                    let _ = writeln!(text, "    {} (of generation {seen})", describe(condition));
                }
            }
        }
    }
}

async fn events(cluster: &Cluster, namespace: &str, text: &mut String) {
    let Ok(all) = cluster.api::<Event>(namespace).list(&ListParams::default()).await else {
        return;
    };
    let mut events = all.items;
    events.sort_by_key(|event| event.metadata.creation_timestamp.as_ref().map(|time| time.0));
    for event in events.iter().rev().take(EVENTS).rev() {
        let about = &event.involved_object;
        let _ = writeln!(
            text,
            "event {} {}/{}: {}",
            event.reason.as_deref().unwrap_or("?"),
            about.kind.as_deref().unwrap_or("?"),
            about.name.as_deref().unwrap_or("?"),
            shortened(event.message.as_deref().unwrap_or(""), 300)
        );
    }
}

async fn pods(cluster: &Cluster, namespace: &str, selector: &str, text: &mut String) {
    let api = cluster.api::<Pod>(namespace);
    let Ok(all) = api.list(&ListParams::default().labels(selector)).await else {
        return;
    };
    for pod in all {
        let name = pod.name_any();
        let status = pod.status.unwrap_or_default();
        let _ = writeln!(text, "pod {name}: {}", status.phase.as_deref().unwrap_or("?"));
        let init = status.init_container_statuses.iter().flatten();
        for container in init.chain(status.container_statuses.iter().flatten()) {
            let _ = writeln!(text, "    container {}: {}", container.name, state(container));
            let parameters = LogParams {
                container: Some(container.name.clone()),
                tail_lines: Some(LOG_LINES),
                ..LogParams::default()
            };
            if let Ok(log) = api.logs(&name, &parameters).await {
                for line in log.lines() {
                    let _ = writeln!(text, "      | {}", shortened(line, 400));
                }
            }
        }
    }
}

fn state(container: &ContainerStatus) -> String {
    let Some(state) = &container.state else {
        return "unknown".into();
    };
    let restarts = container.restart_count;
    if let Some(waiting) = &state.waiting {
        let message = waiting.message.as_deref().unwrap_or("");
        return format!(
            "waits, {} {message}, {restarts} restarts",
            waiting.reason.as_deref().unwrap_or("?")
        );
    }
    if let Some(ended) = &state.terminated {
        let reason = ended.reason.as_deref().unwrap_or("?");
        return format!(
            "ended with {} ({reason}) {}",
            ended.exit_code,
            ended.message.as_deref().unwrap_or("")
        );
    }
    format!("runs, ready {}, {restarts} restarts", container.ready)
}
