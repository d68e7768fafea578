//! Waiting for a store that is away.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{RepositoryError, Result};

const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Repeats `operation` while it fails for a reason that may pass, for at most `patience` from the first failure on.
pub(crate) async fn with_patience<T, F>(patience: Duration, mut operation: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let mut pause = FIRST_PAUSE;
    let mut give_up_at = None;
    loop {
        let error = match operation().await {
            Err(error) if error.is_transient() => error,
            outcome => return outcome,
        };
        let deadline = *give_up_at.get_or_insert_with(|| Instant::now() + patience);
        if Instant::now() + pause > deadline {
            return Err(error);
        }
        tracing::warn!(error = %error, retry_in_seconds = pause.as_secs_f64(), "the object store is away, trying again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

impl RepositoryError {
    pub(crate) fn unreachable(location: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unreachable {
            location: location.into(),
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_store_that_is_away_for_100_seconds_is_waited_for() {
        let start = Instant::now();
        let answer = with_patience(Duration::from_secs(150), || async {
            if start.elapsed() < Duration::from_secs(100) {
                return Err(RepositoryError::unreachable("s3://b", "connection refused"));
            }
            Ok(7)
        });
        assert_eq!(answer.await.unwrap(), 7);
        assert!(start.elapsed() < Duration::from_secs(106));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let start = Instant::now();
        let answer = with_patience(Duration::from_secs(10), || async {
            Err::<(), _>(RepositoryError::unreachable("s3://b", "connection refused"))
        });
        assert!(answer.await.unwrap_err().is_transient());
        assert!(start.elapsed() <= Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn what_will_not_pass_is_not_repeated() {
        let mut calls = 0;
        let answer = with_patience(Duration::from_secs(10), || {
            calls += 1;
            async { Err::<(), _>(RepositoryError::NotFound { what: "x".into() }) }
        });
        assert!(answer.await.is_err());
        assert_eq!(calls, 1);
    }
}
