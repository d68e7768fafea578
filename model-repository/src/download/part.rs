//! One part of a file: asked for, written where it belongs, and asked for again where the connection fails.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::FetchSettings;
use super::journal::Journal;
use crate::disk;
use crate::error::{RepositoryError, Result};
use crate::store::s3::S3Store;

/// Bytes that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Attempts in a row that bring nothing.
const ATTEMPTS: u32 = 5;

/// Where the bytes of an object go.
pub(super) struct Target {
    pub(super) file: Arc<File>,
    pub(super) path: PathBuf,
    /// Where it is noted what is there.
    pub(super) journal: Option<Mutex<Journal>>,
}

/// Some bytes of an object.
pub(super) struct Part<'a> {
    pub(super) key: &'a str,
    /// The state of the object that all parts have to come from, where it is known.
    pub(super) etag: Option<&'a str>,
    pub(super) object_bytes: u64,
    pub(super) number: u64,
    pub(super) start: u64,
    pub(super) end: u64,
}

impl Part<'_> {
    /// Brings the part to the disk, of which so many bytes are there. What came before a connection failed is not asked for again.
    pub(super) async fn fetch(
        &self,
        store: &S3Store,
        target: &Target,
        settings: &FetchSettings,
        patience: Duration,
        there: u64,
    ) -> Result<()> {
        let mut at = self.start + there;
        let mut failures = 0;
        let mut failing_since = None;
        loop {
            let before = at;
            let error = match self.attempt(store, target, settings, &mut at).await {
                Err(error @ RepositoryError::Unreachable { .. }) => error,
                outcome => return outcome,
            };
            if at > before {
                failures = 0;
                failing_since = None;
            }
            failures += 1;
            let since = *failing_since.get_or_insert_with(Instant::now);
            if failures >= ATTEMPTS && since.elapsed() >= patience {
                return Err(error);
            }
            let pause = pause(failures);
            tracing::debug!(error = %error, at, pause_seconds = pause.as_secs_f64(), "a part is asked for again");
            tokio::time::sleep(pause).await;
        }
    }

    /// One answer, from `at` on; `at` grows by what is written.
    async fn attempt(
        &self,
        store: &S3Store,
        target: &Target,
        settings: &FetchSettings,
        at: &mut u64,
    ) -> Result<()> {
        let stall = settings.stall_timeout;
        let mut answer = store
            .get_range(self.key, *at..self.end, self.object_bytes, self.etag, stall)
            .await?;
        let mut gathered: Vec<u8> = Vec::with_capacity(WRITE_BYTES.min((self.end - *at) as usize));
        let failure = loop {
            let piece = match timeout(stall, answer.next()).await {
                Ok(Some(Ok(piece))) => piece,
                Ok(Some(Err(error))) => break Some(store.broken(self.key, &error)),
                Ok(None) => break None,
                Err(_) => {
                    let reason = format!("nothing came for {} seconds", stall.as_secs_f64());
                    break Some(RepositoryError::unreachable(store.describe(self.key), reason));
                }
            };
            if piece.len() as u64 > self.end - *at - gathered.len() as u64 {
                let reason = "the answer is longer than what was asked for";
                break Some(RepositoryError::unreachable(store.describe(self.key), reason));
            }
            gathered.extend_from_slice(&piece);
            if gathered.len() >= WRITE_BYTES {
                gathered = self.write(target, gathered, at).await?;
            }
        };
        self.write(target, gathered, at).await?;
        match failure {
            Some(error) => Err(error),
            None if *at < self.end => Err(RepositoryError::unreachable(
                store.describe(self.key),
                format!("the answer ended {} bytes early", self.end - *at),
            )),
            None => Ok(()),
        }
    }

    /// Writes bytes at an offset, which grows by them; gives the empty buffer back.
    async fn write(&self, target: &Target, mut bytes: Vec<u8>, at: &mut u64) -> Result<Vec<u8>> {
        let (file, offset) = (Arc::clone(&target.file), *at);
        let writing = tokio::task::spawn_blocking(move || {
            file.write_all_at(&bytes, offset)?;
            let written = bytes.len() as u64;
            bytes.clear();
            Ok((bytes, written))
        });
        let written = writing
            .await
            .unwrap_or_else(|panic| Err(std::io::Error::other(panic)));
        let full_or_io = |error| disk::full_or_io(&target.path, self.end - offset, error);
        let (bytes, count) = written.map_err(full_or_io)?;
        *at += count;
        if let Some(journal) = &target.journal {
            let mut journal = journal.lock().unwrap_or_else(PoisonError::into_inner);
            journal.note(self.number, *at - self.start).map_err(full_or_io)?;
        }
        Ok(bytes)
    }
}

/// Doubled with every failure, and spread, so that pods that failed together do not come back together.
fn pause(failures: u32) -> Duration {
    let longest = FIRST_PAUSE
        .saturating_mul(1 << failures.saturating_sub(1).min(10))
        .min(LONGEST_PAUSE);
    longest.mul_f64(rand::random_range(0.5..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_are_bounded_and_spread() {
        for failures in 1..50 {
            let pause = pause(failures);
            assert!(
                pause >= FIRST_PAUSE / 2 && pause < LONGEST_PAUSE,
                "{failures}: {pause:?}"
            );
        }
        assert!(pause(20) >= LONGEST_PAUSE / 2);
        let some: std::collections::BTreeSet<_> = (0..20).map(|_| pause(9)).collect();
        assert!(some.len() > 1);
    }
}
