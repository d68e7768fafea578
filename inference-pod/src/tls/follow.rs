//! Following the files of a certificate. They are compared by what they hold, which works for the symbolic links that
//! Kubernetes swaps when a Secret changes as well as for files that are written in place.

use std::sync::Arc;
use std::time::Duration;

use super::files::{Contents, TlsError};
use super::{Current, Tls};
use crate::metrics::Metrics;

const PERIOD: Duration = Duration::from_secs(1);

impl Tls {
    /// Takes over what the files hold whenever that changes, and tells the metrics when it ends. What cannot be used is
    /// logged, and the last good pair stays.
    pub async fn follow(self: Arc<Self>, metrics: Arc<Metrics>) {
        metrics.certificate_ends(self.front(), self.not_after());
        let mut wrong: Option<Wrong> = None;
        loop {
            tokio::time::sleep(PERIOD).await;
            let tls = Arc::clone(&self);
            let looked = tokio::task::spawn_blocking(move || tls.look()).await;
            match looked.unwrap_or(Ok(Look::Same)) {
                Ok(Look::Same) => wrong = None,
                Ok(Look::Taken) => {
                    wrong = None;
                    metrics.certificate_ends(self.front(), self.not_after());
                    tracing::info!(
                        front = self.front(),
                        not_after = self.not_after(),
                        "the changed certificate is used for new connections"
                    );
                }
                Err(error) => wrong = Some(Wrong::after(wrong, error.to_string())),
            }
        }
    }

    fn look(&self) -> Result<Look, TlsError> {
        let contents: Contents = self.files.read()?;
        if contents == self.current.load().contents {
            return Ok(Look::Same);
        }
        let current = Current::new(&self.files, &self.protocols, contents)?;
        self.current.store(Arc::new(current));
        Ok(Look::Taken)
    }
}

enum Look {
    Same,
    Taken,
}

/// What is wrong with the files. Between one file's change and the other's a pair does not fit: only what stays wrong is
/// worth a line, and one is enough.
struct Wrong {
    error: String,
    times: usize,
}

impl Wrong {
    fn after(before: Option<Self>, error: String) -> Self {
        let times = match before {
            Some(before) if before.error == error => before.times + 1,
            _ => 1,
        };
        if times == 2 {
            tracing::error!("{error}; the last good certificate stays in use");
        }
        Self { error, times }
    }
}
