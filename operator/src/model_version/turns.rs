//! Bounds the time that showing stages in MLflow takes of those whose stage changes: few versions are shown at a time, and after a
//! question that got no answer MLflow is left alone for a while, whichever version asked.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// How long everybody waits for MLflow.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many versions are shown at the same time: far fewer than are reconciled.
    pub places: usize,
    /// How long a version waits for one of these places.
    pub patience_for_a_place: Duration,
    /// How long a version that has one waits for all of MLflow's answers.
    pub patience: Duration,
    /// How long MLflow is left alone after it did not answer. Longer than `patience`, so that one version at a time finds out
    /// whether it is back; shorter than the time after which a version comes again.
    pub pause: Duration,
}

const LIMITS: Limits = Limits {
    places: 2,
    patience_for_a_place: Duration::from_secs(3),
    patience: Duration::from_secs(10),
    pause: Duration::from_secs(15),
};

/// Who may ask MLflow now.
#[derive(Debug)]
pub struct Turns {
    limits: Limits,
    places: Semaphore,
    silence: Mutex<Option<Silence>>,
}

/// An MLflow that did not answer.
#[derive(Clone, Debug)]
struct Silence {
    why: String,
    asked_again_from: Instant,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(LIMITS)
    }
}

impl Turns {
    /// Nobody has asked yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            places: Semaphore::new(limits.places),
            silence: Mutex::default(),
        }
    }

    /// How long a version waits for all of MLflow's answers.
    pub const fn patience(&self) -> Duration {
        self.limits.patience
    }

    /// A turn, which ends when it is dropped, or why there is none now. The reason is the same for all versions and does not change
    /// with time: each new one would be a change of status, which brings the version and its peers here again.
    pub async fn take(&self) -> Result<SemaphorePermit<'_>, String> {
        let waited = tokio::time::timeout(self.limits.patience_for_a_place, self.places.acquire()).await;
        let Ok(Ok(place)) = waited else {
            return Err("MLflow is slow, and other versions are shown there first".into());
        };
        let now = Instant::now();
        let mut silence = self.silence.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(silence) = silence.as_mut() {
            if now < silence.asked_again_from {
                return Err(silence.why.clone());
            }
            // This one asks for all: the others go on without waiting for what comes of it.
            silence.asked_again_from = now + self.limits.pause;
        }
        Ok(place)
    }

    /// Notes that MLflow answered, whatever it said.
    pub fn answered(&self) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Notes that MLflow did not answer.
    pub fn unanswered(&self, why: &str) {
        *self.silence.lock().unwrap_or_else(PoisonError::into_inner) = Some(Silence {
            why: why.to_owned(),
            asked_again_from: Instant::now() + self.limits.pause,
        });
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// Limits that a test can wait for.
    pub const SHORT: Limits = Limits {
        places: 2,
        patience_for_a_place: Duration::from_millis(50),
        patience: Duration::from_millis(200),
        pause: Duration::from_millis(600),
    };

    #[tokio::test]
    async fn after_a_pause_one_asks_and_the_others_go_on() {
        let turns = Turns::new(SHORT);
        turns.unanswered("no answer");
        assert_eq!(turns.take().await.unwrap_err(), "no answer");
        tokio::time::sleep(SHORT.pause).await;
        let asking = turns.take().await.unwrap();
        assert_eq!(turns.take().await.unwrap_err(), "no answer");
        turns.answered();
        drop(asking);
        let both = (turns.take().await.unwrap(), turns.take().await.unwrap());
        assert!(turns.take().await.unwrap_err().contains("slow"));
        drop(both);
    }
}
