//! Asks the pods what became of the serving plan.

use std::net::IpAddr;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;

use super::build::METRICS;
use super::serving_plan::PodAnswer;

/// How many pods are asked at the same time.
const CONCURRENCY: usize = 16;
/// A pod that takes longer is asked again at the next look.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What one running pod says.
#[derive(Clone, Debug)]
pub struct PodReport {
    /// The pod's name.
    pub pod: String,
    /// Whether the Service sends requests to it.
    pub ready: bool,
    /// Its answer, or why there is none.
    pub answer: Result<PodAnswer, String>,
}

/// Asks every running pod, ready or not: one that cannot load its first plan never gets ready, and knows why. The reports
/// come in the order of `pods`.
pub async fn observe(pods: &[Pod], http: &reqwest::Client) -> Vec<PodReport> {
    let mut reports = Vec::new();
    for pod in pods {
        if let Some(address) = address_of_running(pod) {
            reports.push(report(pod, address, http));
        }
    }
    stream::iter(reports).buffered(CONCURRENCY).collect().await
}

async fn report(pod: &Pod, address: IpAddr, http: &reqwest::Client) -> PodReport {
    PodReport {
        pod: pod.metadata.name.clone().unwrap_or_default(),
        ready: is_ready(pod),
        answer: ask(http, address).await,
    }
}

async fn ask(http: &reqwest::Client, address: IpAddr) -> Result<PodAnswer, String> {
    let url = match address {
        IpAddr::V4(address) => format!("http://{address}:{}/serving-plan", METRICS.number),
        IpAddr::V6(address) => format!("http://[{address}]:{}/serving-plan", METRICS.number),
    };
    let response = http.get(&url).timeout(TIMEOUT).send().await;
    let response = response.and_then(reqwest::Response::error_for_status);
    match response {
        Ok(response) => response
            .json()
            .await
            .map_err(|error| format!("GET {url} answers something else: {}", chain(&error))),
        Err(error) => Err(format!("GET {url}: {}", chain(&error.without_url()))),
    }
}

/// The error with its causes; reqwest's own text stops at "error sending request".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

fn address_of_running(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    if pod.metadata.deletion_timestamp.is_some() || status.phase.as_deref() != Some("Running") {
        return None;
    }
    status.pod_ip.as_ref()?.parse().ok()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
