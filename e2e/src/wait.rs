//! Waits for something to become true, telling what is waited for and what is seen instead.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::progress::Progress;

/// What one look found.
pub enum Seen<T> {
    /// It is so.
    Done(T),
    /// Not yet; what is there instead.
    NotYet(String),
    /// It will never be so, and why.
    Never(String),
}

const INTERVAL: Duration = Duration::from_millis(500);
/// How often a wait that sees nothing new says so.
const REMINDER: Duration = Duration::from_secs(20);

/// Looks again and again until `look` is done. An error of `look` itself counts as not yet: the API server, a pod or a
/// Service may be away for a moment, or on purpose.
pub async fn until<T>(
    progress: &Progress,
    what: &str,
    limit: Duration,
    mut look: impl AsyncFnMut() -> Result<Seen<T>>,
) -> Result<T> {
    let started = Instant::now();
    let mut said = String::new();
    let mut said_at = Instant::now();
    loop {
        let seen = match look().await {
            Ok(Seen::Done(value)) => {
                progress.say(&format!(
                    "{what}: yes, after {:.0} s",
                    started.elapsed().as_secs_f64()
                ));
                return Ok(value);
            }
            Ok(Seen::Never(why)) => bail!("{what}: will not come true: {why}"),
            Ok(Seen::NotYet(seen)) => seen,
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() > limit {
            bail!("{what}: not within {} s; last seen: {seen}", limit.as_secs());
        }
        if seen != said || said_at.elapsed() > REMINDER {
            if started.elapsed() > Duration::from_secs(1) {
                progress.say(&format!(
                    "waiting since {:.0} s for {what}; now: {}",
                    started.elapsed().as_secs_f64(),
                    shortened(&seen, 160)
                ));
                said_at = Instant::now();
            }
            said = seen;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// The text, cut to so many characters.
pub fn shortened(text: &str, limit: usize) -> String {
    if text.chars().count() <= limit {
        return text.to_owned();
    }
    text.chars().take(limit - 1).chain(['…']).collect()
}
