//! How long an object waits after an error: longer each time, with jitter, and from the start again after a success.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::utils::Backoff as StreamBackoff;
use rand::Rng as _;

const FIRST: Duration = Duration::from_secs(1);
/// A dependency that was away for a minute is found again within this time.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts consecutive failures by object.
#[derive(Debug)]
pub struct Backoff<Key> {
    failures: Mutex<HashMap<Key, u32>>,
}

impl<Key: Eq + Hash> Default for Backoff<Key> {
    fn default() -> Self {
        Self {
            failures: Mutex::new(HashMap::new()),
        }
    }
}

impl<Key: Eq + Hash> Backoff<Key> {
    /// Notes a failure and says how long to wait: 1 s doubled with each failure up to 30 s, give or take a fifth.
    pub fn failed(&self, key: Key) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(key).or_insert(0);
        let wait = FIRST.saturating_mul(1 << (*count).min(10)).min(LONGEST);
        *count += 1;
        wait.mul_f64(rand::rng().random_range(0.8..1.2))
    }

    /// Forgets the failures of an object.
    pub fn succeeded(&self, key: &Key) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }

    /// How many objects wait.
    pub fn waiting(&self) -> usize {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// How long a controller's watches wait after an error of one of them.
///
/// All watches of a controller wait together, and after an outage of the API server each of them fails once more, since it
/// goes on from a version that is forgotten. With client-go's waits of up to a minute, meant for one watch, a controller with
/// nine of them would look at nothing for minutes after the API server is back.
#[derive(Debug, Default)]
pub struct WatchBackoff {
    failures: u32,
}

impl WatchBackoff {
    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(1);
}

impl Iterator for WatchBackoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = Self::FIRST
            .saturating_mul(1 << self.failures.min(10))
            .min(Self::LONGEST);
        self.failures += 1;
        Some(wait.mul_f64(rand::rng().random_range(0.8..1.2)))
    }
}

impl StreamBackoff for WatchBackoff {
    fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controller_of_nine_watches_looks_again_soon_after_an_outage_of_the_api_server() {
        let mut backoff = WatchBackoff::default();
        // A minute of outage, and each watch then fails twice: to connect, and for its forgotten version.
        backoff.by_ref().take(60).for_each(drop);
        let until_all_watch: Duration = backoff.take(2 * 9).sum();
        assert!(until_all_watch < Duration::from_secs(25), "{until_all_watch:?}");
    }

    #[test]
    fn waits_grow_to_their_limit_and_start_again_after_a_success() {
        let backoff = Backoff::default();
        let waits: Vec<f64> = (0..8).map(|_| backoff.failed("a").as_secs_f64()).collect();
        assert!(
            (0.8..1.2).contains(&waits[0]) && (1.6..2.4).contains(&waits[1]),
            "{waits:?}"
        );
        assert!((24.0..36.0).contains(&waits[7]), "{waits:?}");
        backoff.succeeded(&"a");
        assert_eq!(backoff.waiting(), 0);
        assert!(backoff.failed("a").as_secs_f64() < 1.2);
    }

    #[test]
    fn objects_wait_each_for_themselves() {
        let backoff = Backoff::default();
        for _ in 0..5 {
            backoff.failed("a");
        }
        assert!(backoff.failed("b").as_secs_f64() < 1.2);
        assert_eq!(backoff.waiting(), 2);
    }
}
