//! Asks the pods what became of the serving plan.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use reqwest::StatusCode;
use reqwest::redirect::Policy;

use super::build::METRICS;
use super::serving_plan::PodAnswer;

/// How many pods are asked at the same time.
const CONCURRENCY: usize = 16;
/// A pod that takes longer is asked again at the next look.
const TIMEOUT: Duration = Duration::from_secs(2);

/// An answer about 32 models is a few KiB long.
const ANSWER_LIMIT_BYTES: usize = 1024 * 1024;

/// The client that asks the pods. What runs in a namespace is not trusted: its answer leads nowhere else.
///
/// # Errors
/// Where TLS cannot be set up.
pub fn client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(Policy::none())
        .build()
}

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
        answer: ask(http, SocketAddr::new(address, METRICS.number)).await,
    }
}

async fn ask(http: &reqwest::Client, address: SocketAddr) -> Result<PodAnswer, String> {
    let url = format!("http://{address}/serving-plan");
    let body = read(http, &url)
        .await
        .map_err(|error| format!("GET {url}: {error}"))?;
    serde_json::from_slice(&body).map_err(|error| format!("GET {url} answers something else: {error}"))
}

/// The body of an answer, as far as one of ours is long.
async fn read(http: &reqwest::Client, url: &str) -> Result<Vec<u8>, String> {
    let told = |error: reqwest::Error| chain(&error.without_url());
    let mut response = http.get(url).timeout(TIMEOUT).send().await.map_err(told)?;
    if response.status() != StatusCode::OK {
        return Err(format!("it answers with status {}", response.status().as_u16()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if body.len() + chunk.len() > ANSWER_LIMIT_BYTES {
            return Err(format!("its answer is longer than {ANSWER_LIMIT_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;

    use super::super::serving_plan::PlanState;
    use super::*;

    /// A server that answers `/serving-plan` with `body`.
    async fn pod_that_answers(body: &'static str) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().route("/serving-plan", get(move || async move { body }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address
    }

    fn client() -> reqwest::Client {
        // Already installed by another test, or now: the same provider either way.
        let _ = rustls::crypto::ring::default_provider().install_default();
        super::client().unwrap()
    }

    #[tokio::test]
    async fn a_pods_answer_is_read() {
        let address = pod_that_answers(r#"{"planSha256": "abc", "state": "Applied", "models": []}"#).await;
        let answer = ask(&client(), address).await.unwrap();
        assert_eq!(
            (answer.plan_sha256.as_str(), answer.state),
            ("abc", PlanState::Applied)
        );
    }

    #[tokio::test]
    async fn an_answer_of_something_else_on_that_port_is_told_as_such() {
        let address = pod_that_answers("<html>").await;
        let error = ask(&client(), address).await.unwrap_err();
        assert!(error.contains("answers something else"), "{error}");
    }

    #[tokio::test]
    async fn a_pod_sends_the_operator_nowhere_else() {
        let elsewhere = pod_that_answers(r#"{"planSha256": "abc", "state": "Applied"}"#).await;
        let target = format!("http://{elsewhere}/serving-plan");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let redirect = get(async move || axum::response::Redirect::temporary(&target));
        let routes = Router::new().route("/serving-plan", redirect);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let error = ask(&client(), address).await.unwrap_err();
        assert!(error.contains("status 307"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read_to_its_end() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = get(async || {
            let chunks = stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b' '; 65_536]));
            axum::body::Body::from_stream(chunks)
        });
        let routes = Router::new().route("/serving-plan", endless);
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let error = ask(&client(), address).await.unwrap_err();
        assert!(error.contains("longer than 1048576 bytes"), "{error}");
    }

    #[tokio::test]
    async fn a_pod_that_does_not_listen_is_told_with_its_address_and_the_cause() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let error = ask(&client(), address).await.unwrap_err();
        assert!(
            error.contains(&address.to_string()) && error.contains("refused"),
            "{error}"
        );
    }

    #[test]
    fn only_running_pods_that_stay_are_asked() {
        let pod = |metadata: serde_json::Value, phase: &str| -> Pod {
            let status = serde_json::json!({"phase": phase, "podIP": "fd00::7"});
            serde_json::from_value(serde_json::json!({"metadata": metadata, "status": status})).unwrap()
        };
        let running = address_of_running(&pod(serde_json::json!({}), "Running")).unwrap();
        assert_eq!(
            SocketAddr::new(running, METRICS.number).to_string(),
            "[fd00::7]:8002"
        );
        assert_eq!(address_of_running(&pod(serde_json::json!({}), "Pending")), None);
        let leaving = serde_json::json!({"deletionTimestamp": "1970-01-01T00:00:00Z"});
        assert_eq!(address_of_running(&pod(leaving, "Running")), None);
    }
}
