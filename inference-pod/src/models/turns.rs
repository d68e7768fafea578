//! Calls about the same model take turns; those about others do not wait for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Notify, OwnedMutexGuard};

/// One lock for each model that somebody loads or unloads.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Turn>>);

struct Turn {
    lock: Weak<tokio::sync::Mutex<()>>,
    called_off: Arc<Notify>,
}

impl Turns {
    /// Waits until nobody else loads or unloads the model.
    pub(super) async fn wait(&self, model: &str) -> OwnedMutexGuard<()> {
        let turn = self.turn(model);
        turn.lock_owned().await
    }

    /// Does the work of whoever has the model's turn, unless it is called off.
    pub(super) async fn unless_called_off<T>(&self, model: &str, work: impl Future<Output = T>) -> Option<T> {
        let called_off = self.lock().get(model).map(|turn| Arc::clone(&turn.called_off));
        let Some(called_off) = called_off else {
            return Some(work.await);
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = called_off.notified() => None,
        }
    }

    /// Lets who has the model's turn give up what can be given up: nobody wants its outcome any more.
    pub(super) fn call_off(&self, model: &str) {
        if let Some(turn) = self.lock().get(model) {
            turn.called_off.notify_waiters();
        }
    }

    fn turn(&self, model: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.lock();
        turns.retain(|_, turn| turn.lock.strong_count() > 0);
        if let Some(lock) = turns.get(model).and_then(|turn| turn.lock.upgrade()) {
            return lock;
        }
        let lock = Arc::default();
        let turn = Turn {
            lock: Arc::downgrade(&lock),
            called_off: Arc::default(),
        };
        turns.insert(model.to_owned(), turn);
        lock
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Turn>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_calls_about_the_same_model_wait() {
        let turns = Turns::default();
        let first = turns.wait("a").await;
        let _other = turns.wait("b").await;
        let mut second = Box::pin(turns.wait("a"));
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        let second = second.await;
        drop(second);
        drop(turns.wait("c").await);
        assert_eq!(turns.0.lock().unwrap().len(), 2, "nothing piles up");
    }

    #[tokio::test]
    async fn work_that_is_called_off_makes_way() {
        let turns = Turns::default();
        let working = async {
            let _turn = turns.wait("a").await;
            turns.unless_called_off("a", std::future::pending::<()>()).await
        };
        let mut working = Box::pin(working);
        assert!(futures::poll!(&mut working).is_pending());
        turns.call_off("b");
        assert!(futures::poll!(&mut working).is_pending());
        turns.call_off("a");
        assert_eq!(working.await, None);
        let _turn = turns.wait("a").await;
        assert_eq!(turns.unless_called_off("a", async { 7 }).await, Some(7));
    }
}
