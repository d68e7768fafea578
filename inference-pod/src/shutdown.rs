//! The way out: unready at once, still accepting while load balancers notice, then finishing what was accepted.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::Lifecycle;

/// The signals that end the process.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Which signal came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Kubernetes wants the pod to end.
    Terminate,
    /// A person pressed Ctrl-C and wants no delay.
    Interrupt,
}

impl Signals {
    /// Listens from now on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for a signal.
    pub async fn next(&mut self) -> Reason {
        tokio::select! {
            _ = self.terminate.recv() => Reason::Terminate,
            _ = self.interrupt.recv() => Reason::Interrupt,
        }
    }
}

/// Becomes unready, accepts for the drain delay (cut short by another signal), then tells the servers to stop accepting.
pub async fn drain(
    reason: Reason,
    signals: &mut Signals,
    delay: Duration,
    lifecycle: &Lifecycle,
    stop_accepting: &CancellationToken,
) {
    lifecycle.stop();
    if reason == Reason::Terminate && !delay.is_zero() {
        tracing::info!(
            seconds = delay.as_secs_f64(),
            "asked to end: unready, but still accepting for the drain delay"
        );
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            _ = signals.next() => tracing::info!("asked again: the drain delay is cut short"),
        }
    }
    tracing::info!("accepting nothing more, finishing what was accepted");
    stop_accepting.cancel();
}
