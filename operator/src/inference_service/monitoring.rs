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
            Err(kube::Error::Api(status)) if status.is_not_found() => false,
            Err(error) => {
                return Err(error).during(|| format!("ask for the resources of {API_VERSION}"));
            }
        };
        *last = Some((Instant::now(), answer));
        Ok(answer)
    }
}
