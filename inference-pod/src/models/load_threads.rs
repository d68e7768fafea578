//! The threads on which models are fetched, checked and opened: few, and with less right to the processors than those that
//! answer requests.

use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::available_threads;

/// Triton's default, where the processors are as many.
const MOST_BY_DEFAULT: usize = 4;
/// Threads that write what is fetched; they mostly wait for the disk.
const WRITERS: usize = 16;
/// Under full load a thread gets a tenth of what one that serves gets.
const NICENESS: i32 = 10;

/// The threads. Loads beyond their number wait.
pub struct LoadThreads {
    runtime: Option<Runtime>,
    places: Arc<Semaphore>,
    count: usize,
}

impl LoadThreads {
    /// With room for so many loads at the same time; by default for 4, or as many as there are CPUs for this process.
    pub fn start(count: Option<usize>) -> std::io::Result<Self> {
        let count = count
            .unwrap_or_else(|| available_threads().min(MOST_BY_DEFAULT))
            .max(1);
        let runtime = Builder::new_multi_thread()
            .worker_threads(count)
            .max_blocking_threads(count + WRITERS)
            .thread_name("model-load")
            .on_thread_start(give_way)
            .enable_all()
            .build()?;
        Ok(Self {
            runtime: Some(runtime),
            places: Arc::new(Semaphore::new(count)),
            count,
        })
    }

    /// Loads that can be under way at the same time.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Waits for a place.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).acquire_owned().await.ok()
    }

    /// Runs a future here; it ends when the handle is dropped.
    pub(super) fn spawn<F>(&self, future: F) -> AbortOnDropHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        AbortOnDropHandle::new(match &self.runtime {
            Some(runtime) => runtime.spawn(future),
            None => tokio::spawn(future),
        })
    }

    /// Runs a closure here that blocks.
    pub(super) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> tokio::task::JoinHandle<T> {
        match &self.runtime {
            Some(runtime) => runtime.spawn_blocking(work),
            None => tokio::task::spawn_blocking(work),
        }
    }
}

impl Drop for LoadThreads {
    fn drop(&mut self) {
        // Within another runtime none may be waited for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn give_way() {
    // On Linux this is the calling thread's alone.
    if let Err(error) = rustix::process::nice(NICENESS) {
        tracing::debug!(%error, "a thread that loads models competes with those that serve");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn niceness() -> i64 {
        // man 5 proc: the fields after the name, which ends with the last bracket; nice is the 19th of all.
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.split(' ').nth(16).unwrap().parse().unwrap()
    }

    #[tokio::test]
    async fn work_on_them_gives_way_and_work_elsewhere_does_not() {
        let threads = LoadThreads::start(Some(1)).unwrap();
        let here = niceness();
        let expected = (here + i64::from(NICENESS)).min(19);
        assert_eq!(threads.spawn(async { niceness() }).await.unwrap(), expected);
        assert_eq!(threads.spawn_blocking(niceness).await.unwrap(), expected);
        assert_eq!(tokio::task::spawn_blocking(niceness).await.unwrap(), here);
        let first = threads.place().await.unwrap();
        assert!(futures::poll!(Box::pin(threads.place())).is_pending());
        drop(first);
        assert!(threads.place().await.is_some());
    }
}
