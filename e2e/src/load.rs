//! Constant load: requests at a fixed rate, whether or not earlier ones were answered, each of them accounted for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use crate::network::Address;
use crate::serving;

/// Requests that may be unanswered at the same time; one more is not sent and counts as failed.
const IN_FLIGHT: usize = 256;

/// What became of all requests.
#[derive(Debug, Default)]
pub struct Report {
    /// Requests answered with 200, by version and value.
    pub answers: BTreeMap<(String, String), u64>,
    /// What went wrong, with the milliseconds since the start.
    pub failures: Vec<String>,
    /// The longest time that an answer took.
    pub slowest: Duration,
}

impl Report {
    /// How many requests were answered.
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }

    /// Fails where a request failed or where there was next to no load.
    pub fn require_no_failure(&self, at_least: u64) -> Result<()> {
        let total = self.answered() + self.failures.len() as u64;
        ensure!(
            self.failures.is_empty(),
            "{} of {total} requests failed, the first: {}",
            self.failures.len(),
            self.failures
                .iter()
                .take(3)
                .cloned()
                .collect::<Vec<_>>()
                .join("; ")
        );
        ensure!(
            total >= at_least,
            "only {total} requests were sent, expected at least {at_least}"
        );
        Ok(())
    }
}

/// Load that goes on until it is stopped.
pub struct Load {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    report: Arc<Mutex<Report>>,
}

impl Load {
    /// Begins to send `body` to a model so many times a second.
    pub fn start(address: Address, model: &str, body: Value, per_second: u32) -> Result<Self> {
        let client = serving::client()?;
        let report = Arc::new(Mutex::new(Report::default()));
        let (stop, stopped) = oneshot::channel();
        let sender = Sender {
            client,
            address,
            model: model.to_owned(),
            body,
            report: report.clone(),
            started: Instant::now(),
        };
        let task = tokio::spawn(send_until(Arc::new(sender), per_second, stopped));
        Ok(Self { stop, task, report })
    }

    /// Sends no more, waits for the answers that are due and gives the account.
    pub async fn stop(self) -> Result<Report> {
        // The receiver is gone only if the task has ended, which the next line tells.
        let _ = self.stop.send(());
        self.task.await?;
        Ok(std::mem::take(
            &mut *self.report.lock().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

struct Sender {
    client: reqwest::Client,
    address: Address,
    model: String,
    body: Value,
    report: Arc<Mutex<Report>>,
    started: Instant,
}

impl Sender {
    async fn send(&self) {
        let started = Instant::now();
        let result = serving::infer(&self.client, &self.address, &self.model, &self.body).await;
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(answer) => {
                *report
                    .answers
                    .entry((answer.version, answer.value.to_string()))
                    .or_default() += 1;
                report.slowest = report.slowest.max(started.elapsed());
            }
            Err(error) => {
                let at = started.duration_since(self.started).as_millis();
                report.failures.push(format!("at {at} ms: {error:#}"));
            }
        }
    }

    fn refuse(&self) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report
            .failures
            .push(format!("not sent, {IN_FLIGHT} requests are unanswered"));
    }
}

async fn send_until(sender: Arc<Sender>, per_second: u32, mut stopped: oneshot::Receiver<()>) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    // A late tick is sent at once: the load stays what it is said to be.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            _ = ticks.tick() => {}
        }
        while requests.try_join_next().is_some() {}
        match room.clone().try_acquire_owned() {
            Ok(permit) => {
                let sender = sender.clone();
                requests.spawn(async move {
                    sender.send().await;
                    drop(permit);
                });
            }
            Err(_) => sender.refuse(),
        }
    }
    while requests.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers 200, but 503 to every tenth request; each connection carries one request.
    async fn server_with_failures() -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::at(&listener.local_addr().unwrap().to_string());
        tokio::spawn(async move {
            for number in 1_u32.. {
                let (mut connection, _) = listener.accept().await.unwrap();
                tokio::spawn(async move {
                    let mut request = [0; 4096];
                    let _ = connection.read(&mut request).await;
                    let (status, body) = if number.is_multiple_of(10) {
                        ("503 Service Unavailable", r#"{"error":"full"}"#)
                    } else {
                        ("200 OK", r#"{"model_version":"7","outputs":[{"data":[20.0]}]}"#)
                    };
                    let head = format!(
                        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                        body.len()
                    );
                    let _ = connection.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        address
    }

    async fn run_for(address: Address, time: Duration) -> Report {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let load = Load::start(address, "m", json!({}), 100).unwrap();
        tokio::time::sleep(time).await;
        load.stop().await.unwrap()
    }

    #[tokio::test]
    async fn every_request_is_accounted_for() {
        let report = run_for(server_with_failures().await, Duration::from_secs(1)).await;
        let (answered, failed) = (report.answered(), report.failures.len() as u64);
        assert!(
            (50..=101).contains(&(answered + failed)),
            "{answered} answered, {failed} failed"
        );
        assert_eq!(failed, (answered + failed) / 10);
        assert!(report.failures[0].contains("503"), "{}", report.failures[0]);
        assert_eq!(
            report.answers.keys().next().unwrap(),
            &("7".to_owned(), "20".to_owned())
        );
        assert!(
            report
                .require_no_failure(1)
                .unwrap_err()
                .to_string()
                .contains("requests failed")
        );
    }

    #[tokio::test]
    async fn a_service_that_is_gone_is_a_failure() {
        let report = run_for(Address::at("127.0.0.1:1"), Duration::from_millis(200)).await;
        assert!(!report.failures.is_empty() && report.answered() == 0);
    }

    #[test]
    fn no_load_proves_nothing() {
        assert!(Report::default().require_no_failure(1).is_err());
    }
}
