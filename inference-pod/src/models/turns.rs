//! Calls about the same model take turns; those about others do not wait for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

/// One lock for each model that somebody loads or unloads.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// Waits until nobody else loads or unloads the model.
    pub(super) async fn wait(&self, model: &str) -> OwnedMutexGuard<()> {
        let turn = self.turn(model);
        turn.lock_owned().await
    }

    fn turn(&self, model: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(model).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::default();
        turns.insert(model.to_owned(), Arc::downgrade(&turn));
        turn
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
}
