//! Whether the cluster has the ServiceMonitor API, which comes and goes with the Prometheus Operator.

use std::time::{Duration, Instant};

use kube::Client;
use tokio::sync::Mutex;

use crate::framework::error::{DuringAction as _, Error};

const API_VERSION: &str = "monitoring.coreos.com/v1";
const PLURAL: &str = "servicemonitors";
/// How long an answer counts.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The last answer of the API server.
#[derive(Debug, Default)]
pub struct Monitoring {
    last: Mutex<Option<(Instant, bool)>>,
}

impl Monitoring {
    /// Asks the API server, at most once a minute.
    ///
    /// # Errors
    /// The API's own, but for "there is no such API".
    pub async fn has_service_monitors(&self, client: &Client) -> Result<bool, Error> {
        // Held during the call, so that many reconciles at once ask one time.
        let mut last = self.last.lock().await;
        if let Some((when, answer)) = *last
            && when.elapsed() < REMEMBERED
        {
            return Ok(answer);
        }
        let answer = match client.list_api_group_resources(API_VERSION).await {
            Ok(list) => list.resources.iter().any(|resource| resource.name == PLURAL),
            // The answer for a group that nobody serves is plain text, so that only its code can be read.
            Err(kube::Error::Api(status)) if status.code == 404 => false,
            Err(error) => {
                return Err(error).during(|| format!("ask for the resources of {API_VERSION}"));
            }
        };
        *last = Some((Instant::now(), answer));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    /// An API server that answers the discovery call with `answer`, and how often it was asked.
    async fn api_server(code: StatusCode, answer: &'static str) -> (Client, Arc<AtomicUsize>) {
        let calls = Arc::new(AtomicUsize::new(0));
        let counter = calls.clone();
        let handler = move || async move {
            counter.fetch_add(1, Ordering::SeqCst);
            (code, answer)
        };
        let routes = Router::new().route("/apis/monitoring.coreos.com/v1", get(handler));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = kube::Config::new(uri.parse().unwrap());
        config.default_retry = false; // as in the operator
        let client = Client::try_from(config).unwrap();
        (client, calls)
    }

    #[tokio::test]
    async fn a_cluster_that_does_not_know_the_group_has_no_service_monitors_and_is_asked_once() {
        let (client, calls) = api_server(StatusCode::NOT_FOUND, "404 page not found\n").await;
        let monitoring = Monitoring::default();
        assert!(!monitoring.has_service_monitors(&client).await.unwrap());
        assert!(!monitoring.has_service_monitors(&client).await.unwrap());
        assert_eq!(calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_cluster_with_the_prometheus_operator_has_them() {
        let answer = r#"{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "monitoring.coreos.com/v1", "resources": [
            {"name": "servicemonitors", "singularName": "servicemonitor", "namespaced": true, "kind": "ServiceMonitor", "verbs": ["get"]}]}"#;
        let (client, _) = api_server(StatusCode::OK, answer).await;
        assert!(Monitoring::default().has_service_monitors(&client).await.unwrap());
    }

    #[tokio::test]
    async fn an_api_server_that_fails_is_no_answer_and_is_asked_again() {
        let (client, calls) = api_server(StatusCode::SERVICE_UNAVAILABLE, "later").await;
        let monitoring = Monitoring::default();
        assert!(monitoring.has_service_monitors(&client).await.is_err());
        assert!(monitoring.has_service_monitors(&client).await.is_err());
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    }
}
